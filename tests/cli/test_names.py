"""Names of classes, sets and folders are data: no command takes them for markup, for a path, or fails on them."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.cli.main import main
from atom_distill.cli.output import print_table

NAMES = (
    *("[/x]", "[bold]", "cat 🐱", "漢" * 90, "x" * 330, "x" * 330 + "y", "a/b", "..", "", "CON", "con.png"),
    *("Dog", "dog", "dog.", "dog ", "é", "e\u0301", "<script>alert(1)</script>", "a|b`c`", "line\nbreak", "---\nx: {"),
    *("\x1b[31mred", "nul\x00l", "lone\u2028separator", "{{7*7}}", "{title}", "$x^$", "--flag", "12"),
)
QUICK = "--steps 1 --width 4 --batch-real 4 --compile off --device cpu --preprocess normalize"


def pictures(count: int) -> list[Image.Image]:
    random = np.random.default_rng(count)
    return [Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in range(count)]


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved set with these class names, which may hold what no folder's name can."""
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})

    def split(each: int) -> datasets.Dataset:
        labels = [label for label in range(len(NAMES)) for _ in range(each)]
        return datasets.Dataset.from_dict({"image": pictures(len(labels)), "label": labels}, features=features)

    folder = tmp_path_factory.mktemp("strange") / "set"
    datasets.DatasetDict({"train": split(3), "test": split(1)}).save_to_disk(folder)
    return folder


@pytest.fixture(scope="module")
def run(strange: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on them, from the command line."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATOM_DATA", str(home / "cache"))
        assert main(["distill", str(strange), "--ipc", "1", *QUICK.split(), "--out", str(home / "run")]) == 0
    return home / "run"


def test_a_run_on_strange_names_is_complete_and_keeps_them(run):
    assert DistilledDataset.load(run).class_names == NAMES
    folders = [path.name for path in (run / "images").iterdir()]
    assert len(folders) == len(NAMES)
    assert max(len(name.encode()) for name in folders) <= 100


@pytest.mark.slow
def test_every_command_reads_it(atom, run, strange):
    assert atom("evaluate --repeats 1 --epochs 1 --device cpu", run).code == 0
    assert atom("search --sample 1 --epochs 1 --proxies random --on process --device cpu", run).code == 0
    assert atom("import --preprocess normalize --out again --as", strange, run / "images").code == 0
    assert DistilledDataset.load("again").class_names == NAMES
    assert DistilledDataset.load("again").labels.tolist() == list(range(len(NAMES)))


@pytest.mark.slow
def test_names_on_a_page_are_text(atom, run):
    assert atom("report --out page.html", run).code == 0
    page = Path("page.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    assert json.loads(found[1])["runs"][0]["classes"] == list(NAMES)


@pytest.mark.parametrize("form", ["imagefolder", "parquet", "hf"])
def test_exports_are_read_with_the_same_names(atom, run, tmp_path, form, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    assert atom(f"export --to {form} --out {tmp_path / form}", run).code == 0
    found = datasets.load_dataset(str(tmp_path / form), split="train", cache_dir=str(tmp_path / "hf"))
    assert found.features["label"].names == list(NAMES)
    assert found["label"] == list(range(len(NAMES)))


def test_files_of_tensors_keep_the_names(atom, run, tmp_path):
    import torch

    for form in ("pt", "npz"):
        assert atom(f"export --to {form} --out {tmp_path / f'it.{form}'}", run).code == 0
    assert torch.load(tmp_path / "it.pt", weights_only=True)["class_names"] == list(NAMES)
    assert np.load(tmp_path / "it.npz")["class_names"].tolist() == list(NAMES)


def test_a_table_shows_names_as_they_are_and_its_counts(atom, strange):
    told = atom("data", strange)
    assert told.code == 0, told.err
    assert all(name in told.out for name in ("[/x]", "[bold]", "cat 🐱"))
    row = next(line for line in told.out.splitlines() if "xxx" in line)
    assert re.search(r"x+\.\.\..* 3 .* 1 ", row)


def test_a_table_is_no_markup(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    print_table("[red]of[/blue]", ["[/a]"], [["\x1b[31m[link]\n"]])
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("[red]of[/blue]", "[/a]", r"\x1b[31m[link]\n"))


def test_a_terminal_without_the_characters_gets_escapes(strange, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii", errors="strict"))
    assert main(["data", str(strange), "--sheet", "sheet.png"]) == 0
    sys.stdout.flush()
    assert rb"cat \U0001f431" in written.getvalue()


@pytest.mark.slow
def test_folders_may_have_names_that_are_not_utf8_or_as_long_as_can_be(atom, tmp_path):
    root = os.fsencode(tmp_path) + b"/ca\xe9\n" + b"x" * 240
    for split, count in (("train", 3), ("test", 1)):
        for name in (b"ca\xe9", b"tea"):
            folder = Path(os.fsdecode(root)) / split / os.fsdecode(name)
            folder.mkdir(parents=True)
            for index, picture in enumerate(pictures(count)):
                picture.save(folder / f"{index}.png")
    done = atom(f"distill --ipc 1 {QUICK}", os.fsdecode(root))
    assert done.code == 0, done.err
    (run,) = Path("runs").iterdir()
    assert DistilledDataset.load(run).class_names == (r"ca\udce9", "tea")
    assert atom("evaluate --repeats 1 --epochs 1 --device cpu", run).code == 0
    assert atom("report --out page.html", run).code == 0
    assert r"ca\udce9" in Path("page.html").read_text(encoding="utf-8")


def test_a_folder_whose_name_cannot_be_read_again_is_refused(refused, tmp_path):
    assert "is not UTF-8" in refused(f"distill digits --ipc 1 {QUICK} --out", os.fsdecode(b"ca\xe9"))
