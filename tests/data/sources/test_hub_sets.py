"""Data sets of the hub by `owner/name`; nothing here reaches a network."""

from __future__ import annotations

import datasets
import huggingface_hub
import pytest

from atom_distill.base.errors import ConfigError, DataError, UnknownNameError
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

    def load(repository: str) -> datasets.DatasetDict:
        fetched.append(repository)
        if repository != "someone/pets":
            raise datasets.exceptions.DatasetNotFoundError(
                f"Dataset '{repository}' is a gated dataset on the Hub.\nVisit its page to ask for access."
            )
        return datasets.DatasetDict(Train=split(1, 2), dev=split(3, 4))

    monkeypatch.setattr(datasets, "load_dataset", load)
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
