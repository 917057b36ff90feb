"""The reference of Python, made of the public names, the registries and what they say of themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

import atom_distill as ad
from atom_distill.base import markdown
from atom_distill.config.distill import DistillConfig
from atom_distill.config.training_protocol import TrainingProtocol
from atom_distill.exporting.formats import FORMATS
from cells import cell

_FIRST = (
    "load_dataset",
    "load_distilled",
    "distill",
    "evaluate",
    "export_distilled",
    "import_distilled",
    "search_architectures",
)
"""Public names in the order of a user's day; the others follow by the alphabet."""


def public_names() -> list[str]:
    """Give the public names that are functions and classes, those that come first in front."""
    names = [name for name in ad.__all__ if callable(getattr(ad, name))]
    return [*_FIRST, *(name for name in names if name not in _FIRST)]


def public_page() -> str:
    """Write a directive of mkdocstrings for each public name."""
    return "\n\n".join(directive(f"{getattr(ad, name).__module__}.{name}", f"ad.{name}") for name in public_names())


def directive(path: str, heading: str) -> str:
    """Ask mkdocstrings for what stands at a dotted path."""
    return f"::: {path}\n    options:\n      heading: {heading}\n      toc_label: {heading}"


def registries_page() -> str:
    """Write what is registered under which name."""
    ad.build_model("convnet", (3, 32, 32), 10)  # architectures register themselves when one is built first
    sections = {
        "Methods, `ad.METHODS`": [(name, ad.METHODS.get(name).description) for name in ad.METHODS.in_order()],
        "Architectures, `ad.MODELS`": [(name, _first_line(ad.MODELS.get(name))) for name in ad.MODELS],
        "Protocols, `ad.PROTOCOLS`": [(name, _protocol(name)) for name in ad.PROTOCOLS],
        "Formats of exports": [(name, _first_line(FORMATS.get(name).write)) for name in FORMATS],
    }
    return "\n\n".join(f"### {title}\n\n{_table(rows)}" for title, rows in sections.items())


def settings_page() -> str:
    """Return the settings of a run: every field that `distill` takes by name, and those of the methods."""
    models: dict[type[BaseModel], list[str]] = {}
    for name in ad.METHODS.in_order():
        models.setdefault(ad.METHODS.get(name).settings_model, []).append(f"`{name}`")
    tables = [
        f"#### Of {' and '.join(names)}\n\n{_settings(model)}" for model, names in models.items() if model.model_fields
    ]
    return "\n\n".join([_settings(DistillConfig), *tables])


def _settings(model: type[BaseModel]) -> str:
    rows = []
    for name, info in model.model_fields.items():
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        default = extra.get("default_text", "-" if info.default is None else info.default)
        rows.append([f"`{name}`", cell(info.description or ""), cell(str(default))])
    return markdown.table(["setting", "meaning", "default"], rows)


def _protocol(name: str) -> str:
    told = ad.PROTOCOLS.get(name)
    warm_up = f", after a warm-up of {told.warmup:.0%} of the epochs" if told.warmup else ""
    optimizer = f"AdamW, weight decay {told.weight_decay:g}, " if told.optimizer == "adamw" else ""
    rate = f"{optimizer}learning rate {told.lr:g}, {_schedule(told)}{warm_up}"
    always = f", always {told.augment_always.replace('_', ', ')}" if told.augment_always != "none" else ""
    mixed = f", CutMix {told.cutmix:g}" if told.cutmix else ""
    operations = f"DSA {told.augment.replace('_', ', ')}{always}{mixed}"
    return f"{told.epochs} epochs, batches of {told.batch_size}, {rate}, {operations}"


def _schedule(told: TrainingProtocol) -> str:
    drops = {"step": f"after {told.drop_at:.0%}", "two-steps": "after 2/3 and again after 5/6"}
    if told.schedule in drops:
        return f"times {told.drop_to:g} {drops[told.schedule]} of the epochs"
    return f"schedule {told.schedule}"


def _first_line(thing: Any) -> str:
    line = (inspect.getdoc(thing) or "").split("\n")[0]
    elsewhere = re.fullmatch(r"See `(\w+)`\.", line)
    return _first_line(getattr(inspect.getmodule(thing), elsewhere[1])) if elsewhere else line


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return markdown.table(["name", "what it is"], ([f"`{name}`", cell(text)] for name, text in rows))
