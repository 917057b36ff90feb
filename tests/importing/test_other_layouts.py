"""Names, orders of dimensions, one tensor for each class, numpy's files, labels in text, numbered class folders."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from atom_distill.base.errors import ConfigError, DataError
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.importing.import_distilled import import_distilled
from distillation.toys import toy_dataset


@pytest.fixture
def is_the_set(data, images, labels):
    def check(path, form: str = "", **options) -> None:
        tiny = import_distilled(path, data, "normalize", **options)
        assert torch.equal(tiny.images, images)
        assert torch.equal(tiny.labels, labels)
        assert form in tiny.record["imported"]["format"]

    return check


@pytest.mark.parametrize("names", [("data", "target"), ("data", "targets"), ("image", "label"), ("x", "y")])
@pytest.mark.parametrize("saved", ["pt", "npz"])
def test_other_names(tmp_path, write, is_the_set, images, labels, names, saved):
    content = dict(zip(names, (images, labels), strict=True))
    if saved == "npz":
        np.savez(tmp_path / "set.npz", **{name: values.numpy() for name, values in content.items()})
        is_the_set(tmp_path / "set.npz", "by name")
    else:
        is_the_set(write("set.pt", content), "by name")


def test_lists_of_images_and_of_labels(write, is_the_set, images, labels):
    is_the_set(write("set.pt", {"data": list(images), "target": labels.tolist()}), "by name")
    is_the_set(write("set.pt", [images, labels.tolist()]), "a pair")
    is_the_set(write("set.pt", [list(images), labels]), "a pair")


@pytest.mark.parametrize("form", [list, tuple, torch.stack])
def test_a_tensor_for_each_class(write, is_the_set, images, form):
    is_the_set(write("set.pt", form(images.split(2))), "one tensor for each class")


def test_a_tensor_for_each_of_two_classes_is_no_pair(write):
    data = toy_dataset((9, 9))
    images = fit_preprocessing("normalize", data).apply(data.train.images[:5])
    tiny = import_distilled(write("set.pt", [images[:2], images[2:]]), data, "normalize")
    assert tiny.labels.tolist() == [0, 0, 1, 1, 1]
    assert torch.equal(tiny.images, images)


def test_tensors_for_too_few_or_too_many_classes(write, data, images):
    with pytest.raises(DataError, match="classes have 0 to 3 images"):
        import_distilled(write("set.pt", list(images.split(3))), data, "normalize")
    with pytest.raises(DataError, match="labels run from 0 to 5, but the data set has 3 classes"):
        import_distilled(write("set.pt", list(images.split(1))), data, "normalize")


def test_channels_last(write, is_the_set, images, labels, capfd):
    is_the_set(write("set.pt", [images.permute(0, 2, 3, 1), labels]))
    assert "their channels are moved" in capfd.readouterr().err


def test_channels_stay_where_both_orders_would_fit(write):
    data = toy_dataset((9, 9, 9), shape=(3, 3, 3))
    images = fit_preprocessing("normalize", data).apply(data.train.images[:3])
    tiny = import_distilled(write("set.pt", [images, torch.arange(3)]), data, "normalize")
    assert torch.equal(tiny.images, images)


def test_gray_images_without_channels(write):
    data = toy_dataset((9, 9, 9), shape=(1, 8, 8))
    images = fit_preprocessing("normalize", data).apply(data.train.images[:3])
    for values in (images[:, 0], images.permute(0, 2, 3, 1)):
        tiny = import_distilled(write("set.pt", [values, torch.arange(3)]), data, "normalize")
        assert torch.equal(tiny.images, images)


@pytest.mark.parametrize("order", [">", "<"])
def test_arrays_side_by_side(tmp_path, is_the_set, images, labels, order):
    np.save(tmp_path / "images.npy", images.numpy().astype(f"{order}f4"))
    np.save(tmp_path / "labels.npy", labels.numpy().astype(f"{order}i2"))
    for path in (tmp_path, tmp_path / "images.npy", tmp_path / "labels.npy"):
        is_the_set(path, "a file each")


def test_arrays_without_names_and_compressed(tmp_path, is_the_set, images, labels):
    np.savez_compressed(tmp_path / "set.npz", images.numpy(), labels.numpy())
    is_the_set(tmp_path / "set.npz")
    np.save(tmp_path / "by_class.npy", images.unflatten(0, (3, 2)).numpy())
    is_the_set(tmp_path / "by_class.npy", "one tensor for each class")


def test_objects_in_arrays_are_refused(tmp_path, data, images, unpickled):
    for save, name in ((np.save, "images.npy"), (np.savez, "set.npz")):
        save(tmp_path / name, np.array([unpickled], dtype=object))
        with pytest.raises(DataError, match=rf"{name} is damaged, or holds Python objects.*refused.*save arrays of"):
            import_distilled(tmp_path / name, data, "normalize")
    assert not unpickled.path.exists()
    np.load(tmp_path / "images.npy", allow_pickle=True)
    assert unpickled.path.exists()  # it is a real bomb


@pytest.mark.filterwarnings("error")
def test_damaged_arrays(tmp_path, data, images):
    np.save(tmp_path / "whole.npy", images.numpy())
    np.savez(tmp_path / "whole.npz", images=images.numpy())
    for name in ("whole.npy", "whole.npz"):
        whole = (tmp_path / name).read_bytes()
        damaged = tmp_path / f"images{name[5:]}"
        for content in (b"", b"rubbish", whole[:-300], whole[:90] + b"x" + whole[91:], whole[:50] + whole[70:]):
            damaged.write_bytes(content)
            with pytest.raises(DataError, match=r"images\.np. ") as caught:
                import_distilled(damaged, data, "normalize")
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("saved", ["pt", "npz", "npy"])
def test_labels_in_text(tmp_path, write, data, is_the_set, images, labels, saved):
    names = [data.class_names[label] for label in labels]
    if saved == "pt":
        is_the_set(write("set.pt", {"images": images, "labels": names}))
        is_the_set(write("set.pt", (images, names)))
        is_the_set(write("set.pt", (images, [str(label) for label in labels.tolist()])))
        write("x_images.pt", images)
        is_the_set(write("x_labels.pt", names), "a file each")
    elif saved == "npz":
        for array in (np.array(names), np.array(names).astype("S")):
            np.savez(tmp_path / "set.npz", images=images.numpy(), labels=array)
            is_the_set(tmp_path / "set.npz")
    else:
        np.save(tmp_path / "images.npy", images.numpy())
        np.save(tmp_path / "labels.npy", np.array(names))
        is_the_set(tmp_path)


def test_numbers_that_are_names(write):
    """The fifth class of ten is called "5" here, but the second of twelve in sorted order is "1", then "10"."""
    data = toy_dataset((4,) * 12, names=sorted(map(str, range(12))), shape=(1, 12, 12))
    images = fit_preprocessing("normalize", data).apply(data.train.images[:12])
    tiny = import_distilled(write("set.pt", (images, [str(number) for number in range(12)])), data, "normalize")
    assert torch.equal(tiny.images, images[torch.tensor([0, 1, 10, 11, *range(2, 10)])])


def test_a_name_of_no_class(write, data, images):
    path = write("set.pt", (images, ["cat", "cat", "dog", "dog", "wolf", "wolf"]))
    with pytest.raises(DataError, match="labels name the class 'wolf', and the data set has 'cat', 'dog', 'sea lion'"):
        import_distilled(path, data, "normalize")


def test_numbers_of_no_class(write, data, images):
    for labels in ([0, 0, 1, 1, 2, 10**30], ["0", "0", "1", "1", "2", "9" * 30], [0, 0, 1, 1, 2, 3], ["0"] * 5 + ["3"]):
        with pytest.raises(DataError, match=r"not a distilled set|name the class|labels run from 0 to 3"):
            import_distilled(write("set.pt", (images, labels)), data, "normalize")


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.float64, torch.uint8])
def test_two_classes_in_any_type(write, dtype):
    data = toy_dataset((9, 9))
    images = fit_preprocessing("normalize", data).apply(data.train.images[:4])
    labels = torch.tensor([1, 0, 0, 1])
    tiny = import_distilled(write("set.pt", (images, labels.to(dtype))), data, "normalize")
    assert torch.equal(tiny.images, images[torch.tensor([1, 2, 0, 3])])
    assert tiny.labels.tolist() == [0, 0, 1, 1]


@pytest.fixture
def save_pictures(tmp_path, pixels, labels):
    """Write the set as PNGs into a folder for each label."""

    def save(folders: list[str]):
        for index, (picture, label) in enumerate(zip(pixels, labels.tolist(), strict=True)):
            path = tmp_path / "pictures" / folders[label] / f"class{label:05d}_id{index:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.permute(1, 2, 0).numpy()).save(path)
        return tmp_path / "pictures"

    return save


@pytest.mark.parametrize("name", ["{:05d}", "new{:03d}", "{}"])
def test_numbered_class_folders(save_pictures, data, pixels, labels, name, capfd):
    """Those of RDED and SRe2L."""
    folder = save_pictures([name.format(label) for label in range(3)])
    tiny = import_distilled(folder, data, "none")
    assert torch.equal(tiny.pixels(), pixels)
    assert torch.equal(tiny.labels, labels)
    assert f"in the order of the classes of toy: {name.format(0)} is cat" in capfd.readouterr().err


@pytest.mark.parametrize("folders", [["1", "2", "3"], ["new0", "old1", "new2"], ["0", "00", "1"], ["0", "1", "other"]])
def test_numbers_that_are_no_labels(save_pictures, data, folders):
    with pytest.raises(DataError, match=r"must be the classes of toy, by name or by number from 0 to 2; .*not a class"):
        import_distilled(save_pictures(folders), data, "none")


def test_names_come_before_numbers(save_pictures, labels):
    data = toy_dataset((9, 9, 9), names=("2", "1", "0"))
    tiny = import_distilled(save_pictures(["0", "1", "2"]), data, "none")
    assert torch.equal(tiny.labels, labels)
    assert [round(float(image.float().mean()), 2) for image in tiny.pixels()[:2]] == [
        round(float(np.array(Image.open(path)).mean()), 2)
        for path in sorted(save_pictures(["0", "1", "2"]).glob("2/*"))
    ]


def test_soft_labels_beside_pictures(save_pictures, data, labels):
    """As our own export of pictures keeps them."""
    folder = save_pictures(list(data.class_names))
    soft = torch.softmax(4 * torch.eye(3)[labels] + torch.rand(6, 3), 1)
    files = [path.relative_to(folder).as_posix() for path in sorted(folder.glob("*/*"))]
    rows = [{"file_name": name, "soft_label": row} for name, row in zip(files, soft.tolist(), strict=True)]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows[::-1])), encoding="utf-8")
    tiny = import_distilled(folder, data, "none")
    assert torch.equal(tiny.soft_labels, soft)
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows[1:])), encoding="utf-8")
    with pytest.raises(DataError, match=r"metadata\.jsonl has no soft label for each image"):
        import_distilled(folder, data, "none")


def test_pictures_need_a_model_space(save_pictures, data):
    with pytest.raises(ConfigError, match=r"how are these pixels to be preprocessed\? Give `preprocess`: zca"):
        import_distilled(save_pictures(["0", "1", "2"]), data)


def test_the_order_of_a_tensor_for_each_class_is_told(write, data, images, capfd):
    import_distilled(write("set.pt", images.unflatten(0, (3, 2))), data, "normalize")
    told = capfd.readouterr().err
    assert "[3, 2, 3, 8, 8] as [K, ipc, C, H, W]" in told
    assert "warning" not in told
    import_distilled(write("set.pt", images.repeat(2, 1, 1, 1)[:9].unflatten(0, (3, 3))), data, "normalize")
    assert "as many images of each class as classes" in capfd.readouterr().err


@pytest.mark.parametrize("given", [True, False])
def test_labels_beside_a_tensor_for_each_class(write, data, images, given):
    """As many images of each class as classes, in either order."""
    images = torch.cat([images, images[::2] + 0.1])
    path = write("images.pt", images.unflatten(0, (3, 3)))
    labels = torch.arange(3).repeat_interleave(3)
    beside = write("labels.pt", labels)
    options = {"labels": beside} if given else {}
    tiny = import_distilled(path, data, "normalize", **options)
    assert torch.equal(tiny.images, images)
    assert tiny.record["imported"]["files"] == ["images.pt", "labels.pt"]
    write("labels.pt", torch.arange(3).repeat(3))
    with pytest.raises(DataError, match=r"the labels of labels\.pt contradict that order; save the images as \[N, C"):
        import_distilled(path, data, "normalize", **options)


def test_a_tensor_for_each_class_by_name(tmp_path, write, data, is_the_set, images):
    named = dict(zip(data.class_names, images.split(2), strict=True))
    is_the_set(write("set.pt", {name: named[name] for name in ("sea lion", "cat", "dog")}), "for each class")
    np.savez(tmp_path / "set.npz", **{name: part.numpy() for name, part in named.items()})
    is_the_set(tmp_path / "set.npz", "for each class")
    is_the_set(write("set.pt", {2: images[4:].clone(), 0: images[:2].clone(), 1: images[2:4].clone()}))
    with pytest.raises(DataError, match="labels name the class 'wolf'"):
        import_distilled(write("set.pt", {"wolf" if name == "dog" else name: named[name] for name in named}), data)


@pytest.mark.parametrize("first", [0, 1])
def test_a_file_for_each_class(write, is_the_set, images, first):
    for number, part in enumerate(images.split(2), first):
        path = write(f"class_{number}.pt", part.clone())
    is_the_set(path.parent, "one file for each class, class_")


@pytest.mark.parametrize("name", ["{:05d}", "new{:03d}", "{:02d}"])
@pytest.mark.parametrize("class_name", ["{}", "class {}"])
def test_numbered_class_folders_of_classes_named_by_numbers(tmp_path, capfd, name, class_name):
    """Sorted as text, the names are 0, 1, 10, 11, 2, ...; some of 00, ..., 11 are names themselves."""
    data = toy_dataset((2,) * 12, names=sorted(class_name.format(number) for number in range(12)), shape=(1, 12, 12))
    for number in range(12):
        path = tmp_path / "pictures" / name.format(number) / "0.png"
        path.parent.mkdir(parents=True)
        Image.new("L", (12, 12), 10 * number).save(path)
    tiny = import_distilled(tmp_path / "pictures", data, "none")
    wanted = [10 * int(known.removeprefix("class ")) for known in data.class_names]
    assert tiny.pixels()[:, 0, 0, 0].tolist() == wanted
    assert f"{name.format(9)} is {class_name.format(9)}" in capfd.readouterr().err


def test_labels_in_text_of_classes_named_by_numbers(write):
    data = toy_dataset((4,) * 12, names=sorted(map(str, range(12))), shape=(1, 12, 12))
    images = fit_preprocessing("normalize", data).apply(data.train.images[:12])
    tiny = import_distilled(write("set.pt", (images, [f"{number:02d}" for number in range(12)])), data, "normalize")
    assert torch.equal(tiny.images, images[torch.tensor([0, 1, 10, 11, *range(2, 10)])])


@pytest.mark.parametrize(
    ("known", "given", "told"), [("cat", "CAT", "only in case"), ("na\u00efve", "nai\u0308ve", "only in Unicode form")]
)
def test_names_that_are_nearly_those_of_classes(save_pictures, write, images, known, given, told):
    data = toy_dataset((9, 9, 9), names=(known, "dog", "sea lion"))
    with pytest.raises(DataError, match=f"is not a class .differs {told}.* from the class '{known}'"):
        import_distilled(save_pictures([given, "dog", "sea lion"]), data, "none")
    with pytest.raises(DataError, match=f"differs {told}.* from the class '{known}'"):
        import_distilled(write("set.pt", (images, [given] * 2 + ["dog"] * 2 + ["sea lion"] * 2)), data, "normalize")
