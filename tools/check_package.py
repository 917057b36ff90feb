"""Build the package, install it into an empty environment, and check that it is whole there: `make package`.

    python tools/check_package.py build/package

The environment has the wheel and what it requires, and none of the extras. In it
- every command runs, or names in one line the extra that it lacks, as a line of pip that this environment accepts;
- mypy, from outside, knows the types of the package in a small script of a user's.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from atom_distill.artifact.bundled import bundled_names
from atom_distill.base.sizes import readable_size
from atom_distill.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 6_000_000  # bytes, of the wheel and of the source distribution
INSTALL = re.compile(r"pip install ('[^']+'|\S+)")
SMALL = "--compile off --device cpu"

RUNNING = (
    "data digits",
    f"distill digits --ipc 1 --steps 2 --width 8 --batch-real 8 {SMALL} --out run",
    f"evaluate run --epochs 1 --repeats 1 --width 8 {SMALL}",
    "sets",
    "export cifar10-3072 --to safetensors",
    "export run --to npz --out set.npz",
    "import set.npz --as digits --out imported",
    "search run --sample 1 --epochs 1 --whole-epochs 1 --on process --device cpu",
    "reproduce table1 --datasets digits --methods random --ipc 1 --epochs 1 --repeats 1",
)
"""Lines that run without extras, in this order."""
LACKING = (
    ("report run", "report"),
    ("watch run", "report"),
    ("distill digits --ipc 1 --tensorboard --out logged", "tensorboard"),
    ("evaluate run --arch timm:resnet18", "timm"),
    ("search run --on ray", "ray"),
    ("reproduce table1 --datasets digits --methods random --ipc 1 --on ray", "ray"),
)
"""Lines that lack an extra, and which."""

USER_SCRIPT = """\
import atom_distill as ad

data = ad.load_dataset("digits")
tiny: ad.DistilledDataset = ad.distill(data, ipc=1, method="dm", steps=2)
best = ad.load_distilled("cifar10-3072")
accuracy: float = ad.evaluate(tiny, data, arch="convnet", repeats=1).mean
print(f"{accuracy:.1f} % with {len(tiny)} images; {best.stored_bytes} bytes {tuple(best.images.shape)}")
"""
WRONG_SCRIPT = """\
import atom_distill as ad

tiny: int = ad.load_distilled("cifar10-3072")
"""


class PackageError(Exception):
    """The package is not what it should be."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and a folder to work in."""

    folder: Path
    work: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a line of `python`, away from this repository and its settings."""
        own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        own["ATOM_DATA"] = str(self.work / "cache")
        return subprocess.run(
            [self.python, *words], cwd=self.work, env=own, capture_output=True, text=True, check=False
        )

    def atom(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line of the `atom` command."""
        return self.run(str(self.folder / "bin" / "atom"), *line.split())


def build(folder: Path) -> Path:
    """Return the wheel, built from a source distribution that lies beside it.

    Raises:
        PackageError: they cannot be built, or are too large.
    """
    line = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PackageError(f"the package cannot be built: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    for path in (sdist, wheel):
        size = path.stat().st_size
        print(f"{path.name}: {readable_size(size)}")
        if size > LIMIT:
            raise PackageError(f"{path} has {size} bytes, more than {LIMIT}")
    return wheel


def empty_environment(wheel: Path, folder: Path) -> Environment:
    """Return an environment with the wheel and what it requires, in the versions of constraints.txt."""
    environment = Environment(folder / "venv", folder / "work")
    environment.work.mkdir()
    venv.create(environment.folder, with_pip=True)
    done = environment.run("-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), str(wheel))
    if done.returncode != 0:
        raise PackageError(f"{wheel.name} cannot be installed: {done.stderr}")
    return environment


def check_commands(environment: Environment) -> None:
    """Run every line.

    Raises:
        PackageError: one fails, or does not name the extra that it lacks.
    """
    for line in RUNNING:
        done = environment.atom(line)
        if done.returncode != 0:
            raise PackageError(f"atom {line} ended with {done.returncode}: {done.stderr[-2000:]}")
        print(f"atom {line}: runs")
    for line, extra in LACKING:
        done = environment.atom(line)
        wanted = missing_extra(done.stderr) if done.returncode == 2 else None
        if wanted != f"atom-distill[{extra}]":
            raise PackageError(
                f"atom {line} does not name [{extra}] in one line: {done.returncode} {done.stderr[-2000:]}"
            )
        if environment.run("-m", "pip", "install", "--dry-run", wanted).returncode != 0:
            raise PackageError(f"pip install '{wanted}' does not work, as atom {line} says it does")
        print(f"atom {line}: names [{extra}], which can be installed")


def missing_extra(said: str) -> str | None:
    """Return what the last line on standard error asks to install, if it does; notes may precede it."""
    found = INSTALL.search(said.strip().rpartition("\n")[2])
    return shlex.split(found[1])[0] if found else None


def check_sets(environment: Environment) -> None:
    """Check that the sets of this repository are there.

    Raises:
        PackageError: one is not.
    """
    done = environment.run("-c", "from atom_distill.artifact.bundled import bundled_names; print(*bundled_names())")
    lacking = set(bundled_names()) - set(done.stdout.split())
    if lacking:
        raise PackageError(f"the wheel lacks {', '.join(sorted(lacking))}: {done.stderr}")


def check_types(environment: Environment) -> None:
    """Check a right and a wrong script with mypy.

    Raises:
        PackageError: mypy refuses the right one, or finds nothing in the wrong one.
    """
    for name, text, codes in (("right.py", USER_SCRIPT, ()), ("wrong.py", WRONG_SCRIPT, ("assignment",))):
        (environment.work / name).write_text(text)
        mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(environment.python), name]
        away = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MYPYPATH")}
        done = subprocess.run(mypy, cwd=environment.work, env=away, capture_output=True, text=True, check=False)
        if tuple(re.findall(r"error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)) != codes:
            raise PackageError(f"mypy on {name}: {done.stdout}{done.stderr}")
    print("mypy --strict knows the types")


def require_all_commands() -> None:
    """Raise a PackageError if no line checks a command."""
    left_out = set(COMMANDS) - {line.split()[0] for line in (*RUNNING, *(line for line, _ in LACKING))}
    if left_out:
        raise PackageError(f"nothing checks {', '.join(sorted(left_out))}: add a line to RUNNING")


def main(arguments: Sequence[str]) -> int:
    """Run all checks; return 0, or 1 where the package is not what it should be."""
    folder = Path(*arguments).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        require_all_commands()
        wheel = build(folder)
        environment = empty_environment(wheel, folder)
        check_sets(environment)
        check_commands(environment)
        check_types(environment)
    except PackageError as error:
        print(f"check_package: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
