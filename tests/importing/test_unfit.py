"""What is not imported: code in a file, and tensors that are no balanced set of the data set's images."""

from __future__ import annotations

import io
import os
import pickle

import numpy as np
import pytest
import torch

from atom_distill.base.errors import ConfigError, DataError, UnknownNameError
from atom_distill.importing.import_distilled import import_distilled


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["labels", "beside the images", "in numpy's place"])
def test_code_is_refused_and_not_run(tmp_path, data, images, labels, zipped, place):
    bomb = Bomb(tmp_path / "boom")
    content = {
        "labels": [images, bomb],
        "beside the images": {"data": [[images, labels]], "accs_all_exps": bomb},
        "in numpy's place": {"data": [[images, labels]], "accs_all_exps": [np.float64(1), bomb]},
    }[place]
    path = tmp_path / "res.pt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(DataError, match=r"res\.pt asks for posix\.mkdir, which is code, not data: refused"):
        import_distilled(path, data, "normalize")
    assert not (tmp_path / "boom").exists()
    torch.load(path, weights_only=False)  # the bomb is a real one
    assert (tmp_path / "boom").exists()


def test_code_in_a_labels_file_and_in_a_learning_rate(tmp_path, write, data, images, labels):
    path = write("images_best.pt", images)
    write("labels_best.pt", labels)
    write("lr_best.pt", Bomb(tmp_path / "boom"))
    with pytest.raises(DataError, match=r"lr_best\.pt asks for posix\.mkdir"):
        import_distilled(path, data, "normalize")
    write("labels_best.pt", Bomb(tmp_path / "boom"))
    with pytest.raises(DataError, match=r"labels_best\.pt asks for posix\.mkdir"):
        import_distilled(path, data, "normalize")
    assert not (tmp_path / "boom").exists()


def test_nothing_stays_allowed_afterwards(write, data, images, labels):
    before = set(torch.serialization.get_safe_globals())
    import_distilled(write("res.pt", {"data": [[images, labels]], "accs_all_exps": [np.float64(1)]}), data, "normalize")
    assert set(torch.serialization.get_safe_globals()) == before


def test_numpy_arrays_are_refused_with_the_way_out(write, data, images, labels):
    path = write("set.pt", {"images": images, "labels": labels.numpy()})
    with pytest.raises(
        DataError, match=r"holds numpy arrays, .* asks for numpy\.\S+_reconstruct: refused\. Save them as"
    ):
        import_distilled(path, data, "normalize")


def test_a_bare_pickle_and_damaged_files(tmp_path, data, images):
    stream = io.BytesIO()
    pickle.dump(Bomb(tmp_path / "boom"), stream)
    whole = io.BytesIO()
    torch.save(images, whole)
    for content in (stream.getvalue(), b"", b"PK\x03\x04 rubbish", whole.getvalue()[:-700]):
        (tmp_path / "images.pt").write_bytes(content)
        with pytest.raises(DataError, match=r"images\.pt ") as caught:
            import_distilled(tmp_path / "images.pt", data, "normalize")
        assert "weights_only" not in str(caught.value)  # no advice to switch safety off
    (tmp_path / "images.safetensors").write_bytes(b"rubbish")
    with pytest.raises(DataError, match="not a readable safetensors file"):
        import_distilled(tmp_path / "images.safetensors", data, "normalize")
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda x, y: (x[:, :1], y), r"images are \(6, 1, 8, 8\) and labels \(6,\); those of toy are 3x8x8"),
        (lambda x, y: (x.permute(0, 2, 1, 3), y), r"images are \(6, 8, 3, 8\)"),
        (lambda x, y: (x[:5], y), r"images are \(5, 3, 8, 8\) and labels \(6,\)"),
        (lambda x, y: (x[:0], y[:0]), r"images are \(0, 3, 8, 8\)"),
        (lambda x, y: (x[0], y), r"images are \(3, 8, 8\)"),
        (lambda x, y: (x, y[0]), r"labels \(\)"),
        (lambda x, y: (x.int(), y), "images .*uint8.*got torch.int32"),
        (lambda x, y: (x.index_fill(0, torch.tensor([1, 4]), torch.nan), y), "2 of the 6 images hold NaN or infinite"),
        (lambda x, y: (x.double() * 1e300, y), "6 of the 6 images hold NaN or infinite"),
        (lambda x, y: (x / 0, y), "6 of the 6 images hold NaN or infinite"),
        (lambda x, y: (x.to_sparse(), y), "must be dense tensors"),
        (lambda x, y: (x, y + 1), "labels .*1 to 3.*3 classes"),
        (lambda x, y: (x, y - 1), "labels run from -1 to 1"),
        (lambda x, y: (x, y + 0.5), "labels \\[N\\] must be whole numbers"),
        (lambda x, y: (x, y.float() / 0), "labels must be finite"),
        (lambda x, y: (x, y.to(torch.complex64)), "labels must be finite"),
        (lambda x, y: (x, torch.rand(6, 4)), "soft labels .*4 classes.*3"),
        (lambda x, y: (x, torch.tensor([0, 0, 0, 1, 1, 1])), "classes have 0 to 3 images"),
        (lambda x, y: (x[:4], y[:4]), "classes have 0 to 2 images"),
    ],
)
def test_what_is_no_such_set(write, data, images, labels, change, told):
    with pytest.raises(DataError, match=told):
        import_distilled(write("set.pt", change(images, labels)), data, "normalize")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"net": 1}, "dictionary of 'net'.*'data' list"),
        ("text", "holds str, not a distilled set"),
        ([1, 2], "holds list, not a distilled set"),
        ({"data": []}, "'data' list is empty"),
        ({"data": [[1, 2]]}, "experiment 0 is not a pair of images and labels"),
        ({"images": torch.zeros(1)}, "dictionary of 'images'"),
        (torch.zeros(6, 3, 8, 8), "labels .*not beside it"),
        (torch.zeros(6), "its images are not beside it"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_files_of_something_else(write, data, content, told):
    with pytest.raises((DataError, ConfigError), match=told):
        import_distilled(write("set.pt", content), data, "normalize")


def test_paths_that_lead_nowhere(tmp_path, write, data, images, labels):
    with pytest.raises(DataError, match=r"nowhere does not exist"):
        import_distilled(tmp_path / "nowhere", data, "normalize")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no tensors"):
        import_distilled(tmp_path / "empty", data, "normalize")
    (tmp_path / "set.mat").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"set\.mat is neither a file of tensors \(\.pt, \.pth, \.safetensors, \.npy, \.npz\)"
    ):
        import_distilled(tmp_path / "set.mat", data, "normalize")
    for name in ("a", "b"):
        path = write(f"{name}_images.pt", images)
        write(f"{name}_labels.pt", labels)
    with pytest.raises(DataError, match=r"holds several sets \(a_images\.pt, b_images\.pt, \.\.\.\); give one file"):
        import_distilled(path.parent, data, "normalize")
    with pytest.raises(ConfigError, match="does not hold several experiments; leave out `experiment`"):
        import_distilled(path, data, "normalize", experiment=0)
    with pytest.raises(UnknownNameError, match=r"unknown preprocessing 'zac'\. Did you mean 'zca'"):
        import_distilled(path, data, "zac")
    with pytest.raises(ConfigError, match=r"toy.*cifar10, cifar100, tiny-imagenet"):
        import_distilled(path, data, "legacy-normalize")
