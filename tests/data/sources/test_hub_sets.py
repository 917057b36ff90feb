"""Data sets of the hub by `owner/name`; nothing here reaches a network."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atom_distill.base.errors import ConfigError, DataError, UnknownNameError
from atom_distill.data.dataset import Split
from atom_distill.data.load import is_at_hand, load_dataset
from atom_distill.data.sources.hub import is_repository


@pytest.fixture
def hub(monkeypatch):
    """Serve `someone/pets`, and count how often it is fetched."""
    features = datasets.Features(
        {
            "photo": datasets.Array2D(shape=(4, 4), dtype="uint8"),
            "kind": datasets.ClassLabel(names=["cat", "dog"]),
            "sex": datasets.ClassLabel(names=["female", "male"]),
        }
    )

    def split(*values: int) -> datasets.Dataset:
        rows = {"photo": [[[value] * 4] * 4 for value in values], "kind": [0, 1], "sex": [1, 0]}
        return datasets.Dataset.from_dict(rows, features=features)

    fetched = []

    def builder(repository: str) -> SimpleNamespace:
        fetched.append(repository)
        if repository != "someone/pets":
            raise datasets.exceptions.DatasetNotFoundError(
                f"Dataset '{repository}' is a gated dataset on the Hub.\nVisit its page to ask for access."
            )
        found = datasets.DatasetDict(Train=split(1, 2), dev=split(3, 4))
        return SimpleNamespace(download_and_prepare=lambda: None, as_dataset=lambda: found)

    monkeypatch.setattr(datasets, "load_dataset_builder", builder)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: None)
    return fetched


def test_a_set_is_fetched_once_and_cached(hub):
    options = {"label_column": "kind"}
    assert not is_at_hand("someone/pets", **options)
    dataset = load_dataset("someone/pets", **options)
    assert dataset.train.images[:, 0, 0, 0].tolist() == [1, 2]
    assert dataset.test.images[:, 0, 0, 0].tolist() == [3, 4]
    assert (dataset.name, dataset.class_names) == ("pets", ("cat", "dog"))
    assert is_at_hand("someone/pets", **options)
    assert dataset.request == {"name_or_path": "someone/pets", **options}
    assert load_dataset(**dataset.request).fingerprint == dataset.fingerprint
    assert hub == ["someone/pets"]
    assert load_dataset("someone/pets", label_column="sex").class_names == ("female", "male")
    assert not is_at_hand("someone/pets", label_column="other")


def test_refresh_fetches_again(hub):
    for _ in range(2):
        load_dataset("someone/pets", label_column="kind", refresh=True)
    assert len(hub) == 2


def test_two_label_columns_name_the_option(hub):
    with pytest.raises(DataError, match=r"`label_column`; 2 could be it \(kind, sex\)"):
        load_dataset("someone/pets")


def test_a_folder_of_that_name_comes_first(hub, class_folders, monkeypatch):
    monkeypatch.chdir(class_folders.parent.parent)
    name = f"{class_folders.parent.name}/{class_folders.name}"
    dataset = load_dataset(name)
    assert (len(dataset.train), dataset.request["name_or_path"]) == (8, str(class_folders))
    assert hub == []


def test_a_gated_or_missing_set_is_one_line(hub):
    with pytest.raises(DataError) as caught:
        load_dataset("someone/else")
    text = str(caught.value)
    assert "\n" not in text
    for part in ("path someone/else", "no such file or folder", "gated dataset", "ask for access", "hf auth login"):
        assert part in text


def test_without_a_network_it_fails_at_once_and_says_what_was_tried():
    with pytest.raises(DataError) as caught:  # the hub is a closed port
        load_dataset("someone/pets")
    text = str(caught.value)
    assert "\n" not in text
    assert "path someone/pets" in text
    assert "hub cannot be reached" in text


def test_data_dir_does_not_fit(tmp_path):
    with pytest.raises(ConfigError, match="`data_dir` is for named sets"):
        load_dataset("someone/pets", data_dir=tmp_path)


@pytest.mark.parametrize("name", ["pets", "a/b/c", "./pets", "../pets", "pets/", "/pets", "~/pets", "a//b", "a b/c"])
def test_other_forms_are_no_repository(name):
    assert not is_repository(name)
    with pytest.raises(UnknownNameError, match="`owner/name` of a data set"):
        load_dataset(name)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Return the folder that the hub serves as `someone/pets`: `datasets` reads it as it reads a repository."""
    folder, build = tmp_path / "hub" / "pets", datasets.load_dataset_builder
    folder.mkdir(parents=True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "client")
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda _: build(str(folder)))
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: None)
    return folder


