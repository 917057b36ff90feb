"""Show that a change of the code changes no result: short runs of two revisions, compared by digests of their tensors.

    python tools/digests.py                        # the digests of this working tree
    python tools/digests.py --revision main        # beside those of another revision; exit code 1 where they differ
    python tools/digests.py > before.txt           # ... or of an earlier time, on the same machine
    python tools/digests.py --against before.txt

Cases run as a user would run them, by the command line and in processes of their own, so that both revisions need only
the commands in `CASES` in common. Processors round differently: digests of two machines say nothing. Every case has
an empty cache folder, but for CIFAR-10, which is taken from ATOM_DATA.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

SET = "run/distilled.safetensors"
BEST = "run/distilled-best.safetensors"
SCORES = "--json"
"""The accuracies that the last command prints."""
FAILED, SKIPPED = "failed", "skipped"


@dataclass(frozen=True)
class Case:
    """One or more commands, run one after another in a folder of their own, and what is left of them.

    Attributes:
        name: unique.
        commands: arguments of `atom`, as in a shell; `published.pt` beside the folder is an artificial set.
        result: file of tensors in the folder, or `SCORES`.
        otherwise: commands for a revision whose options have other names, which refuses the first.
        processes: how many torchrun starts, for each command.
        same_as: case whose digest this one must have too.
    """

    name: str
    commands: tuple[str, ...]
    result: str = SET
    otherwise: tuple[str, ...] = ()
    processes: int = 1
    same_as: str | None = None


EAGER = "--device cpu --compile off --out run"
COMPILED = "--device cpu --compile on --out run"
ATOM = "distill digits --ipc 2 --batch-real 8"
CIFAR = "distill cifar10 --classes 3 --batch-real 8"
TEN = "distill digits --method random --ipc 10"
SELECT = "distill digits --ipc 3 --selection-epochs 1 --width 32"
# One epoch would not do: only what was learned before can be forgotten.
FORGET = "distill digits --method forgetting --ipc 3 --selection-epochs 4 --width 32"
SCORE = "--repeats 2 --width 32 --epochs 20 --batch-size 16 --device cpu --json"

CASES = (
    Case("atom", (f"{ATOM} --steps 6 {EAGER}",)),
    Case("atom-resumed", (f"{ATOM} --steps 3 {EAGER}", "distill digits --resume --steps 6 --out run"), same_as="atom"),
    Case("atom-2-processes", (f"{ATOM} --steps 4 --norm instance {EAGER}",), processes=2),
    Case("atom-compiled", (f"{ATOM} --steps 3 {COMPILED}",)),
    Case("atom-best", (f"{ATOM} --steps 6 --eval-every 2 --eval-epochs 10 {EAGER}",), BEST),
    Case("atom-vit", (f"{ATOM} --steps 3 --arch vit --depth 2 --width 64 {EAGER}",)),
    Case("atom-budget-zca", (f"distill digits --budget 13 --steps 3 --batch-real 8 --preprocess zca {EAGER}",)),
    # Large images and wide layers: the limit cuts the chunk to 8 images, and 20 MiB more or less keep it there.
    Case("atom-memory", (f"{ATOM} --classes 3 --image-size 64 --width 256 --steps 2 --memory 0.905 {EAGER}",)),
    Case("fast-noise", (f"{ATOM} --preset fast --init noise --steps 6 {EAGER}",)),
    Case("dm-batchnorm", (f"{ATOM} --method dm --norm batch --steps 4 {EAGER}",)),
    Case("dc-no-norm", (f"distill digits --method dc --ipc 1 --batch-real 8 --norm none --steps 2 {EAGER}",)),
    Case("cifar10-atom-zca-bfloat16", (f"{CIFAR} --ipc 2 --steps 2 --real-dtype bfloat16 {EAGER}",)),
    Case("cifar10-datadam", (f"{CIFAR} --method datadam --preprocess normalize --ipc 2 --steps 3 {EAGER}",)),
    Case("cifar10-dsa", (f"{CIFAR} --method dsa --preprocess normalize --ipc 1 --steps 2 {EAGER}",)),
    Case("random", (f"{TEN} {EAGER}",)),
    Case("herding", (f"{SELECT} --method herding {EAGER}",)),
    Case("k-center", (f"{SELECT} --method k-center {EAGER}",)),
    Case("forgetting", (f"{FORGET} {EAGER}",)),
    Case("import", ("import ../published.pt --as digits --preprocess normalize --out run",)),
    Case("evaluate", (f"{TEN} {EAGER}", f"evaluate run {SCORE} --compile off"), SCORES),
    Case("evaluate-random-compiled", (f"evaluate digits --random --ipc 10 {SCORE} --compile on",), SCORES),
)


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of tensors, by the order of their names: names, dtypes, shapes and values."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def accuracies(printed: str) -> dict[str, Tensor]:
    """Return the accuracies of each network in what `atom evaluate --json` printed, float64 [repeats], by number."""
    scores = json.loads(printed)
    scores = scores if isinstance(scores, list) else [scores]
    return {str(index): torch.tensor(score["runs"], dtype=torch.float64) for index, score in enumerate(scores)}


def run_case(case: Case, source: Path, folder: Path) -> str:
    """Return the digest of a case by the package in `source`, or `FAILED` or `SKIPPED` and why.

    Args:
        case: what to run.
        source: folder that holds `atom_distill`.
        folder: where the case may work; it is made.
    """
    cifar = Path(os.environ.get("ATOM_DATA", "")).resolve() / "cifar10"
    if any("cifar10" in command for command in case.commands) and not (cifar / "dataset.json").is_file():
        return f"{SKIPPED}: no CIFAR-10 in the cache (ATOM_DATA): run `atom data cifar10`"
    done = _run_commands(case, case.commands, source, folder, cifar)
    if done.returncode == 2 and case.otherwise:
        folder = folder.with_name(f"{folder.name}-otherwise")
        done = _run_commands(case, case.otherwise, source, folder, cifar)
    if done.returncode != 0:
        return f"{FAILED}: {' '.join(done.stderr.split())[-400:]}"
    return digest(accuracies(done.stdout) if case.result == SCORES else load_file(folder / case.result))


def _run_commands(
    case: Case, commands: Sequence[str], source: Path, folder: Path, cifar: Path
) -> subprocess.CompletedProcess[str]:
    """Run commands until one fails, and return what came of the last."""
    cache = folder / "cache"
    cache.mkdir(parents=True)
    if cifar.is_dir():
        (cache / "cifar10").symlink_to(cifar)
    compiled = Path(tempfile.gettempdir()) / "atom-digests-compiled"  # kept: torch looks up its code by what it does
    environment = os.environ | {"PYTHONPATH": str(source), "ATOM_DATA": str(cache), "OMP_NUM_THREADS": "1"}
    environment |= {"TORCHINDUCTOR_CACHE_DIR": str(compiled)}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(case.processes)]
    for command in commands:
        line = [sys.executable, *(launcher if case.processes > 1 else []), "-m", "atom_distill", *shlex.split(command)]
        done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            break
    return done


def run_cases(cases: Sequence[Case], source: Path, *, jobs: int) -> dict[str, str]:
    """Return the digest of each case by its name, `jobs` of them at once; progress goes to standard error."""
    with tempfile.TemporaryDirectory() as place:
        noise = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        torch.save({"data": [[noise, torch.arange(10).repeat_interleave(2)]]}, Path(place) / "published.pt")

        def run(case: Case) -> str:
            started = time.perf_counter()
            outcome = run_case(case, source, Path(place) / case.name)
            sys.stderr.write(f"{source}: {case.name}, {time.perf_counter() - started:.0f} s\n")
            return outcome

        with ThreadPoolExecutor(jobs) as pool:
            return dict(zip((case.name for case in cases), pool.map(run, cases), strict=True))


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """Give a temporary folder with the `src` of a revision of this repository."""
    repository = Path(__file__).resolve().parent.parent
    packed = subprocess.run(
        ["git", "archive", "--format=tar", revision, "src"], cwd=repository, capture_output=True, check=False
    )
    if packed.returncode != 0:
        raise SystemExit(f"--revision {revision}: {packed.stderr.decode().strip()}")
    with tempfile.TemporaryDirectory() as place:
        with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
            archive.extractall(place, filter="data")
        yield Path(place)


def differing(mine: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the cases of `mine` that failed, or whose outcome in `other` is missing or another."""
    return [name for name, outcome in mine.items() if outcome.startswith(FAILED) or other.get(name) != outcome]


