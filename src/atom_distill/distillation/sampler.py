"""Draw each step's real images, class by class."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from atom_distill.data.dataset import ImageDataset
from atom_distill.distillation.real_clusters import RealClusters
from atom_distill.ops.preprocessing import Preprocessing

_DEVICE_SHARE = 0.5
"""Share of a GPU's free memory that the pixels may take; otherwise each batch is sent to it."""


class ClassSampler:
    """Real images of every class, drawn without replacement within a step.

    Pixels stay uint8 where they are; only the images of a `load` are brought into model space, so memory does not
    grow with the set.

    Args:
        dataset: the training split is drawn from.
        preprocessing: brings pixels into model space.
        batch: images per class; a smaller class gives all it has.
        device: where images are wanted.
        dtype: precision in which the preprocessing is computed.
        on_device: whether all pixels may lie on a GPU, where they fit.
        classes: to draw from, int64 [k] ascending; None for all. Which classes they are changes no draw.
        clusters: made for `batch`; each gives one image of a batch. None: images of a class are drawn at random.

    Attributes:
        labels: place in `classes` of the class of each image of a batch, int64 [B], on the CPU, sorted; the same for
            every batch.
        counts: images of each of these classes in a batch, int64 [k], on the CPU.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        preprocessing: Preprocessing,
        batch: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        classes: Tensor | None = None,
        *,
        on_device: bool = True,
        clusters: RealClusters | None = None,
    ) -> None:
        self._indices = dataset.class_indices()
        self._classes = frozenset(range(dataset.num_classes) if classes is None else classes.tolist())
        self._preprocessing, self._clusters = preprocessing, clusters
        if clusters is not None:
            self._of_mine = torch.isin(clusters.labels, torch.tensor(sorted(self._classes)))
        self._device, self._dtype = device, dtype
        sizes = dataset.class_sizes() if classes is None else dataset.class_sizes()[classes]
        self._batch, self.counts = batch, sizes.clamp_max(batch)
        self.labels = torch.repeat_interleave(torch.arange(len(self.counts)), self.counts)
        pixels = dataset.train.images
        self._pixels = pixels.to(device) if on_device and _fits(pixels, device) else pixels
        self._reader = ThreadPoolExecutor(1) if self._pixels.device.type == "cpu" else None
        self._begun: tuple[Tensor, Future[Tensor]] | None = None

    def draw(self, generator: torch.Generator) -> Tensor:
        """Choose one batch: indices into the training split, int64 [B], on the CPU, in the order of `labels`."""
        if self._clusters is not None:
            return self._clusters.draw(generator)[self._of_mine]
        chosen = []
        for label, indices in enumerate(self._indices):
            # Every class is shuffled, so that all ranks consume the generator identically.
            order = torch.randperm(len(indices), generator=generator)
            if label in self._classes:
                chosen.append(indices[order[: self._batch]])
        return torch.cat(chosen)

    def load(self, chosen: Tensor) -> Tensor:
        """Return images by index in model space, [len(chosen), C, H, W], on the device, in the sampler's precision."""
        pixels = self._begun_before(chosen)
        if pixels is None:
            pixels = self._read(chosen)
        return self._preprocessing.apply(pixels.to(self._device, non_blocking=True), self._dtype)

    @property
    def reads_ahead(self) -> bool:
        """Whether it helps: pixels lie on a disk, or have to be copied to a GPU."""
        return self._reader is not None

    def read_ahead(self, chosen: Tensor) -> None:
        """Begin to read what the next `load` will ask for, while the caller goes on."""
        if self._reader is not None:
            self._begun = chosen, self._reader.submit(self._read, chosen)

    def _begun_before(self, chosen: Tensor) -> Tensor | None:
        if self._begun is None:
            return None
        (wanted, reading), self._begun = self._begun, None
        return reading.result() if torch.equal(wanted, chosen) else None

    def _read(self, chosen: Tensor) -> Tensor:
        pixels = self._pixels[chosen.to(self._pixels.device, non_blocking=True)]
        # From pinned memory a GPU copies by itself, without anybody waiting.
        return pixels.pin_memory() if self._reader is not None and self._device.type == "cuda" else pixels


def _fits(pixels: Tensor, device: torch.device) -> bool:
    return device.type == "cuda" and pixels.numel() < _DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]
