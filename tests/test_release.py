"""What a release needs: one version, all files in the wheel, extras that exist, oldest versions that are allowed."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import atom_distill
from check_package import PackageError, check_sets, missing_extra

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "atom_distill"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
FOR_DEVELOPERS = ("dev", "docs")


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert PROJECT["version"] == citation["version"] == atom_distill.__version__
    assert citation["license"] == PROJECT["license"]
    assert {"cff-version", "title", "message", "authors"} <= citation.keys()  # what the format requires


def test_the_wheel_takes_every_file_of_the_package():
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["atom_distill"]
    files = [path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*") if path.is_file()]
    others = [name for name in files if not name.endswith((".py", ".pyc"))]
    assert len(others) > 15
    assert [name for name in others if not any(fnmatch(name, pattern) for pattern in patterns)] == []


def test_the_wheel_must_have_every_set_of_the_repository():
    names = " ".join(path.name for path in (SOURCE / "sets").iterdir())
    check_sets(SimpleNamespace(run=lambda *_: SimpleNamespace(stdout=names, stderr="")))
    without = names.replace("tiny-imagenet-3072", "")
    with pytest.raises(PackageError, match="the wheel lacks tiny-imagenet-3072"):
        check_sets(SimpleNamespace(run=lambda *_: SimpleNamespace(stdout=without, stderr="")))


def test_every_extra_that_is_named_exists():
    text = "".join(path.read_text("utf-8") for path in SOURCE.rglob("*.py"))
    named = set(re.findall(r'require\([^)]*extra="(\w+)"', text))
    assert named == EXTRAS.keys() - {*FOR_DEVELOPERS}


def test_the_oldest_versions_are_those_that_are_allowed():
    lines = (ROOT / "constraints-oldest.txt").read_text("utf-8").splitlines()
    pinned = {one.name.lower(): one for one in (Requirement(line) for line in lines if not line.startswith("#"))}
    groups = [PROJECT["dependencies"], *(names for extra, names in EXTRAS.items() if extra not in FOR_DEVELOPERS)]
    allowed = {one.name.lower(): one for group in groups for one in map(Requirement, group)}
    assert allowed.keys() <= pinned.keys()
    for name in allowed.keys() - {"torch"}:  # only its newest build is at hand
        (oldest,), (exact,) = allowed[name].specifier, pinned[name].specifier
        parts = Version(oldest.version).release
        assert (oldest.operator, exact.operator) == (">=", "=="), name
        assert Version(exact.version).release[: len(parts)] == parts, name


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (
            "atom report: a report needs 'altair'. Install it with: pip install 'atom-distill[report]'\n",
            "atom-distill[report]",
        ),
        ("needs: pip install ray\n", "ray"),
        ("a note\natom search: it needs 'ray': pip install 'atom-distill[ray]'\n", "atom-distill[ray]"),
        ("a note on: pip install ray\natom search: no such folder\n", None),
        ("atom: no such command\n", None),
    ],
)
def test_an_extra_is_read_from_the_line_of_the_error(said, wanted):
    assert missing_extra(said) == wanted
