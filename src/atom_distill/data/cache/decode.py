"""Encoded images to uint8 arrays: one form for the whole set, in parallel, in bounded memory."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atom_distill.base.errors import ConfigError, DataError, UnreadableImageError
from atom_distill.base.progress import Progress
from atom_distill.data.cache.pixels import has_gray_pixels, to_eight_bits, upright_size
from atom_distill.data.cache.raw import ArraySplit, EncodedSplit, Item, LoadOptions, Pixels, RawDataset

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow lets go of the interpreter's lock while it decodes, so threads do run side by side.
_MAX_WORKERS = 16
_BATCH = 32  # images per task: enough that handing tasks over costs little
_SIZES_SHOWN = 3


@dataclass(frozen=True)
class ImageForm:
    """What every image of a set becomes: channels (1 or 3), height and width in pixels."""

    channels: int
    height: int
    width: int

    @property
    def image_bytes(self) -> int:
        """Size of one decoded image."""
        return self.channels * self.height * self.width


@dataclass(frozen=True)
class _Header:
    size: tuple[int, int]
    gray: bool


_Read: TypeAlias = _Header | Pixels | UnreadableImageError
_Work: TypeAlias = Callable[[Item], _Read]


def inspect(raw: RawDataset, options: LoadOptions) -> ImageForm:
    """Decide on one form for both splits: gray only if every image is, sizes as they are or as asked.

    Raises:
        ConfigError: the image size is not a positive number.
        DataError: sizes differ, and no image size was given.
        UnreadableImageError: an image cannot be opened, and skipping was not asked for.
    """
    if options.image_size is not None and options.image_size < 1:
        raise ConfigError(f"--image-size must be at least 1 pixel, got {options.image_size}")
    if isinstance(raw.train, ArraySplit):
        return ImageForm(*raw.train.images.shape[1:])
    sizes: Counter[tuple[int, int]] = Counter()
    gray = True
    for split in (raw.train, raw.test):
        if isinstance(split, EncodedSplit):
            for header in _headers(split, options):
                sizes[header.size] += 1
                gray = gray and header.gray
    width, height = _one_size(sizes, options.image_size)
    return ImageForm(1 if gray else 3, height, width)


def decode_into(
    path: Path, split: EncodedSplit, form: ImageForm, options: LoadOptions, *, label: str
) -> NDArray[np.int64]:
    """Decode a split straight into a `.npy` file, a few images in memory at a time.

    Args:
        path: the file to write, uint8, shape [N, C, H, W].
        split: the images.
        form: what each becomes.
        options: whether to resize, and whether to skip what cannot be read.
        label: what the progress bar calls it.

    Returns:
        The positions of the images that were decoded, int64; all of them unless some were skipped.

    Raises:
        UnreadableImageError: an image cannot be decoded, and skipping was not asked for.
    """
    shape = (len(split), form.channels, form.height, form.width)
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    kept: list[int] = []
    resize = options.image_size is not None

    def decode(item: Item) -> _Read:
        return _decode(item, form, resize=resize)

    results = _in_threads(decode, split.items())
    with Progress(label, total=len(split), unit="images") as bar, closing(results):
        for position, result in enumerate(results):
            if isinstance(result, np.ndarray):
                images[len(kept)] = result
                kept.append(position)
            elif isinstance(result, UnreadableImageError) and not options.skip_unreadable:
                raise result
            bar.advance()
    images.flush()
    if len(kept) < len(split):
        _shorten(path, images, len(kept))
    return np.asarray(kept, np.int64)


def _shorten(path: Path, images: Pixels, length: int) -> None:
    """Rewrite an array file with its first `length` images."""
    shorter = path.with_suffix(".short")
    target = np.lib.format.open_memmap(shorter, mode="w+", dtype=np.uint8, shape=(length, *images.shape[1:]))
    for start in range(0, length, 1024):
        target[start : start + 1024] = images[start : min(start + 1024, length)]
    target.flush()
    shorter.replace(path)


def _headers(split: EncodedSplit, options: LoadOptions) -> Iterator[_Header]:
    results = _in_threads(_read_header, split.items())
    with Progress("inspect", total=len(split), unit="images") as bar, closing(results):
        for result in results:
            bar.advance()
            if isinstance(result, _Header):
                yield result
            elif isinstance(result, UnreadableImageError) and not options.skip_unreadable:
                raise result


def _one_size(sizes: Counter[tuple[int, int]], image_size: int | None) -> tuple[int, int]:
    if not sizes:
        raise DataError("none of the images could be read")
    if image_size is not None:
        return image_size, image_size
    if len(sizes) > 1:
        raise DataError(
            f"images are of {len(sizes)} sizes ({_sizes_text(sizes)}); a set needs one. "
            "Pass --image-size N to resize and crop them to NxN"
        )
    return next(iter(sizes))


def _sizes_text(sizes: Counter[tuple[int, int]]) -> str:
    seen = [f"{width}x{height}: {count}" for (width, height), count in sizes.most_common(_SIZES_SHOWN)]
    return ", ".join(seen) + (", ..." if len(sizes) > _SIZES_SHOWN else "")


def _read_header(item: Item) -> _Read:
    try:
        with item.open() as image:
            return _Header(upright_size(image), has_gray_pixels(image))
    except Exception as error:  # Pillow's many readers raise many types for a damaged file
        return _unreadable(item, error)


def _decode(item: Item, form: ImageForm, *, resize: bool) -> _Read:
    try:
        with item.open() as image:
            pixels = to_eight_bits(image, gray=form.channels == 1)
            if resize:
                pixels = resize_and_crop(pixels, form.width)
            if pixels.size != (form.width, form.height):
                raise ValueError(f"it turns out {pixels.size} pixels large, not as its header says")
            array = np.asarray(pixels)
    except Exception as error:
        return _unreadable(item, error)
    return np.atleast_3d(array).transpose(2, 0, 1)


def _unreadable(item: Item, error: Exception) -> UnreadableImageError:
    return UnreadableImageError(
        f"{item.name} cannot be read as an image ({error}); repair or remove it, "
        "or pass --skip-unreadable to leave such files out"
    )


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


def _in_threads(work: _Work, items: Iterable[Item]) -> Generator[_Read, None, None]:
    """Apply `work` to the items in threads; results come in order, and few are waiting at any time."""
    workers = min(_MAX_WORKERS, os.cpu_count() or 1)
    waiting: deque[Future[list[_Read]]] = deque()
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
