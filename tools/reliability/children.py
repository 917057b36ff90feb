"""Processes forked from this one, which has imported everything already: thousands of commands a quarter of an hour.

Each has a folder of its own, and runs the `atom` command's own `main` under a limit of time and memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import math
import os
import resource
import select
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from reliability import SOURCE
from reliability.writes import Write, watch_writes

LIMIT_S = 30.0
"""Longest that a command may take, seconds, on a machine where nothing else runs."""
LIMIT_MIB = 2048.0
"""Most memory that a command may take, MiB."""
_ADDRESSES = 8 << 30
"""Bytes of addresses that a child may take beyond those it starts with: it protects the machine, not the limit."""
_SOON_S = 0.02
_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux's prctl: a campaign that is stopped leaves nothing running."""
NOISE = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "COLUMNS": "100"}
"""Environment of every command: no network, and lines of one width."""


@dataclass(frozen=True)
class Place:
    """A folder of one command's own: `given` is what it reads, and must stay as it is; all else is its own to write."""

    folder: Path

    def __post_init__(self) -> None:
        for name in ("given", "here", "cache", "home", "tmp"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    @property
    def given(self) -> Path:
        """What the command reads."""
        return self.folder / "given"

    @property
    def here(self) -> Path:
        """Its working folder."""
        return self.folder / "here"

    @property
    def cache(self) -> Path:
        """Its cache of data sets."""
        return self.folder / "cache"

    @property
    def environment(self) -> dict[str, str]:
        """What it finds in its environment."""
        home, temporary = str(self.folder / "home"), str(self.folder / "tmp")
        matplotlib = str(self.folder / "tmp" / "matplotlib")
        folders = {"ATOM_DATA": str(self.cache), "HOME": home, "TMPDIR": temporary, "PYTHONPATH": str(SOURCE)}
        inductor = {"TORCHINDUCTOR_CACHE_DIR": str(self.folder / "tmp" / "inductor")}
        return {**folders, **inductor, "MPLCONFIGDIR": matplotlib, "PATH": "/usr/bin:/bin", **NOISE}

    def is_own(self, path: str) -> bool:
        """Return whether a command may write here: not what it was given, and not into the home folder but for Ray."""
        ray = self.folder / "home" / ".ray"  # Ray makes this folder when it starts, whatever it is told
        return any(Path(path).is_relative_to(own) for own in (self.here, self.cache, self.folder / "tmp", ray))


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        code: exit code; the negative number of the signal that ended it.
        out, err: its outputs.
        seconds: wall clock.
        peak_mib: most memory that it had.
        strays: files that it tried to write where it may not.
        in_time: whether it ended by itself.
        writes: how often it changed a file, or tried to.
    """

    code: int
    out: str
    err: str
    seconds: float
    peak_mib: float
    strays: tuple[str, ...] = ()
    in_time: bool = True
    writes: int = 0


class Child:
    """A forked process that works until it is done, is killed, or takes too long.

    Args:
        work: what it does; returns an exit code, as `main` does.
        place: its folders.
        environment: more variables.
    """

    def __init__(
        self,
        work: Callable[[], int],
        place: Place,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        pipes = {name: os.pipe() for name in ("out", "err", "strays", "writes")}
        sys.stdout.flush()
        sys.stderr.flush()
        self._started = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
            ends = {name: writer for name, (_, writer) in pipes.items()}
            watch = _Watch(place, ends["strays"], ends["writes"])
            _live(work, place, ends, watch, {**place.environment, **(environment or {})})
        for _, writer in pipes.values():
            os.close(writer)
        self._readers = {reader: name for name, (reader, _) in pipes.items()}
        self._read = {name: bytearray() for name in pipes}
        self._process = os.pidfd_open(self.pid)

    def wait(self, seconds: float, *, writes: float = math.inf) -> bool:
        """Read what it prints for so long, or until it has ended or changed so many files; return whether it ended."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            ready, _, _ = select.select([self._process, *self._readers], [], [], left)
            for reader in set(ready) & set(self._readers):
                self._take(reader)
            if self._process in ready:
                return True
            if len(self._read["writes"]) >= writes:
                return False
        return False

    def _processor_seconds(self) -> float:
        """Return the time that it has computed: where others use the cores, little of the time that has passed."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _take(self, reader: int) -> None:
        content = os.read(reader, 1 << 16)
        self._read[self._readers[reader]] += content
        if not content:
            os.close(reader)
            del self._readers[reader]

    def kill(self, number: int = signal.SIGKILL, *, family: bool = False) -> None:
        """Send it a signal, or it and all that it has started, which torchrun puts into sessions of their own."""
        for pid in [self.pid, *(_descendants(self.pid) if family else ())]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def end(self, limit_s: float = LIMIT_S) -> Outcome:
        """Return its outcome once it has ended; kill it after so many seconds, ten times as many on a busy machine."""
        in_time = self.wait(limit_s)
        for _ in range(9):
            if in_time or self._processor_seconds() >= limit_s / 2:
                break
            in_time = self.wait(limit_s)
        if not in_time:
            self.kill(family=True)
        _, status, usage = os.wait4(self.pid, 0)
        seconds = time.monotonic() - self._started
        while self._readers and select.select(list(self._readers), [], [], _SOON_S)[0]:
            self._take(select.select(list(self._readers), [], [], 0)[0][0])
        for descriptor in (self._process, *self._readers):
            os.close(descriptor)
        out, err, strays = (self._read[name].decode(errors="replace") for name in ("out", "err", "strays"))
        code = os.waitstatus_to_exitcode(status)
        stray, writes = tuple(strays.split("\0")[:-1]), len(self._read["writes"])
        return Outcome(code, out, err, seconds, usage.ru_maxrss / 1024, stray, in_time, writes)


@dataclass
class _Watch:
    """What a child does at each attempt to change a file."""

    place: Place
    strays: int
    writes: int

    def __call__(self, write: Write) -> None:
        for path in write.paths:
            if not self.place.is_own(path):
                os.write(self.strays, f"{write.event} {path}\0".encode(errors="replace"))
                raise PermissionError(errno.EACCES, "Permission denied", path)
        os.write(self.writes, b".")


def _live(
    work: Callable[[], int], place: Place, ends: Mapping[str, int], watch: _Watch, environment: Mapping[str, str]
) -> NoReturn:
    """Do the work of a child and end it as the interpreter would, but without what ends with the parent."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(ends["out"], 1)
        os.dup2(ends["err"], 2)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False, buffering=1)  # noqa: SIM115
        os.environ.update(environment)
        tempfile.tempdir = environment["TMPDIR"]  # else that of the parent, or a search for one in other folders
        os.chdir(place.here)
        limit = _addresses_now() + _ADDRESSES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        watch_writes(watch)
        code = _exit_code(work)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _exit_code(work: Callable[[], int]) -> int:
    try:
        return work()
    except SystemExit as left:  # how the option parser ends
        if isinstance(left.code, str):
            sys.stderr.write(left.code + "\n")
            return 1
        return left.code or 0
    except BaseException:
        traceback.print_exc()
        return 1


