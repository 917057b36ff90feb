from __future__ import annotations

import errno
import io
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atom_distill.data.cache.decode import ImageForm, decode_into, resize_and_crop
from atom_distill.data.cache.raw import EncodedSplit, Item, LoadOptions


def test_a_constant_image_stays_constant():
    image = Image.new("RGB", (37, 53), (11, 120, 254))
    assert np.array_equal(np.asarray(resize_and_crop(image, 16)), np.full((16, 16, 3), (11, 120, 254)))


def test_the_crop_takes_the_middle():
    pixels = np.zeros((8, 24), np.uint8)
    pixels[:, 8:16] = 200  # three squares side by side; the middle one is bright
    assert np.asarray(resize_and_crop(Image.fromarray(pixels), 8)).min() == 200


def test_the_crop_takes_the_middle_of_a_tall_image():
    pixels = np.zeros((24, 8), np.uint8)
    pixels[8:16] = 200
    assert np.asarray(resize_and_crop(Image.fromarray(pixels), 8)).min() == 200


def test_shrinking_antialiases():
    pixels = np.tile(np.array([[0, 255], [255, 0]], np.uint8), (16, 16))
    small = np.asarray(resize_and_crop(Image.fromarray(pixels), 8))
    assert np.abs(small.astype(int) - 128).max() <= 8  # without antialiasing it would be 0 or 255


def triangle_resize(row: np.ndarray, size: int) -> np.ndarray:
    """Independent reference in one dimension: a triangle filter as wide as the scale, normalized."""
    scale = len(row) / size
    result = []
    for out in range(size):
        center = (out + 0.5) * scale
        weights = [max(0.0, 1 - abs(position + 0.5 - center) / scale) for position in range(len(row))]
        result.append(np.dot(weights, row) / np.sum(weights))
    return np.array(result)


def test_resize_agrees_with_a_triangle_filter():
    pixels = np.random.default_rng(0).integers(0, 256, (30, 30)).astype(np.uint8)
    want = np.apply_along_axis(triangle_resize, 0, np.apply_along_axis(triangle_resize, 1, pixels, 10), 10)
    assert np.abs(np.asarray(resize_and_crop(Image.fromarray(pixels), 10)) - want).max() <= 1.0


def test_small_images_are_enlarged():
    assert resize_and_crop(Image.new("L", (3, 5), 9), 8).size == (8, 8)


@pytest.mark.parametrize("count", [0, 1, 31, 33, 500])
def test_order_is_kept_and_few_images_are_open_at_once(tmp_path, count):
    open_now, most, lock = 0, 0, threading.Lock()

    def items():
        nonlocal open_now, most
        for index in range(count):
            with lock:
                open_now += 1
                most = max(most, open_now)
            yield Item(str(index), lambda index=index: opened(index))

    def opened(index):
        nonlocal open_now
        with lock:
            open_now -= 1
        return Image.new("L", (2, 2), index % 256)

    split = EncodedSplit(np.zeros(count, np.int64), items)
    kept = decode_into(tmp_path / "x.npy", split, ImageForm(1, 2, 2), LoadOptions(), label="test")
    images = np.load(tmp_path / "x.npy")
    assert images[:, 0, 1, 1].tolist() == [index % 256 for index in range(count)]
    assert kept.tolist() == list(range(count))
    assert most <= 32 * (2 * 16 + 2)  # batches in flight, whatever the number of cores


def test_skipped_images_leave_no_gap(tmp_path):
    def item(index):
        def opened():
            if index % 3 == 0:
                raise OSError("damaged")
            return Image.new("RGB", (2, 2), (index, 0, 0))

        return Item(str(index), opened)

    split = EncodedSplit(np.zeros(10, np.int64), lambda: map(item, range(10)))
    options = LoadOptions(skip_unreadable=True)
    kept = decode_into(tmp_path / "x.npy", split, ImageForm(3, 2, 2), options, label="test")
    assert kept.tolist() == [1, 2, 4, 5, 7, 8]
    assert np.load(tmp_path / "x.npy")[:, 0, 0, 0].tolist() == [1, 2, 4, 5, 7, 8]
    assert [path.name for path in tmp_path.glob("x*")] == ["x.npy"]


def test_a_full_disk_is_an_error_and_no_crash(tmp_path, monkeypatch):
    class Full(io.FileIO):
        def write(self, _):
            raise OSError(errno.ENOSPC, "no room")

    split = EncodedSplit(np.zeros(9, np.int64), lambda: (Item("x", lambda: Image.new("L", (2, 2))) for _ in range(9)))
    monkeypatch.setattr(Path, "open", lambda path, _: Full(path, "w"))
    with pytest.raises(OSError, match="no room"):
        decode_into(tmp_path / "x.npy", split, ImageForm(1, 2, 2), LoadOptions(), label="test")
