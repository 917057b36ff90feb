"""The sets that come with the package: small, complete, free of paths, and never written to."""

from __future__ import annotations

import hashlib
import re
import runpy
import shutil
from pathlib import Path

import pytest
import torch

import atom_distill as ad
from atom_distill.artifact.bundled import SETS_FOLDER, bundled_folder, bundled_names, is_bundled, load_run
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.errors import ArtifactError, UnknownNameError

PACKAGE = Path(ad.__file__).parent
LIMIT = 6_000_000  # bytes
NAMES = bundled_names()


def digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_package_stays_small():
    sizes = {path: path.stat().st_size for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert len(sizes) > 200
    assert sum(sizes.values()) < LIMIT


def test_they_are_sorted_by_data_set_and_size():
    assert {"cifar10-3072", "cifar10-12288", "cifar10-30720"} <= set(NAMES)
    assert NAMES.index("cifar10-3072") < NAMES.index("cifar10-12288")


@pytest.mark.parametrize("name", NAMES)
def test_a_set_is_what_its_name_and_scores_say(name):
    tiny = ad.load_distilled(name)
    data, _, size = name.rpartition("-")
    assert tiny.dataset["name"] == data
    assert tiny.dataset["contents"]  # so that any copy of the published set will do
    assert tiny.stored_bytes <= int(size) * len(tiny.class_names)
    assert tiny.scores
    assert all((score.dataset, score.images) == (data, len(tiny)) for score in tiny.scores)
    assert tiny.record["command"].startswith(f"atom distill {data} ")
    files = [bundled_folder(name) / file for file in ("distilled.safetensors", "preprocessing.safetensors")]
    assert sum(path.stat().st_size for path in files) < 1.03 * tiny.stored_bytes + 2000


@pytest.mark.parametrize("name", NAMES)
def test_the_decoder_on_the_card_makes_the_same_images(name, tmp_path, monkeypatch):
    card = (SETS_FOLDER / name / "README.md").read_text("utf-8")
    code = next(code for code in re.findall(r"```python\n(.*?)```", card, re.DOTALL) if "lzma" in code)
    (tmp_path / "decoder.py").write_text(code)
    monkeypatch.chdir(SETS_FOLDER / name)
    made = runpy.run_path(str(tmp_path / "decoder.py"))
    tiny = ad.load_distilled(name)
    torch.testing.assert_close(made["images"], tiny.images, rtol=0, atol=1e-5)
    assert torch.equal(made["labels"], tiny.labels)


@pytest.mark.parametrize("name", NAMES)
def test_they_hold_no_paths_of_a_machine(name):
    for path in (SETS_FOLDER / name).iterdir():
        if path.suffix in (".md", ".yaml", ".json"):
            assert not re.search(r"(?<![\w:/.\])])/(?:work|home|root|tmp|Users)\b", path.read_text("utf-8")), path


def test_a_wrong_name_is_told():
    with pytest.raises(UnknownNameError, match=r"distilled set 'cifar10-3702'.*'cifar10-3072'.*Known: "):
        ad.load_distilled("cifar10-3702")


def test_a_run_folder_is_not_one_of_them(tmp_path, monkeypatch):
    shutil.copytree(SETS_FOLDER / NAMES[0], tmp_path / "run")
    with pytest.raises(ArtifactError, match=r"is a run folder.*DistilledDataset.load"):
        ad.load_distilled(str(tmp_path / "run"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").rename(NAMES[0])
    assert ad.load_distilled(NAMES[0]).folder is None  # the name is that of the set that comes along


def test_nothing_is_written_to_them():
    name = NAMES[0]
    before, tiny = digest(SETS_FOLDER / name), ad.load_distilled(name)
    assert tiny.folder is None
    assert len(tiny.add_score(tiny.scores[0].model_copy(update={"seed": 9}))) == len(tiny.scores)
    assert digest(SETS_FOLDER / name) == before


def test_a_folder_of_ones_own_is_not_bundled(tmp_path):
    first = ad.load_distilled(NAMES[0]).head(1)
    first.save(tmp_path / NAMES[0])
    assert not is_bundled(tmp_path / NAMES[0])
    assert load_run(tmp_path / NAMES[0]).folder == tmp_path / NAMES[0]
    assert torch.equal(DistilledDataset.load(tmp_path / NAMES[0]).images, first.images)


def test_they_have_no_best_set():
    with pytest.raises(ArtifactError, match="no best set"):
        load_run(bundled_folder(NAMES[0]), "best")
