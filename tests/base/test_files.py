"""Atomic writes: files and folders appear complete or not at all."""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from contextlib import nullcontext
from multiprocessing import get_context
from multiprocessing.synchronize import Event as EventType
from pathlib import Path

import pytest

from atom_distill.base import files
from atom_distill.base.files import (
    atomic_folder,
    atomic_path,
    atomic_path_alone,
    remove_leftovers,
    write_json,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "atom-data")


def write_half(path: Path, error: type[BaseException]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"ne")
        raise error


def fill_half(path: Path, error: type[BaseException]) -> None:
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("1")
        raise error


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    with atomic_path(tmp_path / "a.bin") as temporary:
        temporary.write_bytes(b"new")
        assert temporary.parent == tmp_path  # the same file system, or replacing it would not be atomic
        assert not (tmp_path / "a.bin").exists()
    assert (tmp_path / "a.bin").read_bytes() == b"new"
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(error):
        write_half(path, error)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_a_failed_first_write_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError):
        write_half(tmp_path / "a.bin", RuntimeError)
    assert names(tmp_path) == []


def test_an_existing_file_is_replaced_and_missing_folders_are_made(tmp_path):
    path = tmp_path / "deep" / "er" / "a.txt"
    write_text(path, "old")
    write_text(path, "näw")
    assert path.read_text(encoding="utf-8") == "näw"
    assert names(path.parent) == ["a.txt"]


def test_json_is_readable_by_people_and_machines(tmp_path):
    write_json(tmp_path / "a.json", {"mean": 1.5, "runs": [1, 2]})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {"mean": 1.5, "runs": [1, 2]}
    assert text.count("\n") > 3
    assert text.endswith("}\n")


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_permissions_are_those_of_open_and_mkdir(tmp_path):
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "")
        with atomic_folder(tmp_path / "f"):
            pass
        assert os.umask(0o027) == 0o027  # reading the umask did not change it
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o750


def test_a_folder_appears_only_when_it_is_whole(tmp_path):
    target = tmp_path / "runs" / "one"
    with atomic_folder(target) as temporary:
        (temporary / "a").write_text("1")
        assert temporary.parent == target.parent
        assert not target.exists()
    assert (target / "a").read_text() == "1"
    assert names(target.parent) == ["one"]


def test_an_existing_folder_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "one"
    target.mkdir()
    (target / "stale").write_text("old")
    with atomic_folder(target) as temporary:
        (temporary / "a").write_text("1")
        assert names(target) == ["stale"]
    assert names(target) == ["a"]
    assert names(tmp_path) == ["one"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_folder_leaves_the_old_one_and_nothing_else(tmp_path, error):
    target = tmp_path / "one"
    target.mkdir()
    (target / "kept").write_text("old")
    with pytest.raises(error):
        fill_half(target, error)
    assert names(target) == ["kept"]
    assert names(tmp_path) == ["one"]


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path):
    name = "x" * 255
    write_text(tmp_path / name, "a")
    with atomic_folder(tmp_path / ("é" * 127)) as folder:
        (folder / "b").touch()
    assert names(tmp_path) == [name, "é" * 127]


def test_text_that_is_not_valid_is_written_as_escapes(tmp_path):
    write_text(tmp_path / "a.md", "ca\udce9 é")
    assert (tmp_path / "a.md").read_text(encoding="utf-8") == r"ca\udce9 é"


def begin_and_wait(path: Path, begun: EventType) -> None:
    with atomic_folder(path) as temporary:
        (temporary / "half").write_text("1")
        begun.set()
        time.sleep(60)


def test_folders_of_killed_processes_are_removed_and_those_in_work_are_not(tmp_path):
    context = get_context("fork")
    for outcome in ("killed", "at work"):
        begun = context.Event()
        process = context.Process(target=begin_and_wait, args=(tmp_path / outcome, begun))
        process.start()
        assert begun.wait(10)
        if outcome == "killed":
            process.kill()
            process.join()
        with atomic_folder(tmp_path / outcome) as temporary:
            (temporary / "whole").write_text("1")
        assert names(tmp_path / outcome) == ["whole"]
        left = [path.name for path in tmp_path.glob(f".{outcome}.*.part")]
        assert len(left) == (outcome == "at work")
        process.kill()
        process.join()


def test_a_folder_that_cannot_be_replaced_is_as_before(tmp_path, monkeypatch):
    path = tmp_path / "folder"
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("old")
    replace = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if self.suffix == ".part":
            raise OSError(errno.EIO, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="Input/output"), atomic_folder(path) as temporary:
        (temporary / "a").write_text("new")
    assert (path / "a").read_text() == "old"
    assert names(tmp_path) == ["folder"]


def test_a_folder_that_cannot_be_moved_back_is_where_the_error_says(tmp_path, monkeypatch):
    path = tmp_path / "folder"
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("old")
    replace, seen = Path.replace, []

    def failing(self: Path, target: Path) -> Path:
        seen.append(self)
        if len(seen) > 1:
            raise OSError(errno.EROFS, "Read-only file system")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="Read-only") as caught, atomic_folder(path) as temporary:
        (temporary / "a").write_text("new")
    where = Path(str(caught.value).split(" is in ")[1])
    assert (where / "a").read_text() == "old"


def test_what_is_being_put_in_place_is_no_leftover(tmp_path, monkeypatch):
    replace = Path.replace

    def after_another_started(self: Path, target: Path) -> Path:
        remove_leftovers(tmp_path)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", after_another_started)
    for text in ("first", "second"):
        write_text(tmp_path / "file", text)
        with atomic_path_alone(tmp_path / "alone") as temporary:
            temporary.write_text(text)
        with atomic_folder(tmp_path / "folder") as temporary:
            (temporary / "a").write_text(text)
    assert names(tmp_path) == ["alone", "file", "folder"]
    assert {path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == {"second"}


def test_a_folder_that_a_killed_process_had_moved_away_is_moved_back(tmp_path):
    name = "n" * 200  # which is cut in temporary names
    for folder in ("killed", "finished"):
        kept = tmp_path / folder / f".{name[:50]}.abc.old" / name
        kept.mkdir(parents=True)
        (kept / "a").write_text("old")
    (tmp_path / "finished" / name).mkdir()
    for folder, left in {"killed": ["a"], "finished": []}.items():
        remove_leftovers(tmp_path / folder)
        assert names(tmp_path / folder) == [name]
        assert names(tmp_path / folder / name) == left


def test_where_nothing_can_be_locked_everything_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "locked", lambda _: nullcontext())
    (tmp_path / ".a.1.part").touch()
    (tmp_path / ".b.2.old").mkdir()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".a.1.part", ".b.2.old"]