def _descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have started."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [child for child, parent in parents.items() if parent == pid]
    return found + [one for child in found for one in _descendants(child)]


def _addresses_now() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def run(work: Callable[[], int], place: Place, limit_s: float = LIMIT_S, **more: Any) -> Outcome:
    """Return the outcome of work in a child; `more` are arguments of `Child`."""
    return Child(work, place, **more).end(limit_s)


def atom(*lines: list[str]) -> Callable[[], int]:
    """Return the work of running commands, one after another while they succeed."""

    def work() -> int:
        import torch

        from atom_distill.cli.main import main

        torch.set_num_threads(1)
        return next((code for line in lines if (code := main(line))), 0)

    return work


def warm_up(place: Place, lines: list[list[str]]) -> None:
    """Import all that these commands import, so that no child has to.

    Raises:
        RuntimeError: a command failed, or something that was imported has started a thread, which a fork would lose.
    """
    import importlib

    known = place.here / "modules.txt"

    def work() -> int:
        code = atom(*lines)()
        known.write_text("\n".join(sorted(name for name in sys.modules if name != "__main__")))
        return code

    import torch  # before the first fork

    torch.set_num_threads(1)
    outcome = run(work, place, limit_s=600)
    if outcome.code:
        raise RuntimeError(f"a command of the warm-up failed: {outcome.err}")
    for name in known.read_text().split("\n"):
        try:
            importlib.import_module(name)
        except Exception:  # made while something ran, and not to be imported by name
            continue
    gc.collect()
    gc.freeze()  # else each child's first collection touches, and so copies, all that it shares with this process
    if threading.active_count() > 1:
        raise RuntimeError(f"threads were started by an import: {threading.enumerate()}")
