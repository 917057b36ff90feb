"""JSON and YAML that may be damaged: whatever is wrong with a text is a ValueError."""

from __future__ import annotations

import json
from typing import Any

from atom_distill.base.plain_text import reason_of


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
        loader = yaml.SafeLoader(text)
        loader.deep_construct = True  # so that a value that contains itself is refused
        return loader.get_single_data()
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except yaml.YAMLError as error:  # its message is a drawing of several lines
        raise ValueError(" ".join(str(error).split())) from None
    except Exception as error:  # of any kind, such as a KeyError for `!!bool maybe`
        raise ValueError(f"a value is not of its type ({reason_of(error)})") from None
