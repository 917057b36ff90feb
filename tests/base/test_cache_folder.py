"""The cache folder, and what takes its place where it cannot be written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from atom_distill.base import cache_folder
from atom_distill.base.cache_folder import (
    cache_path,
    cache_root,
    compiled_code_folder,
    make_hub_cache_writable,
    writable,
    writable_cache,
)
from atom_distill.base.errors import CacheError


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch) -> Path:
    """The folder of temporary files, and the user's folder in it."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp" / f"atom-distill-{os.geteuid()}"


@pytest.fixture
def blocked(tmp_path, monkeypatch) -> Path:
    """A cache folder that cannot be made, by any user."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ATOM_DATA", str(tmp_path / "file" / "cache"))
    return tmp_path / "file" / "cache"


def test_a_cache_that_can_be_written_is_used_and_not_made_before(tmp_path, capsys):
    root = tmp_path / "atom-data"
    assert (writable_cache(), cache_path("a", "b"), writable(root / "c")) == (root, root / "a" / "b", root / "c")
    assert compiled_code_folder() == root / "compiled"
    assert not root.exists()
    assert capsys.readouterr().err == ""


def test_a_temporary_folder_takes_its_place_and_is_told_once(blocked, temporary, capsys):
    assert compiled_code_folder() == temporary / "compiled"
    assert capsys.readouterr().err == ""
    assert writable_cache() == temporary
    assert cache_path("toy") == temporary / "toy"
    assert writable(blocked / "toy") == temporary / "toy"
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert all(word in told for word in (str(blocked), "Not a directory", str(temporary), "ATOM_DATA"))
    assert temporary.stat().st_mode & 0o777 == 0o700


def test_what_is_in_a_read_only_cache_is_found_and_what_replaced_it_first(tmp_path, temporary, read_only, capsys):
    (tmp_path / "atom-data" / "toy").mkdir(parents=True)
    read_only(tmp_path / "atom-data")
    assert cache_path("toy") == tmp_path / "atom-data" / "toy"
    assert capsys.readouterr().err == ""
    assert cache_path("other") == temporary / "other"
    (temporary / "toy").mkdir()
    assert cache_path("toy") == temporary / "toy"


@pytest.mark.parametrize("variable", [None, "~/cache"])
def test_no_home_folder(variable, temporary, monkeypatch, capsys):
    for name in ("ATOM_DATA", "HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    if variable is not None:
        monkeypatch.setenv("ATOM_DATA", variable)

    def unknown(_: int) -> None:
        raise KeyError("uid not found")  # as `docker run --user 12345` does

    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert cache_root() == temporary
    assert cache_path("toy") == temporary / "toy"
    assert "no home folder" in capsys.readouterr().err


def test_a_folder_that_another_user_may_have_made_is_not_used(blocked, temporary, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    temporary.symlink_to(tmp_path / "elsewhere")
    folder = writable_cache()
    assert folder != temporary
    assert folder.parent == temporary.parent
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_no_folder_at_all(blocked, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(CacheError, match="ATOM_DATA"):
        writable_cache()
    assert compiled_code_folder() is None
    assert cache_folder.cache_root() == blocked


@pytest.mark.parametrize("home", [None, "file"])
def test_the_hub_s_downloads_go_where_they_can_be_written(temporary, blocked, tmp_path, monkeypatch, home):
    monkeypatch.setenv("HF_HOME", "restored after the test")
    monkeypatch.delenv("HF_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if home is None:
        monkeypatch.delenv("HOME")
        monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # a KeyError
    else:
        monkeypatch.setenv("HOME", str(tmp_path / home))
    make_hub_cache_writable()
    assert os.environ["HF_HOME"] == str(temporary / "huggingface")
    make_hub_cache_writable()
    assert os.environ["HF_HOME"] == str(temporary / "huggingface")


def test_the_hub_s_own_folder_is_left_where_it_is(tmp_path, monkeypatch, read_only):
    monkeypatch.setenv("HF_HOME", "restored after the test")
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    make_hub_cache_writable()
    assert "HF_HOME" not in os.environ
    (tmp_path / "huggingface").mkdir()
    read_only(tmp_path / "huggingface")  # it may hold the set
    make_hub_cache_writable()
    assert "HF_HOME" not in os.environ
