"""What a folder or a zip file is listed to hold, and what is never taken for data."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from atom_distill.api import distill
from atom_distill.base.errors import DataError
from atom_distill.data.load import load_dataset
from atom_distill.data.sources.listing import endings, image_suffixes, scan, scan_zip
from atom_distill.exporting.export_distilled import export_distilled


@pytest.fixture
def flat(tmp_path, save_image):
    """One level of classes: a is red, b is blue."""
    for n in range(4):
        save_image(tmp_path / "pets" / "a" / f"{n}.png", color=(200 + n, 0, 0))
        save_image(tmp_path / "pets" / "b" / f"{n}.png", color=(0, 0, 100 + n))
    return tmp_path / "pets"


def test_runs_exports_and_caches_in_the_data_are_no_classes(flat, monkeypatch, capsys):
    before = load_dataset(flat, test_fraction=0.5)
    run = distill(before, ipc=1, method="random", out=flat / "runs" / "first")
    export_distilled(run, "imagefolder", out=flat / "a" / "exported")
    monkeypatch.setenv("ATOM_DATA", str(flat / "cache"))
    after = load_dataset(flat, test_fraction=0.5)
    again = load_dataset(flat, test_fraction=0.5, refresh=True)
    for dataset in (after, again):
        assert dataset.class_names == ("a", "b")
        assert dataset.fingerprint == before.fingerprint
    told = capsys.readouterr().err
    assert "runs/first/ holds a run: not taken for data" in told
    assert "a/exported/ holds an export: not taken for data" in told
    assert "cache/folders" in told, told


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("search.json", '{"verdicts": []}'),
        ("table1.json", '{"table": "table1", "cells": []}'),
        ("report.html", '<head><meta name="generator" content="atom-distill">'),
    ],
)
def test_other_output_is_recognized_by_its_content(flat, save_image, name, content, capsys):
    picture = f"{name.partition('.')[0]}.png"  # a plot beside a table
    for folder in ("", "a", "out"):
        save_image(flat / folder / picture)
        (flat / folder / name).write_text(content)
    dataset = load_dataset(flat, test_fraction=0.5)
    assert (dataset.class_names, len(dataset.train)) == (("a", "b"), 4)
    assert f"a/{name}: written by this tool" in capsys.readouterr().err
    for folder in ("", "a", "out"):
        (flat / folder / name).write_text('{"of": "somebody else"}')
    with pytest.raises(DataError, match="class 'out' has 1 image"):
        load_dataset(flat, test_fraction=0.5)


def test_a_contact_sheet_among_the_images_is_left_out(flat, save_image):
    save_image(flat / "a" / "pets-contact-sheet.png", size=(99, 99))
    assert len(load_dataset(flat, test_fraction=0.5).train) == 4


def test_a_run_is_no_data_set(flat):
    run = distill(load_dataset(flat, test_fraction=0.5), ipc=1, method="random", out=flat.parent / "run")
    with pytest.raises(DataError, match="holds a run of this tool, not a data set; give the folder"):
        load_dataset(run.folder, test_fraction=0.5)


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_a_link_that_leads_back_up_is_not_followed(flat, target, capsys):
    (flat / "a" / "more").symlink_to(target, target_is_directory=True)
    dataset = load_dataset(flat, test_fraction=0.5)
    assert len(dataset.train) + len(dataset.test) == 8
    assert "a/more: a link that leads back" in capsys.readouterr().err


def test_links_to_each_other_end(tmp_path, save_image):
    save_image(tmp_path / "x" / "0.png")
    save_image(tmp_path / "y" / "0.png")
    (tmp_path / "x" / "to y").symlink_to(tmp_path / "y")
    (tmp_path / "y" / "to x").symlink_to(tmp_path / "x")
    assert [path for path, _, _ in scan(tmp_path).files] == ["x/0.png", "x/to y/0.png", "y/0.png", "y/to x/0.png"]


def test_a_link_to_images_elsewhere_is_followed_at_any_depth(tmp_path, save_image):
    deep = "/".join("0123456789")
    save_image(tmp_path / "elsewhere" / deep / "0.png")
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "a" / "linked").symlink_to(tmp_path / "elsewhere")
    assert [path for path, _, _ in scan(tmp_path / "set").files] == [f"a/linked/{deep}/0.png"]


@pytest.mark.parametrize("junk", ["__MACOSX", "@eaDir", ".ipynb_checkpoints", "$RECYCLE.BIN", "lost+found"])
def test_folders_that_systems_put_beside_data_are_no_classes(flat, save_image, junk):
    save_image(flat / junk / "0.png")
    save_image(flat / "a" / junk / "0.png")
    dataset = load_dataset(flat, test_fraction=0.5)
    assert dataset.class_names == ("a", "b")
    assert len(dataset.train) + len(dataset.test) == 8


@pytest.mark.parametrize("suffix", [".avif", ".jp2", ".tga", ".qoi", ".dds", ".ico", ".pcx", ".sgi"])
def test_what_pillow_opens_is_read(flat, suffix):
    if suffix not in image_suffixes():
        pytest.skip(f"this Pillow does not read {suffix}")
    path = flat / "a" / f"more{suffix}"
    if suffix == ".qoi":  # read by Pillow, not written: header, one pixel of RGB, a run of 62 and one of 1
        path.write_bytes(
            b"qoif"
            + (8).to_bytes(4)
            + (8).to_bytes(4)
            + b"\3\0"
            + b"\xfe\x09\x50\xc8"
            + b"\xfd\xc0"
            + b"\0" * 7
            + b"\1"
        )
    elif suffix == ".ico":
        Image.new("RGB", (8, 8), (9, 80, 200)).save(path, sizes=[(8, 8)])
    else:
        Image.new("RGB", (8, 8), (9, 80, 200)).save(path)
    dataset = load_dataset(flat, test_fraction=0.5)
    assert len(dataset.train) + len(dataset.test) == 9


def test_skipped_files_are_counted_by_ending_in_one_note(flat, capsys):
    for n in range(3):
        (flat / "a" / f"{n}.heic").write_bytes(b"an image that Pillow does not read")
    (flat / "b" / "notes.txt").write_text("no image")
    load_dataset(flat, test_fraction=0.5)
    notes = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert len(notes) == 1
    assert "3 .heic, 1 .txt" in notes[0]


def test_endings_are_counted_most_frequent_first():
    assert endings(iter(["a/1.B", "a/2.b", "x", "c.d"])) == "2 .b, 1 without an ending, 1 .d"
    assert endings(iter([])) == ""


def test_a_folder_that_cannot_be_listed_is_an_error(flat, monkeypatch):
    real = os.scandir
    refuse = PermissionError(13, "Permission denied")

    def scandir(path: Path):
        if Path(path).name == "b":
            raise refuse
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"pets/b/? cannot be listed \(Permission denied\); make it readable"):
        load_dataset(flat, test_fraction=0.5)


# Zip files


def _zipped(folder: Path, archive: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, prefix + path.relative_to(folder).as_posix())
    return archive


@pytest.mark.parametrize("prefix", ["", "pets/"])
def test_a_zip_file_of_class_folders_equals_the_folders(class_folders, tmp_path, save_image, prefix):
    save_image(class_folders / "__MACOSX" / "train" / "a" / "._0.png")
    zipped = load_dataset(_zipped(class_folders, tmp_path / "zipped.zip", prefix))
    assert zipped.fingerprint == load_dataset(class_folders).fingerprint
    assert zipped.name == "zipped"


def test_a_zip_file_lists_the_parents_of_its_empty_folders(class_folders, tmp_path):
    archive = _zipped(class_folders, tmp_path / "zipped.zip")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("notes/old/", b"")
    assert {"notes", "notes/old"} <= set(scan_zip(archive).folders)
    assert load_dataset(archive).fingerprint == load_dataset(class_folders).fingerprint


def test_damaged_and_dangerous_zip_files_are_refused(class_folders, tmp_path):
    archive = _zipped(class_folders, tmp_path / "set.zip")
    archive.write_bytes(archive.read_bytes()[:-60])
    with pytest.raises(DataError, match="cannot be unpacked"):
        load_dataset(archive)
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("../outside/0.png", "/etc/0.png"):
            file.writestr(name, b"no image")
    with pytest.raises(DataError):
        load_dataset(archive)
    assert not (tmp_path.parent / "outside").exists()


# Metadata files


def _labels(save_image, folder: Path, rows: dict[str, str], form: str) -> None:
    for n, name in enumerate(rows):
        save_image(folder / name, color=(n, 0, 0))
    if form == "csv":
        lines = ["file_name,label", *(f'"{name}","{label}"' for name, label in rows.items())]
        (folder / "metadata.csv").write_text("\n".join(lines))
    else:
        lines = [json.dumps({"file_name": name, "label": label}) for name, label in rows.items()]
        (folder / "metadata.jsonl").write_text("\n".join(lines))


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_flat_images_are_labeled_by_a_metadata_file(tmp_path, save_image, form):
    rows = {"0.png": "dog, big", "1.png": "cat", "2.png": "cat", "3.png": "dog, big"}
    for split in ("train", "validation"):
        _labels(save_image, tmp_path / split, rows, form)
    dataset = load_dataset(tmp_path)
    assert dataset.class_names == ("cat", "dog, big")
    assert dataset.train.labels.tolist() == [0, 0, 1, 1]
    assert dataset.train.images[:, 0, 0, 0].tolist() == [1, 2, 0, 3]
    assert len(dataset.test) == 4


def test_one_metadata_file_may_name_the_files_of_all_splits(tmp_path, save_image):
    _labels(save_image, tmp_path, {"train/0.png": "a", "train/1.png": "b", "test/0.png": "b", "test/1.png": "a"}, "csv")
    dataset = load_dataset(tmp_path)
    assert (len(dataset.train), dataset.test.labels.tolist()) == (2, [0, 1])
    assert dataset.test.images[:, 0, 0, 0].tolist() == [3, 2]


def test_a_metadata_file_of_another_column_and_of_missing_files(tmp_path, save_image):
    for n in range(4):
        save_image(tmp_path / "images" / f"{n}.png")
    lines = ["file_name,breed", *(f"images/{n}.png,{'ab'[n % 2]}" for n in range(4))]
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    assert load_dataset(tmp_path, test_fraction=0.5, label_column="breed").class_names == ("a", "b")
    with pytest.raises(DataError, match="needs the columns file_name and kind, and has breed, file_name"):
        load_dataset(tmp_path, test_fraction=0.5, label_column="kind")
    (tmp_path / "metadata.csv").write_text("\n".join([*lines, "images/9.png,a"]))
    with pytest.raises(DataError, match=r"names images/9\.png, which is not there"):
        load_dataset(tmp_path, test_fraction=0.5, label_column="breed")


def test_contradictory_and_incomplete_metadata_is_refused(tmp_path, save_image):
    rows = {"0.png": "a", "1.png": "b", "2.png": "a", "3.png": "b"}
    _labels(save_image, tmp_path, rows, "csv")
    _labels(save_image, tmp_path, rows, "jsonl")  # the same once more: no image counts twice
    dataset = load_dataset(tmp_path, test_fraction=0.5)
    assert len(dataset.train) + len(dataset.test) == 4
    _labels(save_image, tmp_path, {**rows, "0.png": "b"}, "jsonl")
    with pytest.raises(DataError, match=r"0\.png is labeled 'a' and 'b'; keep one"):
        load_dataset(tmp_path, test_fraction=0.5)
    (tmp_path / "metadata.jsonl").unlink()
    (tmp_path / "metadata.csv").write_text("file_name,label\n0.png,a\n1.png,b\n0.png,b\n2.png,a\n3.png,b")
    with pytest.raises(DataError, match=r"0\.png is labeled 'a' and 'b'; keep one"):
        load_dataset(tmp_path, test_fraction=0.5)
    (tmp_path / "metadata.csv").write_text("file_name,label\n0.png,a\n1.png,b")
    with pytest.raises(DataError, match=r"names 2 of the images, e\.g\. 2\.png; add them there"):
        load_dataset(tmp_path, test_fraction=0.5)


@pytest.mark.parametrize(
    "text",
    [
        "File_Name,Label\n{0},a\n{1},b\n{2},a\n{3},b\n",
        "file_name;label\n{0};a\n{1};b\n{2};a\n{3};b\n   \n",
        "filename, label\n{0}, a\n{1}, b\n{2}, a\n{3}, b",
        "\ufefffile_name,label\r\n.\\{0},a\r\n{1},b\r\n{2},a\r\n{3},b\r\n",
    ],
)
def test_metadata_as_people_write_it(tmp_path, save_image, text):
    names = ("train.png", "test.png", "2.png", "3.png")  # files named as splits are no splits
    for n, name in enumerate(names):
        save_image(tmp_path / name, color=(n, 0, 0))
    (tmp_path / "metadata.csv").write_text(text.format(*names), encoding="utf-8", newline="")
    dataset = load_dataset(tmp_path, test_fraction=0.5)
    assert dataset.class_names == ("a", "b")
    assert dataset.train.labels.tolist() == [0, 1]


def test_a_column_of_splits_is_used(tmp_path, save_image):
    lines = ["file_name,label,split"]
    for n, split in enumerate(["train", "train", "test", "Train", "train", "test"]):
        save_image(tmp_path / f"{n}.png", color=(n, 0, 0))
        lines.append(f"{n}.png,{'ab'[n % 2]},{split.lower()}")
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    dataset = load_dataset(tmp_path)
    assert dataset.test.images[:, 0, 0, 0].tolist() == [2, 5]
    assert len(dataset.train) == 4


def test_metadata_without_labels_or_with_several_is_told(flat, capsys):
    (flat / "metadata.csv").write_text("file_name,width\na/0.png,8\n")
    assert load_dataset(flat, test_fraction=0.5).num_classes == 2
    told = capsys.readouterr().err
    assert "metadata.csv is not used: it needs the columns file_name and label, and has file_name, width" in told
    assert ".csv, " not in told
    (flat / "metadata.csv").unlink()
    (flat / "metadata.jsonl").write_text('{"file_name": "a/0.png", "label": ["cat", "dog"]}')
    with pytest.raises(DataError, match="row 1 lacks file_name or one label"):
        load_dataset(flat, test_fraction=0.5)


def test_stray_images_are_told(class_folders, save_image, capsys):
    for path in ("cover.png", "train/0.png", "train/1.png"):
        save_image(class_folders / path)
    assert len(load_dataset(class_folders).train) == 8
    assert "images that are not used: 2 in train, 1 in the folder itself" in capsys.readouterr().err


def test_folds_are_told(tmp_path, save_image, capsys):
    for fold in ("fold1", "fold2"):
        for name in ("cat", "dog"):
            save_image(tmp_path / fold / name / "0.png")
    assert load_dataset(tmp_path, test_fraction=0.5).class_names == ("fold1", "fold2")
    assert "the classes are fold1, fold2, though each holds the same folders (cat, dog)" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["{}\\{}", "./{}/{}", "/{}/{}", "../{}/{}"])
def test_zip_files_of_other_programs_are_read(tmp_path, save_image, form):
    picture = save_image(tmp_path / "0.png").read_bytes()
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
        for n in range(4):
            for name in ("cat", "dog"):
                entry = zipfile.ZipInfo("x")
                entry.filename = form.format(name, f"{n}.png") if n % 2 else f"{name}/{n}.png"
                file.writestr(entry, picture)
    dataset = load_dataset(tmp_path / "set.zip", test_fraction=0.5)
    assert (dataset.class_names, len(dataset.train), len(dataset.test)) == (("cat", "dog"), 4, 4)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_file_with_a_name_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
        for name in ("a/0.png", "b/0.png", "a/0.png"):
            file.writestr(name, b"no image")
    with pytest.raises(DataError, match=r"holds a/0\.png twice"):
        load_dataset(tmp_path / "set.zip", test_fraction=0.5)


def test_pixels_that_changed_without_another_size_or_time_are_read_again(flat, save_image):
    path = save_image(flat / "a" / "9.bmp", color=(1, 2, 3))
    before, stat = load_dataset(flat, test_fraction=0.5), path.stat()
    save_image(path, color=(3, 2, 1))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert load_dataset(flat, test_fraction=0.5).fingerprint != before.fingerprint
