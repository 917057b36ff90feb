"""The record of versions, machine and command that a result was made with."""

from __future__ import annotations

import datetime
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_NUMERICAL = ("torch", "machine", "threads")
"""Facts of a record on which the rounding of a computation depends."""


def run_record(device: torch.device | None = None) -> dict[str, Any]:
    """Return versions, commit, machine, command and time; all JSON-serializable.

    Args:
        device: that computes; None is the GPU if there is one, otherwise the processor.
    """
    import torch

    return {
        "atom_distill": _version("atom-distill"),
        "commit": commit_of(Path(__file__).parents[1]),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "machine": _processor(device),
        "threads": torch.get_num_threads(),
        "command": _command(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def numerical_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what two records do not share of that on which rounding depends, e.g. "torch 2.7.1, not 2.6.0".

    Args:
        before: an earlier record; what it lacks is not compared.
        now: the record of this process.
    """
    names = [name for name in _NUMERICAL if name in before and before[name] != now[name]]
    return [f"{name} {now[name]}, not {before[name]}" for name in names]


def commit_of(source: Path) -> str | None:
    """Return the commit of a source folder, with "-dirty" if it has uncommitted changes.

    Args:
        source: the folder. If git does not track it, e.g. an installed package, the result is None.
    """
    if not _git(source, "ls-files", "."):
        return None
    head = _git(source, "rev-parse", "--short", "HEAD")
    return f"{head}-dirty" if head and _git(source, "status", "--porcelain", ".") else head


def _git(folder: Path, *arguments: str) -> str | None:
    """Return the output of a git command in a folder; None without git, without a repository, or if it is empty."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip() or None


def _command() -> str:
    """Return the command as typed, or the script with its arguments; no path outside the working directory."""
    script = Path(sys.argv[0])
    if script.name == "atom" or script.parts[-2:] == ("atom_distill", "__main__.py"):
        return shlex.join(["atom", *sys.argv[1:]])
    if script.suffix != ".py":
        return "python"
    path = script.resolve()
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path.name
    return shlex.join(["python", str(shown), *sys.argv[1:]])


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"


_BFLOAT16 = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 bfloat16"}
"""Flags of a processor that computes in bfloat16, the fastest way first, and their names."""


def _processor(device: torch.device | None) -> str:
    """Return the name of the GPU that computes, otherwise of the processor, and what it computes bfloat16 with.

    That is named because processors with and without it can have the same name, and differ in speed and in rounding.
    """
    import torch

    if torch.cuda.is_available() if device is None else device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:  # noqa: PTH123 (a pseudo-file of the kernel)
            lines = cpuinfo.readlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        flags = next((line for line in lines if line.startswith("flags")), "").split()
        units = [told for flag, told in _BFLOAT16.items() if flag in flags][:1]
        return ", ".join([names[0], f"{len(names)} cores", *units])
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
