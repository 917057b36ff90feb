"""The public names: all load, and none of them costs anything before it is used."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import atom_distill

HEAVY = ["torch", "numpy", "datasets", "sklearn", "PIL", "safetensors", "tensorboard"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL
    )


def test_importing_the_package_is_silent_and_light():
    code = f"import sys, json, atom_distill; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
    assert done.stderr == ""


@pytest.mark.parametrize("name", atom_distill.__all__)
def test_each_public_name_loads(name):
    assert getattr(atom_distill, name) is not None
    assert name in dir(atom_distill)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'atom_distill' has no attribute 'destill'"):
        atom_distill.destill  # noqa: B018 (looking it up is the test)
    assert not hasattr(atom_distill, "__path_of_nothing__")


def test_type_checkers_see_the_names_that_load():
    """The TYPE_CHECKING block and the table of homes say the same."""
    tree = ast.parse(Path(atom_distill.__file__).read_text("utf-8"))
    (block,) = (n for n in tree.body if isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING")
    seen = {alias.asname: node.module.removeprefix("atom_distill.") for node in block.body for alias in node.names}
    assert seen == atom_distill._HOMES
    assert set(atom_distill.__all__) == {"__version__", *seen}


def test_the_version_is_the_distributions():
    from importlib.metadata import version

    assert atom_distill.__version__ == version("atom-distill")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["distill", "--help"],
        ["evaluate", "--help"],
        ["data", "--help"],
        ["import", "--help"],
        ["export", "--help"],
    ],
)
def test_help_does_not_import_torch(arguments):
    done = run("-X", "importtime", "-m", "atom_distill", *arguments)
    modules = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert done.returncode == 0, done.stderr[-500:]
    assert "usage" in done.stdout.lower()
    assert "atom_distill" in modules  # the listing is there, so what is missing from it was not imported
    assert modules.isdisjoint({"torch", "datasets", "sklearn"})
