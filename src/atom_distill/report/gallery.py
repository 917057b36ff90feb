"""The images of a run as the page draws them: sheets of tiles, and numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from atom_distill.artifact.bundled import is_bundled
from atom_distill.distillation.images_per_class import first_of_each
from atom_distill.distillation.prefixes import usual_sizes
from atom_distill.report.network_analysis import Analysis, Analyzer
from atom_distill.report.reading import RunView
from atom_distill.report.sprites import Sprite, sprite

_MAX_PIXELS = 800 * 32 * 32
"""Pixels of all shown images: with their evolution some 8 MB, and all of CIFAR-10 at ipc 50."""
_MOST_PIXELS = 1000 * 32 * 32
"""The same where one image of each class is more: then all are shown smaller. Some 10 MB."""
_MAX_IMAGES = 1000
"""Images of a run that a page draws quickly."""
_MAX_ROUNDING = 2
"""Gray levels by which a real image may differ from itself after preprocessing and its inverse."""
_MAX_CLASSES = 100
"""Classes whose attention is shown one by one; of more, only the mean of all is shown."""


@dataclass
class Layer:
    """Attention in one layer.

    Attributes:
        name: in words.
        maps: spatial attention of every shown image, gray.
        mean_syn: mean spatial attention over all classes, then of each class, gray.
        mean_real: the same of real images, on the same scale; None if they are not available.
        channels_syn: mean channel attention in the same order, [1 + K][C].
        channels_real: the same of real images.
    """

    name: str
    maps: Sprite
    mean_syn: Sprite
    mean_real: Sprite | None
    channels_syn: list[list[float]]
    channels_real: list[list[float]] | None


@dataclass
class Frame:
    """The shown images after some step; the sheet of the last frame is None, meaning `Gallery.tiles`."""

    step: int
    sheet: Sprite | None


@dataclass
class Gallery:
    """What the page needs to draw a run.

    Attributes:
        name: of the run.
        method: its name.
        classes: their names.
        labels: of the shown images, ascending.
        total: images of the set, shown or not.
        optimized: False if the images are selected or imported.
        steps: steps done.
        per_row: images that a stored row decodes to, one after the other.
        sizes: numbers of first images of each class that are sets of their own, ascending, and that of all; None where
            there are no others.
        size_bytes: bytes per class of these sets, all that they need counted; None where there is no result.
        tiles: the images, lossless; None if there are none.
        frames: the images at some steps, ascending.
        initial: the images before the first step.
        neighbors: three real images for each image, one after the other.
        neighbor_ids: their indices in the training split; -1 for none.
        nearest_other: for each image the place in `neighbors` of the nearest one other than its initial image; the
            nearest of all if there is no other.
        network: whose attention is shown and which orders the neighbors, in words.
        layers: attention by layer.
    """

    name: str
    method: str
    classes: list[str]
    labels: list[int]
    total: int
    optimized: bool
    steps: int
    per_row: int = 1
    sizes: list[int] | None = None
    size_bytes: list[int] | None = None
    tiles: Sprite | None = None
    frames: list[Frame] | None = None
    initial: Sprite | None = None
    neighbors: Sprite | None = None
    neighbor_ids: list[int] | None = None
    nearest_other: list[int] | None = None
    network: str = ""
    layers: list[Layer] | None = None


def galleries(views: Sequence[RunView], max_images: int | None, *, analyze: bool) -> list[Gallery]:
    """Return the gallery of each run.

    Args:
        views: all runs of the page.
        max_images: images shown of all runs together; None is as many as keep the page light.
        analyze: False leaves out attention and the nearest real images, which take a network.
    """
    analyzer = Analyzer() if analyze else None
    count = images_to_show(views, max_images)
    shrink = shrink_of(views, count) if max_images is None else 1
    return [gallery(view, analyzer, count, shrink) for view in views]


def images_to_show(views: Sequence[RunView], max_images: int | None) -> int:
    """Return how many images of each run are shown.

    Args:
        views: all runs of the page.
        max_images: of all runs together; None is as many as keep the page light, at least one of each class.
    """
    sizes = [view.pictures.shape[2] * view.pictures.shape[3] for view in views if view.pictures is not None]
    if not sizes:
        return 0
    if max_images is not None:
        return max(1, max_images // len(sizes))
    classes = max(len(view.class_names) for view in views)
    return max(min(_MAX_IMAGES, _MAX_PIXELS // max(sizes)) // len(sizes), min(_MAX_IMAGES, classes))


def shrink_of(views: Sequence[RunView], count: int) -> int:
    """Return the factor by which the sides of pictures are divided, so that a page of many classes stays light.

    Args:
        views: all runs of the page.
        count: images of each run that are shown.
    """
    sizes = [(len(view.labels), *view.pictures.shape[2:]) for view in views if view.pictures is not None]
    pixels = sum(min(count, images) * height * width for images, height, width in sizes)
    return max(1, math.ceil(math.sqrt(pixels / _MOST_PIXELS)))


def gallery(view: RunView, analyzer: Analyzer | None, count: int, shrink: int = 1) -> Gallery:
    """Return the gallery of a run.

    Args:
        view: of the run.
        analyzer: finds attention and the nearest real images; None leaves them out.
        count: images that are shown, the first of each class.
        shrink: factor by which the sides of pictures are divided.
    """
    rows = first_of_each(view.per_class, count) if len(view.labels) else torch.empty(0, dtype=torch.int64)
    shown = Gallery(
        name=view.name,
        method=view.method,
        classes=list(view.class_names),
        labels=view.labels[rows].tolist(),
        total=len(view.labels),
        optimized=view.is_optimized,
        steps=view.steps,
        per_row=view.images_per_row,
    )
    if view.pictures is None:
        return shown
    shown.tiles = sprite(view.pictures[rows], "exact", shrink)
    shown.sizes, shown.size_bytes = _sizes(view)
    _add_evolution(shown, view, rows, shrink)
    if shrink > 1:
        view.missing.append(
            f"Full size: the sides of the pictures are divided by {shrink} to keep the page light; --images N shows N "
            "of them as they are"
        )
    if analyzer is not None and view.images is not None:
        analysis = view.attempt("Attention and nearest real images", lambda: analyzer.analyze(view, rows))
        if analysis is not None:
            _add_neighbors(shown, view, analysis, rows, shrink)
            shown.network, shown.layers = analysis.network, _layers(analysis, shown.tiles, shrink)
    return shown


def _sizes(view: RunView) -> tuple[list[int] | None, list[int] | None]:
    """Return numbers of first images of each class that a run is nested for or that were scored, and their bytes."""
    whole = view.stored_per_class
    if whole is None:
        return None, None
    scored = {score.first for score in view.scores if score.subject == "distilled" and score.first is not None}
    nested = usual_sizes(whole) if view.settings.get("nested") else []
    per_stored = int(view.per_class.max()) // whole
    stored = [size for size in sorted({*nested, *scored, whole}) if size <= whole]
    if len(stored) < 2:
        return None, None
    classes = len(view.class_names)
    sizes = [math.ceil(size / classes) for count in stored if (size := view.bytes_of_first(count)) is not None]
    return [count * per_stored for count in stored], sizes or None


def _add_evolution(shown: Gallery, view: RunView, rows: Tensor, shrink: int) -> None:
    """Add the snapshots of the shown images."""
    if not view.is_optimized:
        view.missing.append(f"Evolution: the images of {view.method} are not optimized")
        return
    if view.snapshots is None:
        if not view.is_missing("Evolution") and not is_bundled(view.folder):  # the package leaves them out
            what = "the run kept no snapshots" if view.finished else "there are no snapshots yet"
            view.missing.append(f"Evolution: {what}, and none of the initial images")
        return
    found = view.snapshots.up_to(view.steps)
    places = torch.searchsorted(found.rows, rows).clamp_max(len(found.rows) - 1)
    if not torch.equal(found.rows[places], rows):
        view.missing.append(
            f"Evolution: there are snapshots of {len(found.rows)} of the {len(rows)} images shown; "
            f"show {len(found.rows)} or fewer with --images"
        )
        return
    frames = [
        Frame(step, sprite(pixels[places], "sketch" if step else "photo", shrink))
        for step, pixels in zip(found.steps, found.pixels, strict=True)
        if step < view.steps
    ]
    shown.initial = next((frame.sheet for frame in frames if frame.step == 0), None)
    shown.frames = [*frames, Frame(view.steps, None)] if frames else None
    if shown.initial is None:
        view.missing.append("Initial images: the snapshots do not have them")


def _add_neighbors(shown: Gallery, view: RunView, analysis: Analysis, rows: Tensor, shrink: int) -> None:
    if analysis.neighbors is None or view.real is None:
        return
    chosen = analysis.neighbors.flatten()
    pixels = view.real.train.images[chosen.clamp_min(0)]
    pixels[chosen < 0] = 0
    shown.nearest_other = _nearest_other(pixels.unflatten(0, analysis.neighbors.shape), _initial(view, rows))
    shown.neighbors, shown.neighbor_ids = sprite(pixels, "photo", shrink), chosen.tolist()


def _initial(view: RunView, rows: Tensor) -> Tensor:
    """Return pictures of the initial images [n, C, H, W]; where they are not known, of the images themselves."""
    assert view.pictures is not None
    found = view.snapshots
    if found is None or found.steps[0] != 0 or not bool(torch.isin(rows, found.rows).all()):
        return view.pictures[rows]
    return found.pixels[0][torch.searchsorted(found.rows, rows)]


def _nearest_other(neighbors: Tensor, initial: Tensor) -> list[int]:
    """Return where, among all neighbors [n, 3, C, H, W], each image's first that is not `initial` [n, C, H, W] is."""
    difference = (neighbors.int() - initial.int().unsqueeze(1)).abs().flatten(2).amax(2)
    first = (difference > _MAX_ROUNDING).int().argmax(1)  # 0 if there is none
    return (first + torch.arange(len(first)) * neighbors.shape[1]).tolist()


