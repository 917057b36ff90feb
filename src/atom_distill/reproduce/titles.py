"""The tables by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

TableName = Literal["table1", "cross-arch", "components", "powers", "lambda", "changes", "curve", "cost"]

TITLES: Mapping[TableName, str] = {
    "table1": "Accuracy by method",
    "cross-arch": "Other architectures, trained on sets made with a ConvNet",
    "components": "What each term of ATOM's objective adds",
    "powers": "ATOM by the powers of its attention",
    "lambda": "ATOM by lambda, the weight of the embedding against the attention",
    "changes": "One setting changed at a time",
    "curve": "Accuracy against steps",
    "cost": "Time of a step and peak memory",
}
"""Headings, in the order of the page of results."""
