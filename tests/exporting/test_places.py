"""Where an export goes, what it never writes over, and what of a run the hub's folder holds."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.errors import ArtifactError, ConfigError, UnknownNameError
from atom_distill.exporting import parquet_table, tensor_files
from atom_distill.exporting.export_distilled import export_distilled
from atom_distill.exporting.formats import FORMATS
from atom_distill.exporting.private_paths import command_without_folders, without_folders


@pytest.fixture
def tiny(data, distill) -> DistilledDataset:
    return distill(data, "normalize")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("form", FORMATS.names())
def test_without_a_place_it_lies_beside_the_run(tmp_path, tiny, form, monkeypatch):
    with pytest.raises(ConfigError, match="in memory only: give the place of the export as `out`"):
        export_distilled(tiny, form)
    tiny.save(tmp_path / "runs" / "toy.v1")
    before = contents(tmp_path / "runs" / "toy.v1")
    path = export_distilled(tiny, form).path
    assert path == tmp_path / "runs" / ("toy.v1" + (FORMATS.get(form).suffix or f"-{form}"))
    assert contents(tmp_path / "runs" / "toy.v1") == before
    monkeypatch.chdir(tmp_path / "runs" / "toy.v1")
    with pytest.raises(ArtifactError, match="exists already"):
        export_distilled(DistilledDataset.load("."), form)


@pytest.mark.parametrize("form", FORMATS.names())
def test_an_export_is_replaced_on_request_only(tmp_path, data, distill, tiny, form):
    place = tmp_path / f"set{FORMATS.get(form).suffix}"
    export_distilled(tiny, form, place)
    before = contents(tmp_path)
    with pytest.raises(ArtifactError, match=r"exists already.*`out`.*`force=True`"):
        export_distilled(tiny, form, place)
    assert contents(tmp_path) == before
    export_distilled(distill(data, "normalize", images=tiny.images + 1), form, place, force=True)
    after = contents(tmp_path)
    assert after.keys() == before.keys()
    assert after != before


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("form", FORMATS.names())
def test_what_is_no_export_is_never_replaced(tmp_path, tiny, form, force):
    tiny.save(tmp_path / "run")
    (tmp_path / "run.pt").mkdir()
    (tmp_path / "run.npz").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "export.json").write_text("[1]")
    (tmp_path / "text").write_text("thesis")
    suffix = FORMATS.get(form).suffix
    before = contents(tmp_path)
    for name in [f"run{suffix}"] if suffix else ["run", "mine", "text"]:
        with pytest.raises(
            ArtifactError, match="exists already and is not an export of this format: give another `out`"
        ):
            export_distilled(tiny, form, tmp_path / name, force=force)
    assert contents(tmp_path) == before


def test_an_empty_folder_will_do(tmp_path, tiny):
    (tmp_path / "empty").mkdir()
    assert export_distilled(tiny, "hf", tmp_path / "empty").path == tmp_path / "empty"


@pytest.mark.parametrize("form", ["pt", "npz"])
def test_a_file_is_named_as_its_readers_want_it(tmp_path, tiny, form):
    with pytest.raises(ConfigError, match=rf"writes one file: the name of `out` must end in \.{form}, got .*set\.zip"):
        export_distilled(tiny, form, tmp_path / "set.zip")


def test_unknown_formats_and_stray_options(tmp_path, tiny):
    with pytest.raises(UnknownNameError, match=r"unknown format 'parqet'\. Did you mean 'parquet'"):
        export_distilled(tiny, "parqet", tmp_path / "set")
    with pytest.raises(ConfigError, match='`push` sends a folder laid out for the hub: give `to="hf"`, not `to="npz"`'):
        export_distilled(tiny, "npz", tmp_path / "set.npz", push="jane/set")
    with pytest.raises(ConfigError, match="`private` is for `push`"):
        export_distilled(tiny, "hf", tmp_path / "set", private=True)
    assert not any(tmp_path.glob("set*"))


@pytest.mark.parametrize("form", ["pt", "parquet"])
def test_what_fails_half_way_leaves_nothing_and_the_old_one(tmp_path, tiny, form, monkeypatch):
    place = tmp_path / f"set{FORMATS.get(form).suffix}"
    export_distilled(tiny, form, place)
    before = contents(tmp_path)

    def fail(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    module, function = (tensor_files.torch, "save") if form == "pt" else (parquet_table, "write_card")
    monkeypatch.setattr(module, function, fail)
    for target in (place, tmp_path / f"other{FORMATS.get(form).suffix}"):
        with pytest.raises(OSError, match="No space"):
            export_distilled(tiny, form, target, force=True)
    assert contents(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [place.name]


# Older versions of numpy leave a zip file open.
@pytest.mark.filterwarnings("ignore:Exception ignored in.*ZipFile:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("form", FORMATS.names())
def test_a_full_disk_is_an_error_of_the_system_and_leaves_nothing(tmp_path, tiny, form):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40, limits[1]))
    try:
        with pytest.raises(OSError):  # noqa: PT011 (its text is the system's)
            export_distilled(tiny, form, tmp_path / f"set{FORMATS.get(form).suffix}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not [path.name for path in tmp_path.iterdir() if path.name != "atom-data"]


def test_the_folder_for_the_hub_holds_the_run(tmp_path, data, distill):
    request = {"name_or_path": "/home/jane/pets", "test_fraction": 0.2}
    dataset = {**data.identity(), "source": "/home/jane/pets", "request": request}
    record = {
        "command": "atom distill /home/jane/pets --ipc 2 --out=/home/jane/run --set pool=3",
        "extended": {"folder": "/home/jane/small", "images": 5, "classes": 5},
    }
    tiny = distill(data, soft=True, dataset=dataset, record=record, history=[{"step": 1, "loss": 2.5}])
    tiny.settings = {**tiny.settings, "extend": "/home/jane/small", "archs": ["convnet", "/home/jane/net"]}
    folder = export_distilled(tiny, "hf", tmp_path / "set").path
    loaded = DistilledDataset.load(folder / "run")
    assert torch.equal(loaded.images, tiny.images)
    assert torch.equal(loaded.soft_labels, tiny.soft_labels)
    assert torch.equal(loaded.preprocessing.apply(data.test.images), tiny.preprocessing.apply(data.test.images))
    assert loaded.settings == {**tiny.settings, "extend": "small", "archs": ["convnet", "net"]}
    assert (loaded.history, loaded.steps) == (tiny.history, 3)
    everything = b"".join(contents(folder).values())
    assert b"jane" not in everything  # what is shown to others names no folders of ours
    assert loaded.record["command"] == "atom distill pets --ipc 2 --out=run --set pool=3"
    assert loaded.dataset["request"] == {"name_or_path": "pets", "test_fraction": 0.2}
    assert tiny.dataset["request"]["name_or_path"] == "/home/jane/pets"


def test_folders_of_the_machine_are_cut_and_class_names_are_not():
    held = {
        "extend": "/home/jane/runs/one",
        "request": {"name_or_path": "/data/pets", "classes": ["/m/01g317", "/m/0bt9lr"]},
        "files": ["/home/jane/a.pt", "b.pt"],
        "steps": 3,
    }
    assert without_folders(held) == {
        "extend": "one",
        "request": {"name_or_path": "pets", "classes": ["/m/01g317", "/m/0bt9lr"]},
        "files": ["a.pt", "b.pt"],
        "steps": 3,
    }
    command = "atom distill /data/pets --out=/home/jane/run --ipc 1"
    assert command_without_folders(command) == "atom distill pets --out=run --ipc 1"
