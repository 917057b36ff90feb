"""Pictures of distilled images: one grid, and folder names that any file system takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from atom_distill.artifact.pictures import file_names, fit_contrast, grid, save_images

TILE, GAP = 96, 4


def images(count: int, channels: int = 3, side: int = 8) -> torch.Tensor:
    """Image i is all i."""
    return torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, channels, side, side)


@pytest.mark.parametrize(
    ("count", "ipc", "columns", "rows"),
    [
        (30, 3, 3, 10),  # one row a class
        (40, 20, 10, 2),  # at most ten of a class
        (10, 1, 10, 1),  # one image a class: they run on
        (25, 1, 10, 3),
        (100, 2, 2, 20),  # at most twenty rows
        (2, 1, 2, 1),
    ],
)
def test_the_size_of_the_grid(count, ipc, columns, rows):
    picture = grid(images(count), torch.full((count // ipc,), ipc))
    assert picture.size == (columns * (TILE + GAP) + GAP, rows * (TILE + GAP) + GAP)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_tile_is_where_it_belongs(channels):
    picture = np.asarray(grid(images(6, channels), torch.tensor([2, 2, 2])))
    for index in range(6):
        row, column = divmod(index, 2)
        top, left = GAP + row * (TILE + GAP), GAP + column * (TILE + GAP)
        assert (picture[top : top + TILE, left : left + TILE] == index).all()
    assert (picture[:GAP] == 255).all()


def test_classes_of_different_sizes_have_a_row_each():
    picture = np.asarray(grid(images(6), torch.tensor([1, 3, 2])))
    assert picture.shape[:2] == (3 * (TILE + GAP) + GAP, 3 * (TILE + GAP) + GAP)
    firsts = [int(picture[GAP + row * (TILE + GAP), GAP, 0]) for row in range(3)]
    assert firsts == [0, 1, 4]


def test_large_images_are_not_made_larger():
    assert grid(images(2, side=128), torch.tensor([1, 1])).size == (2 * (128 + GAP) + GAP, 128 + 2 * GAP)


def test_contrast_is_fitted_only_where_it_is_needed():
    inside = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(fit_contrast(inside), inside.mul(255).round().to(torch.uint8))
    outside = torch.cat([inside * 10 - 5, inside])
    fitted = fit_contrast(outside)
    assert torch.equal(fitted[1], fit_contrast(inside)[0])  # each image by itself
    low, high = np.quantile(outside[0].double().numpy(), [0.01, 0.99])  # of the values, one percent at either end
    wanted = ((outside[0].double() - low) / (high - low)).clamp(0, 1) * 255
    assert float((fitted[0] - wanted).abs().max()) <= 0.51


@pytest.mark.parametrize(
    ("names", "want"),
    [
        (("cat", "dog"), ["cat", "dog"]),
        (("a/b", "sea lion", "é"), ["a_b", "sea_lion", "é"]),
        (("../..", "/etc/passwd", "C:\\x"), ["class", "etc_passwd", "C_x"]),
        (("cat", "Cat", "dog"), ["cat-0", "Cat-1", "dog"]),  # some file systems do not tell them apart
        (("a/b", "a b"), ["a_b-0", "a_b-1"]),
        (("", ".", "..."), ["class-0", "class-1", "class-2"]),
        (("CON", "con.png", "nul", "lpt1", "cone"), ["class-CON", "class-con.png", "class-nul", "class-lpt1", "cone"]),
        (("dog.", "Dog ", "--flag"), ["dog-0", "Dog-1", "flag"]),
        (("\u00e9", "e\u0301"), ["\u00e9-0", "\u00e9-1"]),  # the same to some file systems
        (("漢" * 90, "x" * 330, "x" * 330 + "y"), ["漢" * 26, "x" * 80 + "-1", "x" * 80 + "-2"]),
    ],
)
def test_class_names_become_folder_names(names, want):
    assert file_names(names) == want


@pytest.mark.parametrize("names", [("cat", "cat", "cat-0"), ("a", "A", "a-1"), ("x-1", "x", "X"), ("", "class-0", "")])
def test_folder_names_are_always_distinct(names):
    found = [name.lower() for name in file_names(names)]
    assert len(set(found)) == len(names)


def test_folder_names_have_a_hundred_bytes_at_most():
    found = file_names(["😀é漢x" * 100] * 1000 + ["CON." + "y" * 300])
    assert max(len(name.encode()) for name in found) <= 100


def test_images_go_to_their_class_and_replace_what_was_there(tmp_path):
    target = tmp_path / "images"
    save_images(target, images(3), [0, 1, 0], ["a/b", "c"])
    save_images(target, images(3), [1, 1, 0], ["a/b", "c"])
    found = {path.relative_to(target).as_posix(): np.asarray(Image.open(path)).max() for path in target.glob("*/*")}
    assert found == {"c/0000.png": 0, "c/0001.png": 1, "a_b/0000.png": 2}
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("atom")] == ["images"]


def test_gray_images_are_gray_pictures(tmp_path):
    save_images(tmp_path / "images", images(1, channels=1), [0], ["a"])
    with Image.open(tmp_path / "images" / "a" / "0000.png") as picture:
        assert picture.mode == "L"