def table(names: list[str] | None, values: list[int], *labels: int) -> datasets.Dataset:
    features = {"image": datasets.Array2D(shape=(4, 4), dtype="uint8"), "label": datasets.Value("int64")}
    if names is not None:
        features["label"] = datasets.ClassLabel(names=names)
    rows = {"image": [[[value] * 4] * 4 for value in values], "label": labels}
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


def save_parquet(path: Path, names: list[str] | None, values: list[int], *labels: int) -> None:
    path.parent.mkdir(exist_ok=True)
    table(names, values, *labels).to_parquet(path)


def pixels_by_name(split: Split, names: tuple[str, ...]) -> list[tuple[int, str]]:
    return [
        (int(image[0, 0, 0]), names[label]) for image, label in zip(split.images, split.labels.tolist(), strict=True)
    ]


def test_each_file_keeps_its_own_order_of_the_class_names(repository):
    save_parquet(repository / "data/train-00000-of-00002.parquet", ["cat", "dog"], [1, 2], 0, 1)
    save_parquet(repository / "data/train-00001-of-00002.parquet", ["dog", "cat"], [3, 4], 0, 1)
    save_parquet(repository / "data/test-00000-of-00001.parquet", ["dog", "cat"], [5, 6], 0, 1)
    dataset = load_dataset("someone/pets")
    assert pixels_by_name(dataset.train, dataset.class_names) == [(1, "cat"), (2, "dog"), (3, "dog"), (4, "cat")]
    assert pixels_by_name(dataset.test, dataset.class_names) == [(5, "dog"), (6, "cat")]
    assert dataset.source == "Hugging Face hub: someone/pets"


CARD = """---
configs:
- config_name: other
  data_files: [{split: train, path: "other/*.parquet"}]
- config_name: usual
  default: true
  data_files: [{split: train, path: "usual/a*"}, {split: test, path: "usual/b*"}]
dataset_info:
- config_name: usual
  features:
  - {name: image, dtype: {array2_d: {shape: [4, 4], dtype: uint8}}}
  - {name: label, dtype: {class_label: {names: {"0": cat, "1": dog}}}}
---
"""


def test_the_page_of_a_set_chooses_the_files_and_names_the_classes(repository):
    (repository / "README.md").write_text(CARD)
    save_parquet(repository / "other/a.parquet", None, [7, 8, 9], 0, 1, 2)
    save_parquet(repository / "usual/a.parquet", None, [1, 2], 0, 1)
    save_parquet(repository / "usual/b.parquet", None, [3, 4], 1, 0)
    for path in repository.glob("usual/*"):
        pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)  # as other programs write it
    dataset = load_dataset("someone/pets")
    assert pixels_by_name(dataset.train, dataset.class_names) == [(1, "cat"), (2, "dog")]
    assert pixels_by_name(dataset.test, dataset.class_names) == [(3, "dog"), (4, "cat")]


def test_downloaded_files_serve_without_a_network(repository, monkeypatch):
    save_parquet(repository / "train.parquet", ["cat", "dog"], [1, 2], 0, 1)
    save_parquet(repository / "test.parquet", ["cat", "dog"], [3, 4], 0, 1)
    before = load_dataset("someone/pets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda _: (_ for _ in ()).throw(ConnectionError("offline")))
    larger = load_dataset("someone/pets", image_size=8)
    assert (larger.image_shape, larger.class_names) == ((1, 8, 8), before.class_names)
    (repository / "test.parquet").unlink()
    with pytest.raises(DataError, match=r"did not give someone/pets \(offline\)"):
        load_dataset("someone/pets", image_size=6)


def save_arrow(path: Path, names: list[str], *labels: int) -> None:
    held = table(names, [1, 2], *labels).with_format("arrow")[:]
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, held.schema) as writer:
        writer.write_table(held)


def test_arrow_files_are_refused_unless_they_declare_the_same_names(repository):
    save_arrow(repository / "train.arrow", ["cat", "dog"], 0, 1)
    save_arrow(repository / "test.arrow", ["cat", "dog"], 1, 0)
    assert load_dataset("someone/pets").test.labels.tolist() == [1, 0]
    save_arrow(repository / "test.arrow", ["dog", "cat"], 1, 0)
    with pytest.raises(DataError, match=r"someone/pets: test.arrow declares other .*write the set as parquet"):
        load_dataset("someone/pets", refresh=True)
