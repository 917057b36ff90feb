"""The export formats, by name: how a set is written, and how it is loaded again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from atom_distill.artifact.card.content import CardContent
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.registry import Registry
from atom_distill.exporting import compact_folder, examples, hub_folder, image_folder, parquet_table, tensor_files


@dataclass(frozen=True)
class Format:
    """A way to write a set.

    Attributes:
        write: writes a set to a path: a file, or an empty folder that exists.
        example: returns lines of Python that load the export from a place (a path, or a name on the hub) and define
            `loader`, which gives batches of images and labels to train on.
        suffix: of the file; empty for a format that is a folder.
        clips: whether it holds pictures only, which clip what lies outside the range of a pixel.
        hub: whether the folder is laid out for the hub.
    """

    write: Callable[[DistilledDataset, Path], None]
    example: Callable[[CardContent, str], str]
    suffix: str = ""
    clips: bool = False
    hub: bool = False


FORMATS: Registry[Format] = Registry("format")
FORMATS.register("pt")(Format(tensor_files.write_pt, examples.pt, suffix=".pt"))
FORMATS.register("npz")(Format(tensor_files.write_npz, examples.npz, suffix=".npz"))
FORMATS.register("parquet")(Format(parquet_table.write_parquet, examples.parquet))
FORMATS.register("imagefolder")(Format(image_folder.write_imagefolder, examples.pictures, clips=True))
FORMATS.register("safetensors")(Format(compact_folder.write_compact_folder, examples.safetensors))
FORMATS.register("hf")(Format(hub_folder.write_hub_folder, examples.hub, hub=True))
