"""Decoding images to uint8 arrays of one shape, in parallel and in bounded memory."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from atom_distill.base.errors import ConfigError, DataError, UnreadableImageError
from atom_distill.base.progress import Progress
from atom_distill.data.cache.pillow_warnings import PillowWarnings
from atom_distill.data.cache.pixels import has_gray_pixels, to_eight_bits, upright_size
from atom_distill.data.cache.raw import ArraySplit, EncodedSplit, Item, LoadOptions, Pixels, RawDataset

if TYPE_CHECKING:
    from PIL.Image import Image

# Threads: Pillow releases the interpreter's lock while it decodes.
_MAX_WORKERS = 16
_BATCH = 32  # images per task, so that the overhead of a task is small
_SIZES_SHOWN = 3
T = TypeVar("T")


@dataclass(frozen=True)
class ImageForm:
    """The shape that every image of a set is decoded to: channels (1 or 3), height and width in pixels."""

    channels: int
    height: int
    width: int

    @property
    def image_bytes(self) -> int:
        """Size of one decoded image."""
        return self.channels * self.height * self.width


def inspect(raw: RawDataset, options: LoadOptions) -> ImageForm:
    """Choose one form for both splits: gray only if every image is, of the given size or that of the images.

    Raises:
        ConfigError: the image size is not positive.
        DataError: sizes differ and no image size was given, or no image could be read.
        UnreadableImageError: an image cannot be opened, and unreadable images are not to be skipped.
    """
    if options.image_size is not None and options.image_size < 1:
        raise ConfigError(f"`image_size` must be at least 1 pixel, got {options.image_size}")
    if isinstance(raw.train, ArraySplit):
        return ImageForm(*raw.train.images.shape[1:])
    sizes: Counter[tuple[int, int]] = Counter()
    gray = True
    for split in (raw.train, raw.test):
        if isinstance(split, EncodedSplit):
            said = PillowWarnings()  # again when the images are decoded, and printed then
            for _, (size, image_is_gray) in _read_all(split, _read_header, options, said, label="inspect"):
                sizes[size] += 1
                gray = gray and image_is_gray
    width, height = _one_size(sizes, options.image_size)
    return ImageForm(1 if gray else 3, height, width)


def decode_into(
    path: Path, split: EncodedSplit, form: ImageForm, options: LoadOptions, *, label: str
) -> NDArray[np.int64]:
    """Decode a split into a `.npy` file, with a few images in memory at a time.

    Args:
        path: of the file to write, uint8, shape [N, C, H, W].
        split: the images.
        form: the shape to decode to.
        options: whether to resize, and whether to skip unreadable images.
        label: of the progress bar.

    Returns:
        The positions of the images that were decoded, int64; all of them unless some were skipped.

    Raises:
        UnreadableImageError: an image cannot be decoded, and unreadable images are not to be skipped.
        OSError: the file cannot be written, or the disk is full.
    """
    kept: list[int] = []
    said = PillowWarnings()
    decode = partial(_decode, form=form, resize=options.image_size is not None)
    # Not through a memory map, where a full disk would kill the process.
    with path.open("wb") as file, closing(_read_all(split, decode, options, said, label=label)) as decoded:
        _write_header(file, len(split), form)
        for position, pixels in decoded:
            file.write(np.ascontiguousarray(pixels).data)
            kept.append(position)
        file.seek(0)
        _write_header(file, len(kept), form)
    said.print_notes()
    return np.asarray(kept, np.int64)


def _write_header(file: BinaryIO, images: int, form: ImageForm) -> None:
    """Write the header of an array file, which numpy pads to the same size for any number of images."""
    shape = (images, form.channels, form.height, form.width)
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _read_all(
    split: EncodedSplit, read: Callable[[Image], T], options: LoadOptions, said: PillowWarnings, *, label: str
) -> Generator[tuple[int, T], None, None]:
    """Yield position and result for each readable image; raise an error for others unless they are to be skipped."""

    def attempt(item: Item) -> T | UnreadableImageError:
        try:
            with said.about(item.name), item.open() as image:
                return read(image)
        except Exception as error:  # Pillow's many readers raise many types for a damaged file
            return UnreadableImageError(
                f"{item.name} cannot be read as an image ({error}); repair or remove it, "
                "or pass `skip_unreadable=True` to leave such files out"
            )

    results = _in_threads(attempt, split.items())
    with said.collected(), Progress(label, total=len(split), unit="images") as bar, closing(results):
        for position, result in enumerate(results):
            if not isinstance(result, UnreadableImageError):
                yield position, result
            elif not options.skip_unreadable:
                raise result
            bar.advance()


def _one_size(sizes: Counter[tuple[int, int]], image_size: int | None) -> tuple[int, int]:
    if not sizes:
        raise DataError("none of the images could be read")
    if image_size is not None:
        return image_size, image_size
    if len(sizes) > 1:
        raise DataError(
            f"images are of {len(sizes)} sizes ({_sizes_text(sizes)}); a set needs one. "
            "Pass `image_size=N` to resize and crop them to NxN"
        )
    return next(iter(sizes))


def _sizes_text(sizes: Counter[tuple[int, int]]) -> str:
    seen = [f"{width}x{height}: {count}" for (width, height), count in sizes.most_common(_SIZES_SHOWN)]
    return ", ".join(seen) + (", ..." if len(sizes) > _SIZES_SHOWN else "")


def _read_header(image: Image) -> tuple[tuple[int, int], bool]:
    return upright_size(image), has_gray_pixels(image)


def _decode(image: Image, form: ImageForm, *, resize: bool) -> Pixels:
    pixels = to_eight_bits(image, gray=form.channels == 1)
    if resize:
        pixels = resize_and_crop(pixels, form.width)
    if pixels.size != (form.width, form.height):
        raise ValueError(f"it decodes to {pixels.width}x{pixels.height} pixels, but its header says otherwise")
    return np.atleast_3d(np.asarray(pixels)).transpose(2, 0, 1)


def resize_and_crop(image: Image, size: int) -> Image:
    """Scale the shorter side to `size` pixels with antialiasing, then cut the middle `size` x `size`."""
    from PIL import Image as PillowImage

    width, height = image.size
    scale = size / min(width, height)
    new = (max(size, round(width * scale)), max(size, round(height * scale)))
    if new != image.size:
        image = image.resize(new, PillowImage.Resampling.BILINEAR)
    left, top = (new[0] - size) // 2, (new[1] - size) // 2
    return image.crop((left, top, left + size, top + size))


def _in_threads(work: Callable[[Item], T], items: Iterable[Item]) -> Generator[T, None, None]:
    """Yield the results of `work` in the order of the items, computed in threads, with a bounded number in advance."""
    workers = min(_MAX_WORKERS, os.cpu_count() or 1)
    waiting: deque[Future[list[T]]] = deque()
    source = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        try:
            while batch := list(islice(source, _BATCH)):
                waiting.append(pool.submit(lambda batch: [work(item) for item in batch], batch))
                if len(waiting) > 2 * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
