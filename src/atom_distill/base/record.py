"""What a result was made with, so that it can be made again."""

from __future__ import annotations

import datetime
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def run_record() -> dict[str, Any]:
    """Return versions, machine, command and time; all JSON-able."""
    import torch

    return {
        "atom_distill": _version("atom-distill"),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "machine": _processor(),
        "threads": torch.get_num_threads(),
        "command": " ".join(["atom", *sys.argv[1:]]) if sys.argv[0].endswith(("atom", "__main__.py")) else "python",
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"


def _processor() -> str:
    """Name the GPU if there is one, else the processor."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:  # noqa: PTH123 (a device, not a file of ours)
            names = [line.split(":", 1)[1].strip() for line in cpuinfo if line.startswith("model name")]
        return f"{names[0]}, {len(names)} cores"
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
