"""The formats, by name: what each is written as, and how it is loaded again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.registry import Registry
from atom_distill.exporting import examples, hub_folder, pictures, tables, tensors


@dataclass(frozen=True)
class Format:
    """A way to write a set.

    Attributes:
        write: writes a set to a path: a file, or into a folder that is there and empty.
        example: four lines of Python that load what lies at a place (a path, or a name on the hub) and leave `loader`,
            which gives batches of images and labels to train on.
        suffix: of the file; none for a format that is a folder.
        clips: whether its images are pictures alone, which cannot hold what lies outside the range of a pixel.
        hub: whether the folder is laid out for the hub.
    """

    write: Callable[[DistilledDataset, Path], None]
    example: Callable[[DistilledDataset, str], str]
    suffix: str = ""
    clips: bool = False
    hub: bool = False


FORMATS: Registry[Format] = Registry("format")
FORMATS.register("pt")(Format(tensors.write_pt, examples.pt, suffix=".pt"))
FORMATS.register("npz")(Format(tensors.write_npz, examples.npz, suffix=".npz"))
FORMATS.register("parquet")(Format(tables.write_parquet, examples.parquet))
FORMATS.register("imagefolder")(Format(pictures.write_imagefolder, examples.pictures, clips=True))
FORMATS.register("hf")(Format(hub_folder.write_hub_folder, examples.hub, hub=True))
