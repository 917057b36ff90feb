"""A run's images as what the page draws from: sheets of tiles, and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from atom_distill.distillation.images_per_class import first_of_each
from atom_distill.report.attention import Observer, Seen
from atom_distill.report.neighbors import DESCRIPTION
from atom_distill.report.reading import RunView
from atom_distill.report.sprites import Sprite, sprite

_PIXELS = 800 * 32 * 32
"""Of all shown images together: with their evolution some 8 MB, and all of CIFAR-10 at ipc 50."""
_MOST = 1000
"""Images of a run that a page draws quickly."""
_ROUNDING = 2
"""Levels of gray by which a real image differs at most from itself after preprocessing and back."""
_CLASSES_AT_MOST = 100
"""Classes whose attention is told one by one; of more, only that of all together."""


@dataclass
class Layer:
    """Attention in one layer.

    Attributes:
        name: in words.
        maps: spatial attention of every shown image, gray.
        mean_syn: mean spatial attention of all classes together, then of each, gray.
        mean_real: the same of real images, on the same scale; None where there are none.
        channels_syn: mean channel attention, in the same order, [1 + K][C].
        channels_real: likewise.
    """

    name: str
    maps: dict[str, Any]
    mean_syn: dict[str, Any]
    mean_real: dict[str, Any] | None
    channels_syn: list[list[float]]
    channels_real: list[list[float]] | None


@dataclass
class Gallery:
    """What the page needs to draw a run.

    Attributes:
        name: of the run.
        method: what made it.
        classes: their names.
        labels: of the shown images, ascending.
        total: images of the set, of which so many are shown.
        moves: whether they are optimized.
        steps: steps done.
        tiles: the images, without loss; None where there are none.
        frames: steps and sheets of the images on their way; the last has None, which is `tiles`.
        initial: the images before the first step.
        neighbors: three real images for each, one after the other.
        neighbor_ids: which training images they are; -1 for none.
        nearest_other: places in `neighbors` of the nearest that is not the image itself as it was before the first
            step; the nearest of all where there is no other.
        neighbors_how: how they were found.
        network: which network's attention is shown.
        layers: attention, by layer.
    """

    name: str
    method: str
    classes: list[str]
    labels: list[int]
    total: int
    moves: bool
    steps: int
    tiles: dict[str, Any] | None = None
    frames: list[dict[str, Any]] | None = None
    initial: dict[str, Any] | None = None
    neighbors: dict[str, Any] | None = None
    neighbor_ids: list[int] | None = None
    nearest_other: list[int] | None = None
    neighbors_how: str = ""
    network: str = ""
    layers: list[Layer] | None = None

    def as_data(self) -> dict[str, Any]:
        """Give it as what JSON holds."""
        return asdict(self)


def gallery(view: RunView, observer: Observer | None, most: int) -> Gallery:
    """Make a run's gallery.

    Args:
        view: of the run.
        observer: looks at the images; None where nobody is to.
        most: images to show; the first of each class.
    """
    rows = first_of_each(view.per_class, most) if len(view.labels) else torch.empty(0, dtype=torch.int64)
    made = Gallery(
        name=view.name,
        method=view.method,
        classes=list(view.class_names),
        labels=view.labels[rows].tolist(),
        total=len(view.labels),
        moves=view.moves,
        steps=view.steps,
    )
    if view.pictures is None:
        return made
    made.tiles = _data(sprite(view.pictures[rows], "exact"))
    _add_evolution(made, view, rows)
    if observer is not None and view.images is not None:
        seen = view.attempt("Attention and the nearest real images", lambda: observer.see(view, rows))
        if seen is not None:
            _add_neighbors(made, view, seen, rows)
            made.network, made.layers = seen.network, _layers(seen)
    return made


def _add_evolution(made: Gallery, view: RunView, rows: Tensor) -> None:
    """Take the snapshots that there are of the shown images."""
    if not view.moves:
        view.missing.append(f"The evolution: {view.method} images are as they are, nothing has moved them")
        return
    if view.snapshots is None:
        if not any(line.startswith("The evolution") for line in view.missing):
            view.missing.append("The evolution, initial images among them: there are no pictures of it yet")
        return
    found = view.snapshots.up_to(view.steps)
    places = torch.searchsorted(found.rows, rows).clamp_max(len(found.rows) - 1)
    if not torch.equal(found.rows[places], rows):
        view.missing.append(
            f"The evolution: pictures were taken of {len(found.rows)} of the {len(rows)} images shown; "
            f"give --images {len(found.rows)} or less"
        )
        return
    frames = []
    for step, pixels in zip(found.steps, found.pixels, strict=True):
        if step < view.steps:
            sheet = _data(sprite(pixels[places], "sketch" if step else "photo"))
            made.initial = sheet if step == 0 else made.initial
            frames.append({"step": step, "sheet": sheet})
    made.frames = [*frames, {"step": view.steps, "sheet": None}] if frames else None
    if made.initial is None:
        view.missing.append("Initial images: the pictures taken of them are lost")


def _add_neighbors(made: Gallery, view: RunView, seen: Seen, rows: Tensor) -> None:
    if seen.neighbors is None or view.real is None:
        return
    chosen = seen.neighbors.flatten()
    pixels = view.real.train.images[chosen.clamp_min(0)]
    pixels[chosen < 0] = 0
    made.nearest_other = _others(pixels.unflatten(0, seen.neighbors.shape), _first(view, rows))
    made.neighbors, made.neighbor_ids = _data(sprite(pixels, "photo")), chosen.tolist()
    made.neighbors_how = DESCRIPTION.format(network=seen.network)


def _first(view: RunView, rows: Tensor) -> Tensor:
    """Give what the images began as: pictures [n, C, H, W]; the images themselves where nobody knows."""
    assert view.pictures is not None
    found = view.snapshots
    if found is None or found.steps[0] != 0 or not bool(torch.isin(rows, found.rows).all()):
        return view.pictures[rows]
    return found.pixels[0][torch.searchsorted(found.rows, rows)]


def _others(neighbors: Tensor, first: Tensor) -> list[int]:
    """Find for each image the first of its neighbors [n, 3, C, H, W] that is not `first` [n, C, H, W]."""
    apart = (neighbors.int() - first.int().unsqueeze(1)).abs().flatten(2).amax(2)
    other = (apart > _ROUNDING).int().argmax(1)  # the first that is; 0 where none is
    return (other + torch.arange(len(other)) * neighbors.shape[1]).tolist()


def _layers(seen: Seen) -> list[Layer]:
    last = len(seen.look.spatial) - 1
    found = []
    for index, maps in enumerate(seen.look.spatial):
        syn, real = _with_all(seen, index, "spatial")
        peak = torch.maximum(syn, real) if real is not None else syn
        top = peak.flatten(1).amax(1).clamp_min(1e-12).view(-1, 1, 1)
        channels_syn, channels_real = _with_all(seen, index, "channel")
        height, width = maps.shape[1:]
        found.append(
            Layer(
                name=f"layer {index + 1} ({width} x {height})" + (", the last" if index == last else ""),
                maps=_data(_gray(maps / maps.flatten(1).amax(1).clamp_min(1e-12).view(-1, 1, 1))),
                mean_syn=_data(_gray(syn / top)),
                mean_real=None if real is None else _data(_gray(real / top)),
                channels_syn=_rounded(channels_syn),
                channels_real=None if channels_real is None else _rounded(channels_real),
            )
        )
    return found


def _with_all(seen: Seen, layer: int, kind: str) -> tuple[Tensor, Tensor | None]:
    """Give synthetic and real means, [1 + K, ...]: of all classes alike, then of each, where they are few."""
    found: list[Tensor | None] = []
    for means in (seen.means, seen.real):
        if means is None:
            found.append(None)
            continue
        each: Tensor = getattr(means, kind)[layer]
        every = each[means.counts > 0].mean(0, keepdim=True)
        found.append(torch.cat([every, each]) if len(each) <= _CLASSES_AT_MOST else every)
    assert found[0] is not None
    return found[0], found[1]


def _gray(maps: Tensor) -> Sprite:
    """Turn maps [n, h, w] with values in [0, 1] into a sheet."""
    return sprite(maps.mul(255).round().to(torch.uint8).unsqueeze(1), "exact")


def _data(sheet: Sprite) -> dict[str, Any]:
    return sheet._asdict()


def _rounded(rows: Tensor) -> list[list[float]]:
    return [[float(f"{value:.4g}") for value in row] for row in rows.tolist()]


def images_to_show(views: Sequence[RunView], most: int | None) -> int:
    """Say how many images of each run are shown.

    Args:
        views: all runs of the page.
        most: of all runs together; None is as many as keep the page light, at least one of each class.
    """
    sizes = [view.pictures.shape[2] * view.pictures.shape[3] for view in views if view.pictures is not None]
    if not sizes:
        return 0
    if most is not None:
        return max(1, most // len(sizes))
    classes = max(len(view.class_names) for view in views)
    return max(min(_MOST, _PIXELS // max(sizes)) // len(sizes), min(_MOST, classes))
