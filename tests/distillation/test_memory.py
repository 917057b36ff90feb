"""Peak memory of whole runs, each in a process of its own, against the size of what they are given.

Watched is what the process holds besides files: pages of a mapped file come and go as the system pleases.
"""

from __future__ import annotations

import math
import re
import threading
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np
import pytest
import torch

from atom_distill.data.dataset import ImageDataset, Split
from forked import fork_context

STATUS = Path("/proc/self/status")
CLASSES, SHAPE = 10, (3, 16, 16)
MIB = 1 << 20
IMAGE_BYTES = 3 * 16 * 16

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not STATUS.exists(), reason="the peak is read from /proc, which is Linux's"),
]


def mapped(path: Path, images: int, classes: int = CLASSES, shape: tuple[int, int, int] = SHAPE) -> ImageDataset:
    """A set of random pixels that lies on disk and is mapped, as prepared sets are."""
    random = np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, images, 1000):
            file.write(random.bytes(min(1000, images - start) * math.prod(shape)))
    pixels = torch.from_numpy(np.memmap(path, np.uint8, "r+", shape=(images, *shape)))
    labels = torch.arange(images) % classes
    few = slice(2 * classes)
    names = tuple(f"class {label}" for label in range(classes))
    return ImageDataset(
        "noise", Split(pixels, labels), Split(pixels[few], labels[few]), names, "made", fingerprint=f"noise {images}"
    )


def run(
    path: Path, images: int, ipc: int, preprocess: str, answer: Queue[dict[str, float]], changes: dict[str, object]
) -> None:
    from atom_distill.api import distill

    torch.set_num_threads(1)
    peak, done = {"RssAnon": 0.0}, threading.Event()
    watch = threading.Thread(target=follow, args=(peak, done))
    watch.start()
    data = mapped(path, images, **{name: changes.pop(name) for name in ("classes", "shape") if name in changes})
    settings = {"steps": 2, "batch_real": 8, "width": 8, "compile": "off", "device": "cpu", "real_dtype": "float32"}
    distill(data, ipc=ipc, preprocess=preprocess, show_progress=False, **{**settings, **changes})
    done.set()
    watch.join()
    answer.put({**peak, "VmHWM": status("VmHWM")})


def status(name: str) -> float:
    """What the system tells of this process's memory, in MiB."""
    found = re.search(rf"{name}:\s+(\d+) kB", STATUS.read_text())
    assert found
    return int(found[1]) / 1024


def follow(peak: dict[str, float], done: threading.Event) -> None:
    """Keep the most anonymous resident memory seen, in MiB; a short peak on a busy machine can be missed."""
    while not done.wait(0.002):
        peak["RssAnon"] = max(peak["RssAnon"], status("RssAnon"))


@pytest.fixture
def peak(tmp_path, monkeypatch):
    """Run in a fresh process and return its peak, in MiB: as watched, or the system's own mark, with pages of files."""
    monkeypatch.setenv("ATOM_DATA", str(tmp_path))  # so that a whitening is fitted and not remembered
    context = fork_context()

    def peak_of(images: int, ipc: int, preprocess: str = "normalize", of: str = "RssAnon", **changes: object) -> float:
        answer = context.Queue()
        arguments = (tmp_path / f"{images}.bin", images, ipc, preprocess, answer, changes)
        process = context.Process(target=run, args=arguments)
        process.start()
        try:
            return answer.get(timeout=120)[of]
        finally:
            process.join()

    return peak_of


@pytest.mark.parametrize("preprocess", ["normalize", "zca"])
def test_memory_does_not_grow_with_the_mapped_set(peak, preprocess):
    """One copy of the set as it is would add the file's size; in float32, four times that."""
    small, large = 30_000, 200_000  # both large enough for a whitening to be cached
    file = (large - small) * IMAGE_BYTES / MIB
    labels = (large - small) * 4 * 8 / MIB  # and the indices of each class, and what sorting them takes
    assert peak(large, 1, preprocess) - peak(small, 1, preprocess) < labels + 0.5 * file


def test_memory_grows_linearly_in_synthetic_images(peak):
    few, more, most = (peak(13_000, ipc, of="VmHWM") for ipc in (300, 800, 1300))
    assert most - more < 1.3 * (more - few)


@pytest.mark.parametrize("ipc", [5, 40, 80])
def test_a_run_keeps_to_its_budget(peak, ipc):
    wide = {"width": 128, "batch_real": 128, "steps": 1}
    without, within = peak(8000, ipc, **wide, chunk=1000), peak(8000, ipc, **wide, memory=0.65)
    assert within < 0.65 * 1024 < without


def test_a_whitened_run_keeps_to_its_budget(peak):
    wide = {"width": 128, "batch_real": 128, "steps": 1, "shape": (3, 24, 24)}
    assert peak(4000, 1, "zca", **wide, memory=0.8) < 0.8 * 1024  # 1.3 GiB without


def test_a_thousand_classes_fit(peak):
    """A step on all of 12 images a class, 64x64, in float32: all images at once would take 6 GiB."""
    assert peak(12_000, 1, classes=1000, shape=(3, 64, 64), width=8, batch_real=12, steps=1) < 3 * 1024
