"""Runs the commands and the Python of a page in small: on digits and a made-up folder, for a few steps.

What stands in the pages is meant for real data and for minutes or hours. These tables say all that is changed; nothing
else of a block is.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from atom_distill.cli.main import main
from command_page import help_of
from docs.pages import ROOT
from forked import atom_on_ranks

STAND_INS = {"cifar10": "digits", "cifar100": "digits", "tiny-imagenet": "digits", "legacy-normalize": "normalize"}
"""Words of a command, or texts in Python, that name what is not at hand."""
SMALLER: dict[str, Callable[[int], int]] = {
    "--steps": lambda steps: max(2, steps // 100),
    "--epochs": lambda _: 1,
    "--whole-epochs": lambda _: 1,
    "--repeats": lambda _: 1,
    "--sample": lambda _: 2,
    "--image-size": lambda _: 8,
    "--nproc-per-node": lambda _: 2,
}
"""Options whose numbers are made small."""
QUICK = {
    "distill": "--steps 2 --width 8 --batch-real 8 --compile off --device cpu",
    "evaluate": "--epochs 1 --repeats 1 --compile off --device cpu",
    "reproduce": "--datasets digits --steps 2 --epochs 1 --repeats 1",
    "search": "--on process --sample 2 --epochs 1 --whole-epochs 1",
}
"""Options that are added where a command does not give them."""
FEWER = {
    "reproduce table1": "--methods random dm",
    "reproduce components": "--cells embedding/*",
    "reproduce powers": "--cells p_s?4/*p_c?4",
}
"""Options that replace or narrow what a table would take hours for."""
ONE_ARCHITECTURE = ("alexnet", "vgg11", "resnet18", "vit")
"""Words that are left out: digits of 8x8 are too small for these."""
PYTHON = {
    r'"(cifar10|cifar100|tiny-imagenet)"': '"digits"',
    r"\b((?:whole_)?epochs)=\d+": r"\1=1",
    r"\brange\(300\)": "range(1)",
    r"\bimage_size=32\b": "image_size=8",
}
"""Texts in Python that are replaced."""
NOT_RUN = {
    "git clone": "needs the address of a repository, which a reader knows",
    "cd": "goes into what was cloned",
    "python": "examples have tests of their own, in tests/examples; that the file exists is tested",
    "pip install": "the environment is that of these tests; that the extras exist is tested",
    "make": "this is what runs the tests; that the targets exist is tested",
    "--push": "needs a hub; that the options exist is tested, and a hub of their own is in tests/exporting",
}
"""All that is in the pages and not run, and why."""


def run_shell(text: str) -> None:
    """Run each line of a block."""
    for line in text.replace("\\\n", " ").splitlines():
        for command in split(line):
            run_command(command)


def split(line: str) -> list[list[str]]:
    """Split a line at `&&`, without its comment."""
    commands: list[list[str]] = [[]]
    for word in shlex.split(line, comments=True):
        if word == "&&":
            commands.append([])
        else:
            commands[-1].append(word)
    return [command for command in commands if command]


def run_command(words: list[str]) -> None:
    """Run one command in small, or check it if it is among those that are not run."""
    match words:
        case ["atom", *rest] if "--push" in rest:
            check_options(rest)
        case ["atom", *rest]:
            code = main(smaller(rest))
            assert code == 0, f"exit code {code}: {shlex.join(words)}, run as atom {shlex.join(smaller(rest))}"
        case ["torchrun", processes, "-m", "atom_distill", "distill", *rest]:
            launch(*smaller([processes]), smaller(["distill", *rest]))
        case ["torchrun", _, "-m", "atom_distill", *rest]:
            run_command(["atom", *rest])  # processes that share an evaluation are in tests/distillation/test_ranks.py
        case ["make", *rest]:
            check_make(rest)
        case ["pip", "install", *rest]:
            check_pip(rest)
        case ["python", script, *_]:
            assert (ROOT / script).is_file(), script
        case ["git", "clone", *_] | ["cd", _]:
            pass
        case _:
            raise AssertionError(f"nothing here knows how to run, or why not to run: {shlex.join(words)}")


def smaller(words: list[str]) -> list[str]:
    """Apply the tables above to a command's words."""
    line = [STAND_INS.get(word, word) for word in words if word not in ONE_ARCHITECTURE]
    for name, shrink in SMALLER.items():
        for place, word in enumerate(line):
            if word == name:
                line[place + 1] = str(shrink(int(line[place + 1])))
            elif word.startswith(f"{name}="):
                line[place] = f"{name}={shrink(int(word.partition('=')[2]))}"
    few = FEWER.get(" ".join(line[:2]))
    if few and "--dry-run" not in line and few.split()[0] not in line:
        line += few.split()
    added = QUICK.get(line[0], "").split()
    for option, value in zip(added[::2], added[1::2], strict=True):
        if option not in line:
            line += [option, value]
    return line


def launch(processes: str, words: list[str]) -> None:
    """Run a shared command in as many processes as torchrun would start; torchrun itself is in tests/cli."""
    option, _, count = processes.partition("=")
    assert option == "--nproc-per-node", processes
    for rank in atom_on_ranks(int(count), words):
        assert rank.code == 0, rank.err[-2000:]


def check_options(words: list[str]) -> None:
    """Check that a command has all options that are given to it."""
    known = options_of(words[0])
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    assert not unknown, f"atom {words[0]} has no {unknown}"


def options_of(command: str) -> set[str]:
    """Name the options of a command, with their dashes."""
    options = (option for group in help_of(command).groups for option in group.options)
    return {word for option in options for word in re.findall(r"--[\w-]+", option.names)}


def check_make(words: list[str]) -> None:
    """Check that the Makefile has the targets and variables."""
    makefile = (ROOT / "Makefile").read_text()
    for word in words:
        name, given, _ = word.partition("=")
        assert re.search(rf"^{name}\s*\?=" if given else rf"^{name}:.*##", makefile, re.M), f"make {word}"


def check_pip(words: list[str]) -> None:
    """Check that what is to be installed is this project, with extras that it has."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    match words:
        case ["-e", place]:
            found = re.fullmatch(r"\.(?:\[([\w,]+)\])?", place)
            assert found, place
            assert set((found[1] or "").split(",")) - {""} <= set(extras), place
        case _:
            raise AssertionError(f"pip install {shlex.join(words)}")


def run_python(text: str, names: dict[str, Any], path: Path) -> None:
    """Run a block of Python with the names that earlier ones left; it gets a file, as functions are read from files."""
    for pattern, replacement in PYTHON.items():
        text = re.sub(pattern, replacement, text)
    path.write_text(text, "utf-8")
    exec(compile(text, str(path), "exec"), names)
