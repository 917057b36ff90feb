"""Disks that are full, folders that are read-only: an error of the system at the n-th change of a file, for every n.

A command must refuse with one line, keep what the user had, and succeed when it is given again on a sound disk.
"""

from __future__ import annotations

import errno
import itertools
import os
import resource
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reliability.children import Outcome, Place, atom, run
from reliability.comparing import contents, differing
from reliability.samples import QUICK, write_folders
from reliability.verdict import problem
from reliability.writes import REMOVING, Write, watch_writes

_LIMIT_S = 120.0
_QUICK = shlex.join(QUICK)
_SCORE = f"--repeats 1 --epochs 1 {_QUICK}"


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        line: as in a shell; PETS is a folder of images, PUBLISHED a file to import.
        needs: folders that it works on: a finished run, an export of it.
        again: words to add when it is given again.
        own: beginnings of the names of files that it may change, of those that it needs.
    """

    line: str
    needs: tuple[str, ...] = ()
    again: str = ""
    own: tuple[str, ...] = ()


_RUN = ("run",)
_EXPORTS = {
    f"export --to {form}": Command(f"export run --to {form}", _RUN, "--force")
    for form in ("pt", "npz", "parquet", "hf", "imagefolder")
}
_SHORT = f"--ipc 1 --steps 3 --checkpoint-every 1 --batch-real 2 --out run {_QUICK}"
_CHOSEN = f"--method forgetting --ipc 1 --selection-epochs 1 --out chosen {_QUICK}"
_TABLE = "--datasets digits --ipc 1 --steps 1 --repeats 1 --epochs 1 --cells random/*"
COMMANDS: Mapping[str, Command] = {
    "data": Command("data PETS --json"),
    "distill": Command(f"distill PETS {_SHORT}", again="--resume"),
    "distill --resume": Command("distill PETS --resume --steps 4 --out run", _RUN, own=_RUN),
    "distill, forgetting": Command(f"distill digits {_CHOSEN}", again="--resume"),
    "evaluate": Command(f"evaluate run --seed 1 {_SCORE}", _RUN, own=("run/scores.json", "run/README.md")),
    "evaluate --random": Command(f"evaluate digits --random --ipc 1 {_SCORE}"),
    **_EXPORTS,
    "export --force": Command("export run --to hf --force", ("run", "run-hf")),
    "import": Command("import PUBLISHED --as digits --preprocess normalize --out imported"),
    "report": Command("report run", _RUN),
    "search": Command("search run --sample 2 --epochs 1 --proxies random --on process --device cpu", _RUN),
    "reproduce": Command(f"reproduce table1 {_TABLE}"),
}


@dataclass(frozen=True)
class Fault:
    """A kind of failure.

    Attributes:
        number: of the system's error.
        lasts: whether everything after the first fails, too.
        removes: whether nothing can be removed either.
        most_bytes: size at which writing to a file fails, in the system itself; None for the n-th change of a file.
    """

    number: int = 0
    lasts: bool = False
    removes: bool = False
    most_bytes: int | None = None


FAULTS: Mapping[str, Fault] = {
    "full disk": Fault(errno.ENOSPC, lasts=True),
    "read-only disk": Fault(errno.EROFS, lasts=True, removes=True),
    "one refusal": Fault(errno.EACCES, removes=True),
    "one input/output error": Fault(errno.EIO),
    **{f"no room for more than {size} bytes": Fault(most_bytes=size) for size in (0, 100, 600, 3000, 20_000, 100_000)},
}


@dataclass(frozen=True)
class Failure:
    """What came of one command on a disk that failed.

    Attributes:
        command: its name.
        fault: name of the kind of failure, and from which change on.
        refused: whether the command refused; if not, it did without what failed.
        problem: what went wrong besides, or None.
    """

    command: str
    fault: str
    refused: bool
    problem: str | None


def try_faults(
    work: Path, commands: Mapping[str, Command] = COMMANDS, *, every: int = 1, first: int = 0
) -> Iterator[Failure]:
    """Yield what comes of each command with each kind of failure at each change of a file.

    Args:
        work: where they run.
        commands: by name.
        every: 1 tries all failures of all commands, 10 each tenth.
        first: number of the first that is tried.
    """
    bench, numbers = _Bench(work), itertools.count(-first)
    for name, command in commands.items():
        sound = bench.place(command, f"{name}-sound")
        outcome, writes = bench.run(command, sound, None, 0)
        if outcome.code:
            raise RuntimeError(f"{command.line} fails on a sound disk: {outcome.err}")
        want = contents(sound.here)
        trials = [(kind, at) for kind, fault in FAULTS.items() for at in _moments(fault, writes)]
        for kind, at in trials:
            number = next(numbers)
            if number < 0 or number % every:
                continue
            place = bench.place(command, f"{name}-{at}")
            found = bench.try_once(command, place, FAULTS[kind], at, want)
            yield Failure(name, f"{kind} from change {at} of {writes} on", *found)
            if found[1] is None:
                shutil.rmtree(place.folder)


def _moments(fault: Fault, writes: int) -> range:
    """Return the changes of files at which a failure can begin."""
    return range(writes if fault.most_bytes is None else 1)


class _Bench:
    """What the commands work on, and how they are run."""

    def __init__(self, work: Path) -> None:
        import torch

        self._folder = work
        self._pets = work / "pets"
        write_folders(self._pets)
        self._published = work / "set.pt"
        torch.save((torch.randn(10, 1, 8, 8), torch.arange(10)), self._published)
        self._made = Place(work / "made")
        lines = [COMMANDS["distill"].line, f"evaluate run {_SCORE}", "export run --to hf"]
        outcome = run(atom(*map(self._words, lines)), self._made, _LIMIT_S)
        if outcome.code:
            raise RuntimeError(f"the run to work on cannot be made: {outcome.err}")

    def _words(self, line: str) -> list[str]:
        return shlex.split(line.replace("PETS", str(self._pets)).replace("PUBLISHED", str(self._published)))

    def run(self, command: Command, place: Place, fault: Fault | None, at: int, more: str = "") -> tuple[Outcome, int]:
        """Return the outcome of a command with a failure at a change of a file, and how many changes it tried."""
        work, count = atom(self._words(f"{command.line} {more}")), place.folder / "tmp" / "count"
        outcome = run(_on_failing_disk(work, fault, at, count), place, _LIMIT_S)
        changes = int(count.read_text()) if count.exists() else 0
        count.unlink(missing_ok=True)
        return outcome, changes

    def place(self, command: Command, name: str) -> Place:
        """Return a new place with what a command needs."""
        place = Place(Path(tempfile.mkdtemp(prefix=f"{name.replace(' ', '')}-", dir=self._folder)))
        for folder in command.needs:
            shutil.copytree(self._made.here / folder, place.here / folder)
        if command.needs:
            shutil.copytree(self._made.cache, place.cache, dirs_exist_ok=True)
        return place

    def try_once(
        self, command: Command, place: Place, fault: Fault, at: int, want: Mapping[str, str]
    ) -> tuple[bool, str | None]:
        """Run a command on a failing disk, then on a sound one; return whether it refused, and what was wrong."""
        before = contents(place.here)
        first, _ = self.run(command, place, fault, at)
        wrong = problem(first) or _lost(before, contents(place.here), command.own)
        return first.code == 2, wrong or self._again(command, place, want, first)

    def _again(self, command: Command, place: Place, want: Mapping[str, str], first: Outcome) -> str | None:
        """Give a command again on a sound disk; return what is wrong with what comes of it."""
        shutil.rmtree(place.here / "imported", ignore_errors=True)
        outcome, _ = self.run(command, place, None, 0, command.again)
        told = f"(first exit code {first.code}: {first.err[-300:]})"
        if outcome.code:
            return f"given again it fails: {problem(outcome) or outcome.err} {told}"
        # What cannot be removed from a read-only disk is left there.
        other = [name for name in differing(contents(place.here), want) if not _is_temporary(name)]
        return f"given again it ends otherwise: {', '.join(other)} {told}" if other else None


def _on_failing_disk(work: Callable[[], int], fault: Fault | None, at: int, count: Path) -> Callable[[], int]:
    """Return work whose change of a file of that number fails, and which writes the number of changes to `count`."""

    def failing() -> int:
        seen, disk = 0, fault

        def fail(write: Write) -> None:
            nonlocal seen
            seen += 1
            if disk is None or not disk.number or seen <= at or (seen > at + 1 and not disk.lasts):
                return
            if disk.removes or write.event not in REMOVING:
                raise OSError(disk.number, os.strerror(disk.number), write.paths[0])

        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        if fault is not None and fault.most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (fault.most_bytes, most))
        _watch_libraries(fail)
        watch_writes(fail)
        try:
            return work()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            changes, disk = seen, None
            count.write_text(str(changes))

    return failing


def _watch_libraries(fail: Callable[[Write], None]) -> None:
    """Let also those writers fail that Python's audit does not see, each with the error that it has for it."""
    import safetensors.torch
    from safetensors import SafetensorError

    save_file, sync = safetensors.torch.save_file, os.fsync

    def checked_save(tensors: Any, path: Any, metadata: Any = None) -> None:
        try:
            fail(Write("open", (str(path),)))
        except OSError as error:
            raise SafetensorError(f"I/O error: {error.strerror}") from None
        save_file(tensors, path, metadata)

    def checked_sync(descriptor: Any) -> None:
        fail(Write("fsync", (str(descriptor),)))
        sync(descriptor)

    safetensors.torch.save_file = checked_save  # type: ignore[assignment]
    os.fsync = checked_sync  # type: ignore[assignment]


def _is_temporary(name: str) -> bool:
    return any(part.endswith((".part", ".old")) for part in Path(name).parts)


def _lost(before: Mapping[str, str], after: Mapping[str, str], own: tuple[str, ...]) -> str | None:
    """Return what the user had that is gone or changed, but for the command's own results."""
    others = {name: digest for name, digest in before.items() if not name.startswith(own)}
    # A folder that could be moved out of the way but not back is where the message says.
    kept = {name.partition(".old/old/")[2]: digest for name, digest in after.items() if ".old/old/" in name}
    gone = [
        name for name, digest in others.items() if digest not in (after.get(name), kept.get(name.partition("/")[2]))
    ]
    return f"lost or changed: {', '.join(gone)}" if gone else None
