"""Draw what networks of several architectures attend to in the same distilled images.

    python tools/attention_picture.py RUN --out PNG [--arch convnet vit] [--epochs 10] [--images 5]

The first image of each class is shown, and beside it, for each architecture, its spatial attention, averaged over all
blocks but the last: of a transformer, what its tokens attend to. The networks are trained on the real images as those
of a pool are, and kept in the cache; with --epochs 0 they have random weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

import atom_distill as ad
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.pictures import fit_contrast
from atom_distill.base.device import pick_device
from atom_distill.base.files import atomic_path
from atom_distill.base.seeding import generator
from atom_distill.data.original import request_of
from atom_distill.models.initialization import reinitialize
from atom_distill.models.network import Network
from atom_distill.ops.matching import where
from atom_distill.processes.ranks import Ranks
from atom_distill.training.pool import Pool, PoolRecipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POWER = 2.0
"""Of the attention: at the 4 of the objective, a few places have all the weight."""


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a distilled set")
    parser.add_argument("--out", type=Path, required=True, help="PNG file")
    parser.add_argument("--arch", nargs="+", default=["convnet", "vit"], help="architectures")
    parser.add_argument("--epochs", type=int, default=10, help="of each network on the real images; 0: untrained")
    parser.add_argument("--images", type=int, default=5, help="classes that are shown")
    options = parser.parse_args()
    distilled = DistilledDataset.load(options.run)
    networks = {arch: network_of(distilled, arch, options.epochs) for arch in options.arch}
    with atomic_path(options.out) as temporary:
        picture(distilled, networks, options.images).savefig(temporary, format="png", metadata={"Software": None})


def network_of(distilled: DistilledDataset, arch: str, epochs: int) -> Network:
    """Return a network in evaluation mode: trained on the real images of a set, or with random weights."""
    fresh = ad.build_model(arch, distilled.image_shape, len(distilled.class_names))
    if not epochs:
        reinitialize(fresh, generator(0, "attention picture"))
        return fresh.eval()
    dataset = ad.load_dataset(**request_of(distilled.dataset))
    kind, trained_by = distilled.preprocessing.kind, "pool-vit" if fresh.is_transformer else "pool"
    pool = Pool(PoolRecipe(1, epochs, arch, fresh.shape, kind, pick_device("auto"), trained_by), dataset)
    pool.train(distilled.preprocessing, Ranks())
    (network,) = pool.last_networks()
    return network.cpu().eval()


@torch.no_grad()
def attention(network: Network, images: Tensor) -> Tensor:
    """Return where a network looks in images [B, C, H, W]: the mean of its blocks but the last, [B, H, W] up to 1."""
    features = network.features(images)
    size = images.shape[2:]
    layers = []
    for maps, places in list(zip(features.maps, features.places, strict=True))[:-1]:
        seen = where(places, power=_POWER).view(len(images), 1, *maps.shape[2:])
        enlarged = F.interpolate(seen, size, mode="bilinear", align_corners=False)
        layers.append(enlarged / enlarged.amax((2, 3), keepdim=True))
    return torch.stack(layers).mean(0).squeeze(1)


def picture(distilled: DistilledDataset, networks: dict[str, Network], count: int) -> Figure:
    """Return a figure: a row for each class, its first image, and what each network attends to in it."""
    from matplotlib.figure import Figure

    firsts = [int((distilled.labels == label).nonzero()[0]) for label in range(len(distilled.class_names))][:count]
    images = distilled.images[firsts]
    shown = fit_contrast(distilled.preprocessing.invert(images)).permute(0, 2, 3, 1)
    seen = {name: attention(network, images) for name, network in networks.items()}
    columns = ["image", *seen]
    figure = Figure(figsize=(1.5 * len(columns), 1.5 * len(firsts) + 0.3), dpi=120, layout="constrained")
    axes = figure.subplots(len(firsts), len(columns), squeeze=False)
    for row, (axis_row, index) in enumerate(zip(axes, firsts, strict=True)):
        axis_row[0].imshow(shown[row].squeeze(2).numpy(), cmap="gray")
        axis_row[0].set_ylabel(distilled.class_names[int(distilled.labels[index])])
        for axis, maps in zip(axis_row[1:], seen.values(), strict=True):
            axis.imshow(maps[row].numpy(), cmap="magma", vmin=0)
        for axis in axis_row:
            axis.set_xticks([])
            axis.set_yticks([])
    for axis, title in zip(axes[0], columns, strict=True):
        axis.set_title(title)
    return figure


if __name__ == "__main__":
    main()