def inconsistent(cases: Sequence[Case], digests: Mapping[str, str]) -> list[str]:
    """Return the cases whose digest is not that of the case that they must equal, where both were run."""
    return [c.name for c in cases if c.same_as and digests.get(c.same_as, digests[c.name]) != digests[c.name]]


def read_digests(lines: str) -> dict[str, str]:
    """Return the outcomes by name in what was printed before."""
    return dict(line.split(maxsplit=1) for line in lines.splitlines())


def table(columns: Sequence[Mapping[str, str]]) -> str:
    """Return a line for each case: its name, and its outcome in each column, cut short where there are several."""
    width = max(map(len, columns[0]))
    shown = 64 if len(columns) == 1 else 24
    rows = [[name, *(column.get(name, "missing") for column in columns)] for name in columns[0]]
    cut = [[row[0].ljust(width), *(cell if ":" in cell else cell[:shown] for cell in row[1:])] for row in rows]
    return "".join("  ".join(row) + "\n" for row in cut)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases, print their digests, and return 1 where any failed or differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    here = Path(__file__).resolve().parent.parent
    parser.add_argument("--source", type=Path, default=here, help="checkout to run (default: the one of this script)")
    parser.add_argument("--revision", help="revision of this repository to run too, and to compare with")
    parser.add_argument("--against", type=Path, help="output kept on this machine to compare with")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="cases to run, e.g. 'atom*'")
    parser.add_argument("--jobs", type=int, default=1, help="cases to run at once")
    options = parser.parse_args(arguments)
    cases = [case for case in CASES if fnmatch.fnmatch(case.name, options.only)]
    if not cases:
        parser.error(f"--only {options.only}: no such case; there are {', '.join(case.name for case in CASES)}")
    columns = [run_cases(cases, options.source.resolve() / "src", jobs=options.jobs)]
    if options.revision:
        with checked_out(options.revision) as other:
            columns.append(run_cases(cases, other / "src", jobs=options.jobs))
    if options.against:
        columns.append(read_digests(options.against.read_text()))
    sys.stdout.write(table(columns))
    wrong = {name for column in columns[1:] or columns for name in differing(columns[0], column)}
    wrong |= set(inconsistent(cases, columns[0]))
    if wrong:
        sys.stderr.write(f"different or failed: {', '.join(sorted(wrong))}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
