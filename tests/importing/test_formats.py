"""Every published layout gives the same set: images bit for bit, labels as class numbers."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.errors import ConfigError, DataError, UnreadableImageError
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.importing.import_distilled import import_distilled


@pytest.fixture
def is_the_set(data, images, labels):
    """Assert that a path holds `images` and `labels`; returns what was made of it."""

    def check(path, form: str, **options) -> DistilledDataset:
        tiny = import_distilled(path, data, "normalize", **options)
        assert torch.equal(tiny.images, images)
        assert torch.equal(tiny.labels, labels)
        assert tiny.labels.dtype == torch.int64
        assert form in tiny.record["imported"]["format"]
        return tiny

    return check


@pytest.mark.parametrize("label_dtype", [torch.int64, torch.float32, torch.uint8])
@pytest.mark.parametrize("given", ["images", "labels", "folder"])
def test_images_and_labels_side_by_side(write, is_the_set, images, labels, given, label_dtype):
    """The files of DataDAM, whose labels are floats."""
    paths = {
        "images": write("TOY_IPC2_images.pt", images),
        "labels": write("TOY_IPC2_labels.pt", labels.to(label_dtype)),
    }
    tiny = is_the_set(paths["images"].parent if given == "folder" else paths[given], "a file each")
    assert tiny.record["imported"]["files"] == ["TOY_IPC2_images.pt", "TOY_IPC2_labels.pt"]


def test_what_is_recorded(write, is_the_set, images, labels, data):
    path = write("set.pt", (images, labels))
    tiny = is_the_set(path, "a pair", method="dm")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert tiny.record["imported"]["sha256"] == {"set.pt": digest}
    assert tiny.settings == {"method": "dm", "ipc": 2, "preprocess": "normalize"}
    assert tiny.dataset["fingerprint"] == data.fingerprint
    assert tiny.class_names == data.class_names
    assert import_distilled(path, data, "normalize").settings["method"] == "imported"
    assert "method" not in import_distilled(path, data, "normalize").record


def test_every_file_is_recorded(tmp_path, write, images, pixels, labels, data):
    """Two of one name, in folders of their own; and two of pixels in one folder."""
    for folder, values in (("A", images), ("B", labels)):
        (tmp_path / folder).mkdir()
        torch.save(values, tmp_path / folder / "data.pt")
    tiny = import_distilled(tmp_path / "A" / "data.pt", data, "normalize", labels=tmp_path / "B" / "data.pt")
    assert tiny.record["imported"]["files"] == ["A/data.pt", "B/data.pt"]
    assert len(set(tiny.record["imported"]["sha256"].values())) == 2
    write("images.pt", pixels)
    path = write("labels.pt", labels)
    assert import_distilled(path.parent, data, "normalize").record["imported"]["files"] == ["images.pt", "labels.pt"]


def test_title_and_paper_of_a_known_method_are_recorded(write, data, images, labels, monkeypatch):
    method = SimpleNamespace(title="DM", paper="2110.04181")
    monkeypatch.setattr("atom_distill.importing.import_distilled.METHODS", {"dm": method})
    path = write("set.pt", (images, labels))
    tiny = import_distilled(path, data, "normalize", method="dm")
    assert tiny.record["method"] == {"title": "DM", "paper": "2110.04181"}
    assert tiny.card_content().title == "toy, distilled to 6 images (DM)"
    other = import_distilled(path, data, "normalize", method="mine")
    assert "method" not in other.record
    assert other.card_content().title == "toy, distilled to 6 images (mine)"


@pytest.mark.parametrize("numpy_core", ["numpy._core", "numpy.core"])
def test_result_files_hold_experiments_and_numpy_accuracies(tmp_path, write, is_the_set, images, labels, numpy_core):
    pairs = [[torch.zeros_like(images), labels], [images, labels], [images.clone(), labels]]
    path = write("res_DM_CIFAR10_ConvNet_2ipc.pt", {"data": pairs, "accs_all_exps": {"ConvNet": [np.float64(0.25)]}})
    # numpy 1 wrote a shorter name: an opcode's line, so the pickle stays whole
    _replace_in_pickle(path, b"numpy._core", numpy_core.encode())
    is_the_set(path, "experiment 2 of 0 to 2")
    is_the_set(path, "experiment 1 of 0 to 2", experiment=1)
    is_the_set(path.parent, "experiment 2 of 0 to 2")
    for number in (3, -1):
        with pytest.raises(ConfigError, match=f"has experiments 0 to 2, and not {number}"):
            is_the_set(path, "", experiment=number)


def _replace_in_pickle(path, old: bytes, new: bytes) -> None:
    import zipfile

    with zipfile.ZipFile(path) as archive:
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries:
            archive.writestr(name, content.replace(old, new) if name.endswith("data.pkl") else content)


def test_a_result_file_of_one_flat_pair(write, is_the_set, images, labels):
    is_the_set(write("syn_data.pt", {"data": [images, labels]}), "experiment 0 of 0 to 0")


@pytest.mark.parametrize("rate", ["lr_best.pt", "lr.pt"])
def test_trajectory_matching_has_a_learning_rate(write, is_the_set, images, labels, rate):
    path = write("images_best.pt", images)
    write("labels_best.pt", labels)
    write("images_100.pt", images * 0)
    write("labels_100.pt", labels)
    assert "network_lr" not in is_the_set(path, "MTT/DATM").settings
    write(rate, torch.tensor(0.0325))
    tiny = is_the_set(path.parent, "MTT/DATM")  # of several pairs the best
    assert tiny.settings["network_lr"] == pytest.approx(0.0325)
    assert rate in tiny.record["imported"]["sha256"]


@pytest.mark.parametrize("rate", [torch.tensor(-1.0), torch.tensor(float("nan")), torch.ones(2)], ids=str)
def test_what_is_no_learning_rate_is_refused(write, data, images, labels, rate):
    path = write("images_best.pt", images)
    write("labels_best.pt", labels)
    write("lr_best.pt", rate)
    told = "should hold a learning rate, a positive number"
    with pytest.raises(DataError, match=rf"lr_best\.pt {told}; move it away to ignore it"):
        import_distilled(path, data, "normalize")
    path = write("set.pt", {"images": images, "labels": labels, "lr": rate})
    with pytest.raises(DataError, match=rf"set\.pt {told}; remove 'lr' from set\.pt to ignore it"):
        import_distilled(path, data, "normalize")


def test_one_file_by_name(tmp_path, write, is_the_set, images, labels):
    is_the_set(write("set.pth", {"images": images, "labels": labels}), "by name")
    save_file({"images": images, "labels": labels}, tmp_path / "set.safetensors")
    is_the_set(tmp_path / "set.safetensors", "by name")
    assert (
        is_the_set(write("more.pt", {"images": images, "labels": labels, "lr": 0.5}), "").settings["network_lr"] == 0.5
    )


def test_labels_from_another_place(write, is_the_set, images, labels):
    elsewhere = write("y.pt", labels)
    is_the_set(write("x.pt", images), "a file each", labels=elsewhere)
    is_the_set(write("x_only.pt", {"images": images}), "by name", labels=elsewhere)
    for path in (write("pair.pt", [images, labels]), write("res.pt", {"data": [[images, labels]]}), elsewhere):
        with pytest.raises(ConfigError, match="holds labels already; leave out `labels`"):
            is_the_set(path, "", labels=elsewhere)


def test_classes_come_in_any_order(write, data, images, labels):
    shuffled = torch.tensor([5, 0, 3, 1, 4, 2])
    tiny = import_distilled(write("set.pt", (images[shuffled], labels[shuffled])), data, "normalize")
    assert tiny.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert torch.equal(tiny.images, images[torch.tensor([0, 1, 3, 2, 5, 4])])  # within a class as they came


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.float8_e5m2])
def test_other_float_types_become_float32(write, data, images, labels, dtype):
    tiny = import_distilled(write("set.pt", (images.to(dtype), labels)), data, "normalize")
    assert torch.equal(tiny.images, images.to(dtype).float())


@pytest.mark.parametrize("kind", ["normalize", "zca"])
def test_uint8_tensors_are_pixels(write, data, pixels, labels, kind):
    tiny = import_distilled(write("set.pt", (pixels, labels)), data, kind)
    assert torch.equal(tiny.images, fit_preprocessing(kind, data).apply(pixels))
    assert torch.equal(tiny.pixels(), pixels)


@pytest.mark.parametrize("kind", ["normalize", "zca"])
@pytest.mark.parametrize("names", [("cat", "dog", "sea lion"), ("cat", "dog", "sea_lion")])
def test_class_folders_of_pictures(tmp_path, data, pixels, labels, kind, names):
    for index, (picture, label) in enumerate(zip(pixels, labels.tolist(), strict=True)):
        path = tmp_path / "pictures" / names[label] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(path)
    tiny = import_distilled(tmp_path / "pictures", data, kind)
    assert torch.equal(tiny.images, fit_preprocessing(kind, data).apply(pixels))
    assert torch.equal(tiny.labels, labels)
    everything = b"".join(path.read_bytes() for path in sorted((tmp_path / "pictures").glob("*/*")))
    assert tiny.record["imported"]["sha256"] == {"pictures": hashlib.sha256(everything).hexdigest()}
    with pytest.raises(ConfigError, match="has class folders, which give the labels"):
        import_distilled(tmp_path / "pictures", data, kind, experiment=0)


def test_the_pictures_of_an_artifact_can_be_read_back(tmp_path, data, write, images, labels, pixels):
    import_distilled(write("set.pt", (images, labels)), data, "normalize").save(tmp_path / "run")
    tiny = import_distilled(tmp_path / "run" / "images", data, "normalize")
    assert torch.equal(tiny.pixels(), pixels)
    with pytest.raises(ConfigError, match="is a run folder of this tool already"):
        import_distilled(tmp_path / "run", data, "normalize")


def test_class_folders_must_be_the_classes(tmp_path, data, save_picture):
    save_picture("cat/a.png")
    save_picture("wolf/a.png")
    (tmp_path / "pictures" / "dog").mkdir()
    with pytest.raises(DataError, match="'wolf' is not a class; 'dog' has no images; 'sea lion' has no images"):
        import_distilled(tmp_path / "pictures", data, "normalize")


def test_a_file_of_tensors_beside_pictures_is_named(tmp_path, data, images, labels, save_picture):
    save_picture("vis/x.png")
    torch.save((images, labels), tmp_path / "pictures" / "res.pt")
    with pytest.raises(DataError, match=r"'vis' is not a class; .*; if the set is in res\.pt, give that file"):
        import_distilled(tmp_path / "pictures", data, "normalize")
    assert len(import_distilled(tmp_path / "pictures" / "res.pt", data, "normalize")) == len(images)


def test_pictures_of_several_sizes_and_broken_ones(tmp_path, data, save_picture):
    for name in ("cat", "dog", "sea lion"):
        save_picture(f"{name}/a.png")
    save_picture("cat/b.png", size=(9, 8))
    with pytest.raises(DataError, match="images have several sizes"):
        import_distilled(tmp_path / "pictures", data, "normalize")
    (tmp_path / "pictures" / "cat" / "b.png").write_bytes(b"no picture")
    with pytest.raises(UnreadableImageError, match=r"b\.png cannot be read as an image"):
        import_distilled(tmp_path / "pictures", data, "normalize")


@pytest.fixture
def save_picture(tmp_path):
    def save(name: str, size: tuple[int, int] = (8, 8)) -> None:
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (9, 9, 9)).save(path)

    return save