def _layers(analysis: Analysis, tiles: Sprite, shrink: int) -> list[Layer]:
    syn, real = analysis.means_syn, analysis.means_real
    # Both means are over the same classes: those that have images of both kinds.
    counts = syn.counts if real is None else torch.minimum(syn.counts, real.counts)
    layers = []
    for index, maps in enumerate(analysis.responses.spatial):
        mean_syn = _with_overall_mean(syn.spatial[index], counts)
        mean_real = None if real is None else _with_overall_mean(real.spatial[index], counts)
        peak = _peak(mean_syn if mean_real is None else torch.maximum(mean_syn, mean_real))
        height, width = maps.shape[1:]
        is_last = index == len(analysis.responses.spatial) - 1
        layers.append(
            Layer(
                name=f"layer {index + 1} ({width} x {height})" + (", the last" if is_last else ""),
                maps=_gray(maps / _peak(maps), shrink if width > tiles.width else 1),  # no finer than what they cover
                mean_syn=_gray(mean_syn / peak),
                mean_real=None if mean_real is None else _gray(mean_real / peak),
                channels_syn=_rounded(_with_overall_mean(syn.channel[index], counts)),
                channels_real=None if real is None else _rounded(_with_overall_mean(real.channel[index], counts)),
            )
        )
    return layers


def _with_overall_mean(means: Tensor, counts: Tensor) -> Tensor:
    """Return the mean over the classes that have images, then, if all are few, each class: [1 + K, ...]."""
    overall = means[counts > 0].mean(0, keepdim=True)
    return torch.cat([overall, means]) if len(means) <= _MAX_CLASSES else overall


def _peak(maps: Tensor) -> Tensor:
    """Return the largest value of each map [n, h, w], at least 1e-12, as [n, 1, 1]."""
    return maps.flatten(1).amax(1).clamp_min(1e-12).view(-1, 1, 1)


def _gray(maps: Tensor, shrink: int = 1) -> Sprite:
    """Return a sheet of maps [n, h, w] with values in [0, 1], their sides divided by a factor."""
    return sprite(maps.mul(255).round().to(torch.uint8).unsqueeze(1), "exact", shrink)


def _rounded(rows: Tensor) -> list[list[float]]:
    return [[float(f"{value:.4g}") for value in row] for row in rows.tolist()]
