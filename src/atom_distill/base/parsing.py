"""JSON and YAML that may be damaged: whatever is wrong with a text is a ValueError."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is not JSON, or nested too deep.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text; tags that would create objects are refused.

    Raises:
        ValueError: it is not YAML, or nested too deep; the message is one line.
    """
    import yaml

    try:
        return yaml.safe_load(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except yaml.YAMLError as error:  # its message is a drawing of several lines
        raise ValueError(" ".join(str(error).split())) from None
