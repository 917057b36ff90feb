"""Optional packages: imported, or missing with a message that says how to install them."""

from __future__ import annotations

import json
import sys

import pytest

from atom_distill.base.errors import AtomError, MissingExtraError
from atom_distill.base.optional import is_available, require


def test_an_installed_package_is_imported():
    assert require("json", extra="x", caller="y") is json


def test_a_missing_package_says_who_needs_it_and_how_to_get_it():
    with pytest.raises(MissingExtraError) as caught:
        require("no_such_package", extra="ray", caller="atom run --on ray")
    assert str(caught.value) == (
        "atom run --on ray needs the package 'no_such_package'. Install it with: pip install 'atom-distill[ray]'"
    )
    assert isinstance(caught.value, AtomError)
    assert isinstance(caught.value, ImportError)


def test_a_package_that_cannot_be_imported_says_why_and_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError) as caught:
        require("broken_package", extra="timm", caller="the architecture timm:x")
    assert str(caught.value) == (
        "the architecture timm:x needs the package 'broken_package', which is installed but cannot be imported here "
        "(RuntimeError: operator torchvision::nms does not exist). Repair that package or the one named, "
        "e.g. with: pip install --upgrade broken_package"
    )


def test_a_folder_of_that_name_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "no_such_package").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert not is_available("no_such_package")


def test_checking_does_not_import():
    sys.modules.pop("antigravity", None)
    assert is_available("wave")
    assert is_available("xml.etree.ElementTree")
    assert not is_available("no_such_package")
    assert not is_available("no_such_package.part")
    assert is_available("antigravity")
    assert "antigravity" not in sys.modules
