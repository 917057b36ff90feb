"""The figures of the page on how ATOM works, all computed here from digits: `make figures`.

python tools/docs/figures.py [FOLDER]      # default: docs/images
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import atom_distill as ad
from atom_distill.artifact.snapshots import Snapshots, load_snapshots
from atom_distill.base.files import atomic_path
from atom_distill.base.seeding import generator
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.models.initialization import reinitialize
from atom_distill.models.network import Network
from atom_distill.ops.attention import spatial_attention
from atom_distill.ops.dsa import OPERATIONS, Draw, augment
from atom_distill.ops.matching import LOSS_SCALE, attention_mixer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = 300
SHOWN = 3
"""The class, and digit, that the figures follow."""
_REAL = 128
"""Real images that a mean is taken over, as many as a step draws."""
_SMOOTHED = 15


class Run(NamedTuple):
    """A run of ATOM on digits, and what it began with."""

    dataset: Any
    tiny: Any
    snapshots: Snapshots


def distilled(steps: int = STEPS, **settings: Any) -> Run:
    """Distill digits to one image a class."""
    dataset = ad.load_dataset("digits")
    with tempfile.TemporaryDirectory() as folder:
        tiny = ad.distill(dataset, ipc=1, steps=steps, snapshots=6, out=Path(folder) / "run", device="cpu", **settings)
        snapshots = load_snapshots(Path(folder) / "run")
    if snapshots is None:
        raise RuntimeError("the run kept no snapshots")
    return Run(dataset, tiny, snapshots)


def draw_all(folder: Path, run: Run) -> None:
    """Draw every figure into a folder."""
    figures = {
        "works-attention": attention_by_layer(),
        "works-siamese": siamese(run),
        "works-objective": objective(run),
        "works-loss": losses(run),
        "works-images": evolution(run),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        with atomic_path(folder / f"{name}.png") as temporary:
            figure.savefig(temporary, format="png", metadata={"Software": None})


def attention_by_layer() -> Figure:
    """Show where each layer of a random network responds to a digit, by the power of its attention."""
    dataset = ad.load_dataset("digits", image_size=32)
    image = _real(dataset, SHOWN, 1)
    maps = _network(dataset).features(fit_preprocessing("normalize", dataset).apply(image)).maps
    powers = (1.0, 2.0, 4.0)
    figure, axes = _tiles(len(powers), len(maps) + 1, title_height=0.35)
    for row, power in zip(axes, powers, strict=True):
        _show(row[0], image[0, 0], "gray")
        row[0].set_ylabel(f"power {power:g}")
        for axis, layer in zip(row[1:], maps, strict=True):
            _show(axis, spatial_attention(layer, power=power).view(layer.shape[2:]), "magma")
    for axis, title in zip(axes[0], ["image", *(f"layer {number + 1}" for number in range(len(maps)))], strict=True):
        axis.set_title(title)
    return figure


def siamese(run: Run) -> Figure:
    """Show one draw of each augmentation on real images of a class and on its synthetic one."""
    preprocessing = run.tiny.preprocessing
    images = torch.cat([preprocessing.apply(_real(run.dataset, SHOWN, 2)), run.tiny.images[[SHOWN]]])
    uniforms = torch.tensor([[0.3, 0.9, 0.25]])
    columns = [images]
    for operation in range(len(OPERATIONS)):
        draw = Draw(torch.tensor([operation]), uniforms)
        columns.append(augment(images, draw, torch.zeros(len(images), dtype=torch.int64)))
    figure, axes = _tiles(len(images), len(columns), side=1.0, title_height=0.3)
    ranges = [(float(image.min()), float(image.max())) for image in images]
    for row, name in zip(axes, ["real", "real", "synthetic"], strict=True):
        row[0].set_ylabel(name)
    for number, (title, column) in enumerate(zip(["image", *OPERATIONS], columns, strict=True)):
        axes[0][number].set_title(title)
        for row, image, shown in zip(axes, column, ranges, strict=True):
            _show(row[number], image[0], "gray", *shown)
    return figure


def objective(run: Run) -> Figure:
    """Show each statistic of a class: the mean of real images, the synthetic image at first and at last."""
    preprocessing, network = run.tiny.preprocessing, _network(run.dataset)
    rows = {
        f"{_REAL} real images, mean": preprocessing.apply(_real(run.dataset, SHOWN, _REAL)),
        "synthetic, before": preprocessing.apply(run.snapshots.pixels[0, [SHOWN]]),
        f"synthetic, after {run.tiny.steps} steps": run.tiny.images[[SHOWN]],
    }
    statistics = {name: attention_mixer(network.features(images)) for name, images in rows.items()}
    names = [statistic.name for statistic in next(iter(statistics.values()))]
    figure, axes = _tiles(len(rows), len(names) + 1, side=1.25, title_height=0.3, hspace=0.55)
    means = {name: [each.values.mean(0) for each in found] for name, found in statistics.items()}
    target, *_ = means.values()
    weights = [each.weight for each in next(iter(statistics.values()))]
    for row, (name, images) in zip(axes, rows.items(), strict=True):
        _show(row[0], images.mean(0)[0], "gray")
        row[0].set_ylabel(name.replace(", ", ",\n"), fontsize=7)
        for axis, title, value, real, weight in zip(row[1:], names, means[name], target, weights, strict=True):
            _draw_statistic(axis, title, value, real)
            if value is not real:
                loss = LOSS_SCALE * weight * float((value - real).square().sum())
                axis.set_xlabel(f"distance {loss:.2f}", fontsize=7, labelpad=2)
    for axis, title in zip(axes[0], ["image", *names], strict=True):
        axis.set_title(title)
    return figure


def losses(run: Run) -> Figure:
    """Show the loss by term over the steps, smoothed, since every step has a network of its own."""
    history = [row for row in run.tiny.history if "terms" in row]
    figure = _figure(6.4, 3.2)
    axes = figure.add_subplot()
    steps = np.array([row["step"] for row in history])
    for name in history[0]["terms"]:
        values = np.array([row["terms"][name] for row in history])
        axes.plot(_smooth(steps), _smooth(values), label=name, linewidth=1.5)
    axes.plot(_smooth(steps), _smooth(np.array([row["loss"] for row in history])), "k", label="loss", linewidth=2)
    axes.set(xlabel=f"step (means of {_SMOOTHED})", ylabel="loss, all classes", yscale="log")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def evolution(run: Run) -> Figure:
    """Show the images of all classes at the steps that were kept."""
    pixels = run.snapshots.pixels
    figure, axes = _tiles(len(pixels), pixels.shape[1], side=0.62, gap=0.04)
    for row, step, images in zip(axes, run.snapshots.steps, pixels, strict=True):
        row[0].set_ylabel(f"step {step}", rotation=0, ha="right", va="center")
        for axis, image in zip(row, images, strict=True):
            _show(axis, image[0], "gray", 0, 255)
    return figure


def _draw_statistic(axis: Any, name: str, value: Tensor, real: Tensor) -> None:
    side = round(len(value) ** 0.5)
    if name.startswith("spatial") and side * side == len(value):
        _show(axis, value.view(side, side), "magma", 0, float(real.max()))
        return
    order = real.argsort(descending=True)[:64]  # the strongest for the real images, in one order for all
    axis.bar(range(len(order)), value[order].numpy(), width=1.0, color="#4c6fbf")
    axis.set(ylim=(0, 1.6 * float(real.max())), xticks=[], yticks=[], box_aspect=1)
    axis.spines[["top", "right"]].set_visible(False)


def _network(dataset: Any) -> Network:
    network = ad.build_model("convnet", dataset.image_shape, dataset.num_classes)
    reinitialize(network, generator(0, "figures"))
    return network.requires_grad_(False)


def _real(dataset: Any, label: int, count: int) -> Tensor:
    """Give the first images of a class, uint8 [n, C, H, W]."""
    images: Tensor = dataset.train.images[dataset.class_indices()[label][:count]]
    return images


def _smooth(values: np.ndarray) -> np.ndarray:
    width = min(_SMOOTHED, len(values))
    return np.convolve(values, np.ones(width) / width, mode="valid")


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=130, layout="constrained")


def _tiles(
    rows: int, columns: int, *, side: float = 1.4, title_height: float = 0.0, gap: float = 0.08, hspace: float = 0.0
) -> tuple[Figure, Any]:
    """Lay out square tiles, with room for labels on the left and titles above."""
    figure = _figure(columns * side + 0.5, rows * (side + hspace / 2) + title_height)
    figure.set_layout_engine("constrained", w_pad=gap / 2, h_pad=gap / 2, wspace=0, hspace=0)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _show(axis: Any, image: Tensor, colors: str, low: float | None = None, high: float | None = None) -> None:
    axis.imshow(image.numpy(), cmap=colors, vmin=low, vmax=high, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


if __name__ == "__main__":
    draw_all(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"), distilled())
