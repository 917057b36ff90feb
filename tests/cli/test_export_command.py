"""`atom export` as people and scripts use it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from atom_distill.artifact.distilled import DistilledDataset

EXAMPLE_LINES = 4


@pytest.fixture(autouse=True)
def _own_cache_of_datasets(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf-cache")


@pytest.fixture
def real_images(atom, tmp_path) -> Path:
    """A run that chose five real images a class, so that a network is good after seconds."""
    quick = "--ipc 5 --width 8 --batch-real 8 --compile off --device cpu"
    assert atom(f"distill digits --method random {quick} --out", tmp_path / "real").code == 0
    return tmp_path / "real"


@pytest.mark.parametrize("form", ["pt", "npz", "parquet", "hf", "imagefolder"])
def test_what_is_printed_loads_the_set_and_trains_a_network_of_ours(atom, real_images, form):
    from atom_distill import load_dataset
    from atom_distill.base.network_shape import NetworkShape
    from atom_distill.models.build import build_model

    answer = atom(f"export --to {form}", real_images)
    assert answer.code == 0, answer.err
    assert answer.out.startswith("50 images: ")
    example = "\n".join(answer.out.splitlines()[-EXAMPLE_LINES:])
    names: dict = {}
    exec(compile(example, "printed", "exec"), names)
    tiny, test = DistilledDataset.load(real_images), load_dataset("digits").test
    assert torch.equal(names["images"], tiny.images) == (form != "imagefolder")
    torch.manual_seed(0)
    network = build_model("convnet", (1, 8, 8), 10, NetworkShape(width=16))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for _ in range(60):
        for images, labels in names["loader"]:
            loss = torch.nn.functional.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    inputs = test.images / 255 if form == "imagefolder" else tiny.preprocessing.apply(test.images)
    with torch.no_grad():
        right = network(inputs).argmax(1) == test.labels
    assert float(right.float().mean()) > 0.6  # guessing gives 0.1


def test_for_scripts(atom, run_folder, tmp_path):
    facts = atom("export --to imagefolder --json --out", tmp_path / "pictures", run_folder).json
    assert Path(facts["path"]) == tmp_path / "pictures"
    assert (facts["format"], facts["images"], facts["soft_labels"], facts["hub"]) == ("imagefolder", 10, False, None)
    assert 0 <= facts["clipping"]["share"] <= 1
    assert len(facts["example"].splitlines()) == EXAMPLE_LINES
    assert len(list((tmp_path / "pictures").glob("*/*.png"))) == 10
    assert atom("export --to pt --json", run_folder).json["clipping"] is None


def test_people_are_told_what_pictures_lose(atom, run_folder):
    answer = atom("export --to imagefolder", run_folder)
    assert "in the pictures, " in answer.err
    assert "The other formats are exact" in answer.err


def test_it_comes_back_by_import(atom, run_folder, tmp_path):
    assert atom("export --to pt --out", tmp_path / "set.pt", run_folder).code == 0
    answer = atom(
        "import --as digits --preprocess normalize --method atom --out", tmp_path / "back", tmp_path / "set.pt"
    )
    assert answer.code == 0, answer.err
    again, tiny = DistilledDataset.load(tmp_path / "back"), DistilledDataset.load(run_folder)
    assert torch.equal(again.images, tiny.images)
    assert torch.equal(again.labels, tiny.labels)


def test_a_run_with_classes_of_several_sizes_comes_back_too(atom, tmp_path):
    quick = "--steps 1 --width 8 --batch-real 8 --compile off --device cpu"
    assert atom(f"distill digits --budget 13 {quick} --out", tmp_path / "run").code == 0
    assert atom("export --to pt", tmp_path / "run").code == 0
    answer = atom("import --as digits --preprocess normalize", tmp_path / "run.pt")
    assert answer.code == 0, answer.err
    assert answer.out.startswith("13 images: runs/digits-imported-budget13")
    again, tiny = DistilledDataset.load("runs/digits-imported-budget13"), DistilledDataset.load(tmp_path / "run")
    assert torch.equal(again.images, tiny.images)
    assert torch.equal(again.labels, tiny.labels)


def test_soft_labels_are_told(atom, run_folder, tmp_path):
    tiny = DistilledDataset.load(run_folder)
    DistilledDataset.from_images(
        images=tiny.images,
        labels=tiny.labels,
        soft_labels=torch.rand(10, 10).softmax(1),
        class_names=tiny.class_names,
        preprocessing=tiny.preprocessing,
        settings=tiny.settings,
    ).save(tmp_path / "soft")
    answer = atom("export --to pt", tmp_path / "soft")
    assert answer.out.startswith("10 images, soft labels: ")
    assert "'soft_labels'" in answer.err
    assert 'stored["soft_labels"]' in answer.out


def test_nothing_is_sent_without_a_login(refused, run_folder, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", "/nowhere/token")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nowhere/token")
    line = refused("export --to hf --push jane/digits", run_folder)
    assert all(word in line for word in ("hub", "`hf auth login`", "HF_TOKEN"))
    assert not run_folder.with_name("run-hf").exists()


def test_nothing_is_written_where_the_hub_cannot_be_reached(refused, run_folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_nonsense")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    line = refused("export --to hf --push jane/digits", run_folder)
    assert "(Connect" in line  # ConnectError or ConnectionError, by the version
    assert "nothing was written or sent" in line
    assert not run_folder.with_name("run-hf").exists()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("export", "--to pt, npz, parquet, safetensors, imagefolder or hf"),
        ("export --to pt --push jane/digits", "--to hf.*--to pt"),
        ("export --to hf --private", "--private.*--push"),
        ("export --to hf --push digits", "--push 'digits' .*USER/NAME"),
        ("export --to pt --out set.tar", r"--to pt .*--out .*\.pt, got set\.tar"),
        ("export --to pt --which best", "no best set"),
    ],
)
def test_wrong_lines(refused, run_folder, line, told):
    assert re.search(told, refused(line, run_folder))
    assert [path.name for path in run_folder.parent.iterdir() if path.name.startswith("run")] == ["run"]


def test_a_place_in_use_is_refused(atom, refused, run_folder):
    atom("export --to npz", run_folder)
    before = run_folder.with_name("run.npz").read_bytes()
    told = refused("export --to npz", run_folder)
    assert re.search("run.npz .*--out.*--force", told)
    assert run_folder.with_name("run.npz").read_bytes() == before
    assert atom("export --to npz --force", run_folder).code == 0
    assert "is not an export of this format" in refused("export --to hf --force --out", run_folder, run_folder)


def test_damaged_and_half_written_runs(refused, run_folder, tmp_path):
    assert "config.yaml" in refused("export --to pt", tmp_path)
    assert "is not a run folder" in refused("export --to pt digits")
    tensors = run_folder / "distilled.safetensors"
    whole = tensors.read_bytes()
    tensors.write_bytes(whole[:-9])
    assert "distilled.safetensors is truncated or damaged" in refused("export --to hf", run_folder)
    tensors.unlink()
    assert "distilled.safetensors is missing: the run is not finished" in refused("export --to hf", run_folder)
    tensors.write_bytes(whole)
    (run_folder / "preprocessing.safetensors").unlink()
    assert "preprocessing.safetensors is missing" in refused("export --to hf", run_folder)
    assert not run_folder.with_name("run-hf").exists()
