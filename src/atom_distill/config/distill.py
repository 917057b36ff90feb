"""The settings that every distillation has; a method may add its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from atom_distill.base.network_shape import Activation, NetworkShape, Norm, Pooling
from atom_distill.config.augmentation import DSA_OPERATIONS, Augmentation, operations_of

Preset = Literal["paper", "fast", "best"]
Init = Literal["real", "noise", "k-means"]
RealBatches = Literal["random", "k-means"]
Preprocess = Literal["zca", "normalize"]
ImageOptimizer = Literal["sgd", "adam"]
CompileMode = Literal["auto", "on", "off"]
Precision = Literal["auto", "float32", "bfloat16"]


_FREQUENCY = "frequency-"


def stored_form(settings: Mapping[str, Any]) -> str:
    """Return the name of the parameterization of a run; if its size is in bytes, each row stores one image."""
    name = str(settings.get("parameterization") or "pixels")
    if not settings.get("bytes"):
        return name
    luma, *others = name.removeprefix(_FREQUENCY).split("-")
    return f"{_FREQUENCY}{luma}-{others[0] if others else luma}-1"


def architectures_of(arch: str) -> tuple[str, ...]:
    """Return the names of the matching networks in a setting `arch`, where they are joined by "+"."""
    return tuple(arch.split("+"))


def bits_of_values(settings: Mapping[str, Any]) -> int:
    """Return the bits of a stored value of a run whose size is not given in bytes."""
    by_default = 8 if str(settings.get("parameterization")).startswith(_FREQUENCY) else 32
    return int(settings.get("bits") or by_default)


def stored_form_title(settings: Mapping[str, Any]) -> str | None:
    """Return parameterization and precision of a run as text; None if it stores float32 images."""
    name = str(settings.get("parameterization") or "pixels")
    if settings.get("bytes"):
        return f"{name} in {settings['bytes']} bytes a class"
    bits = bits_of_values(settings)
    if bits == 32:
        return None if name == "pixels" else name
    return f"{name} of {bits} bits"


def default_text(text: str) -> dict[str, JsonValue]:
    """Return the extra of a field whose default depends on the data set, the method or the machine, to show as text."""
    return {"default_text": text}


class MethodSettings(BaseModel):
    """The settings of one method; subclasses add fields with a default and a description.

    They become options of the command line and keys of config.yaml beside the fields of `DistillConfig`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DistillConfig(BaseModel):
    """Every setting of a run that does not belong to its method. Frozen; unknown names are refused.

    Fields without a default get the papers' value for the data set and ipc (`config.presets`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    preset: Preset = Field(
        default="paper",
        description="Source of defaults: `paper`, `fast` (good results in few steps), or `best` (the highest accuracy "
        "for the size, with many compressed pictures and networks trained beforehand; ipc N means the bytes of N "
        "images at 8 bits per value).",
    )
    method: str = Field(
        default="atom",
        description="Method: atom, datadam, dm, dc, dsa, random, herding, k-center, k-means, forgetting, or "
        "module:name.",
    )
    ipc: int | None = Field(
        default=None,
        ge=1,
        description="Synthetic images per class (images).",
        json_schema_extra=default_text("none: give ipc, budget or bytes"),
    )
    budget: int | None = Field(
        default=None,
        ge=1,
        description="Instead of ipc: total synthetic images, allocated in proportion to class sizes (images).",
        json_schema_extra=default_text("not used"),
    )
    bytes: int | None = Field(
        default=None,
        ge=1,
        description="Instead of ipc: size of the stored set with everything it needs (bytes per class).",
        json_schema_extra=default_text("not used"),
    )
    pictures: int | None = Field(
        default=None,
        ge=1,
        description="With bytes: number of images per class that share them.",
        json_schema_extra=default_text(
            "61 for the bytes of one 32x32 color image at 8 bits per value, 61 n^0.75 for n; at most half of a class"
        ),
    )
    steps: int = Field(
        default=8000,
        ge=1,
        description="Updates of the images; for dc and dsa: number of networks, with about ipc updates each (steps).",
    )
    seed: int = Field(default=0, ge=0, description="Seed of every random draw.")
    init: Init = Field(
        default="real",
        description="Initial images: random real ones of the class, Gaussian noise, or k-means: real ones nearest to "
        "the centers of clusters of the class's embeddings in a trained network (the first of the pool, if any).",
    )
    batch_real: int = Field(default=128, ge=1, description="Real images per class and step (images).")
    real_batches: RealBatches = Field(
        default="random",
        description="Real images of a step: random ones of the class, or k-means: one near the center of each of "
        "batch_real clusters of the class's embeddings, in the network of init k-means.",
    )
    batch_synthetic: int = Field(
        default=0,
        ge=0,
        description="Stored images per class and step, drawn anew at each step; 0: all (images).",
    )
    batch_classes: int = Field(
        default=0, ge=0, description="Classes in a step, drawn anew at each step; 0: all (classes)."
    )
    nested: bool = Field(
        default=False,
        description="Order the images of each class so that its first 1, 2, 5, 10, ... are good sets by themselves.",
    )
    extend: str | None = Field(
        default=None,
        description="Folder of a finished run to which images are added: its own come first and stay unchanged. "
        "Settings that you leave out are those of that run.",
        json_schema_extra=default_text("not used"),
    )
    add_classes: str | None = Field(
        default=None,
        description="Folder of a finished run of some classes of the data set: their images stay unchanged, and those "
        "of the other classes are added, with the settings of that run.",
        json_schema_extra=default_text("not used"),
    )
    image_optimizer: ImageOptimizer = Field(default="sgd", description="Optimizer of the images: SGD or Adam.")
    image_lr: float = Field(
        gt=0,
        description="Learning rate of the images.",
        json_schema_extra=default_text("1, or 10 above ipc 50; with adam 0.02"),
    )
    image_momentum: float = Field(default=0.5, ge=0, lt=1, description="Momentum of SGD, the first beta of Adam.")
    image_average: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Decay of a running average of the images, which becomes the result; 0: the last images.",
    )
    preprocess: Preprocess = Field(
        description="ZCA whitening or channel normalization.",
        json_schema_extra=default_text("zca for color images up to 32x32, normalize otherwise"),
    )
    augment: Augmentation = Field(default=DSA_OPERATIONS, description="DSA operations joined by '_', or none.")
    arch: str = Field(
        default="convnet",
        description="Matching network: convnet, alexnet, vgg11, resnet18, vit, or timm:NAME; several (--arch "
        "convnet vit, in a file convnet+vit) take turns from step to step.",
    )
    depth: int | None = Field(
        default=None,
        ge=1,
        description="Blocks of the matching network.",
        json_schema_extra=default_text("for convnet 3 up to 32x32, one more for each doubling of the side"),
    )
    width: int | None = Field(
        default=None,
        ge=1,
        description="Channels per block of the matching network.",
        json_schema_extra=default_text("128 for convnet"),
    )
    norm: Norm | None = Field(
        default=None,
        description="Normalization layers of the matching network.",
        json_schema_extra=default_text("instance for convnet"),
    )
    activation: Activation | None = Field(
        default=None, description="Activation of the matching network.", json_schema_extra=default_text("relu")
    )
    pooling: Pooling | None = Field(
        default=None, description="Pooling of the matching network.", json_schema_extra=default_text("avg for convnet")
    )
    parameterization: str = Field(
        default="pixels",
        description="What is stored and optimized: pixels, tiles-2, tiles-3 or tiles-4 (a grid of smaller images in "
        "place of each), frequency-A-B (low frequencies: A x A of the luma, B x B of the chroma), or "
        "module:name (a `Parameterization`).",
        json_schema_extra=default_text("pixels; with bytes frequency-A-B, 3/4 and 3/8 of the image side"),
    )
    bits: Literal[32, 16, 8, 6, 4, 2] | None = Field(
        default=None,
        description="Precision of a stored value (bits), to which it is rounded during optimization; 32 is float32. "
        "With bytes, the size determines it.",
        json_schema_extra=default_text("8 for frequency-A-B, else 32"),
    )
    networks: str = Field(
        default="fresh",
        description="Network of each step: fresh (new random weights), snapshot (weights of the pool after some "
        "epoch), interpolated (between initial weights and a snapshot), or module:name.",
    )
    pool: int = Field(
        default=0,
        ge=0,
        description="Networks trained on all real images before the first step, once for all runs; 0: none.",
    )
    pool_epochs: int = Field(
        default=10, ge=1, description="Training of each network of the pool (epochs), with a snapshot after each epoch."
    )
    label_weight: float = Field(
        default=0.0,
        ge=0,
        description="Weight of the synthetic images' cross-entropy in a late snapshot of the pool; 0: off.",
    )
    soft_labels: bool = Field(
        default=False,
        description="Label the resulting images with the mean probabilities of the pool's networks, which take 2 "
        "bytes per class and image.",
    )
    eval_every: int = Field(
        default=0, ge=0, description="Steps between evaluations on held-out training images; 0: no evaluations."
    )
    eval_epochs: int = Field(default=300, ge=1, description="Length of each of these evaluations (epochs).")
    eval_repeats: int = Field(default=1, ge=1, description="Networks in each of these evaluations.")
    holdout: float = Field(
        default=0.1, gt=0, lt=1, description="Fraction of the training images held out for these evaluations."
    )
    checkpoint_every: int = Field(
        default=100, ge=0, description="Steps between checkpoints; 0: only at the end and on Ctrl-C."
    )
    snapshots: int = Field(
        default=10,
        ge=0,
        description="Maximum number of steps at which the images are kept for the report; 0: none.",
    )
    tensorboard: bool = Field(default=False, description="Also write the curves for TensorBoard in the run folder.")
    device: str = Field(default="auto", description="cpu, cuda, cuda:N, mps, or auto for the best available.")
    compile: CompileMode = Field(
        default="auto", description="Use of torch.compile; auto: if the run is long enough to gain from it."
    )
    real_dtype: Precision = Field(
        default="auto",
        description="Precision for the real images; auto: bfloat16 if the processor supports it.",
    )
    synthetic_dtype: Precision = Field(
        default="float32",
        description="Precision for the synthetic images; auto: bfloat16 if the processor supports it. With float32 on "
        "a CPU, the backward convolutions have the precision of the real images.",
    )
    chunk: int = Field(
        default=0,
        ge=0,
        description="Maximum images in one forward pass; 0: chosen from the resolution and the memory limit.",
    )
    memory: float | None = Field(
        default=None,
        gt=0,
        description="Memory limit per process (GiB), on a GPU of the GPU's memory; it limits the chunk.",
        json_schema_extra=default_text("no limit"),
    )

    @model_validator(mode="after")
    def _has_one_size(self) -> Self:
        if sum(size is not None for size in (self.ipc, self.budget, self.bytes)) != 1:
            raise ValueError(
                "how many images? Give either `ipc` (images per class) or `budget` (images in all), or `bytes` (size "
                "per class)"
            )
        return self

    @model_validator(mode="after")
    def _spends_bytes(self) -> Self:
        if self.bytes is None:
            if self.pictures is not None:
                raise ValueError("`pictures` says how `bytes` are spent: give `bytes`, or `ipc` without `pictures`")
            return self
        preset = " (the preset best makes bytes of a number of images)" if self.preset == "best" else ""
        if self.bits is not None:
            raise ValueError(f"`bytes` decides the precision of the values: give `bytes` or `bits`, not both{preset}")
        if not self.parameterization.startswith(_FREQUENCY):
            raise ValueError(
                f"`bytes` needs a `parameterization` of frequencies, such as frequency-6-3, or none{preset}"
            )
        return self

    @model_validator(mode="after")
    def _has_prefixes(self) -> Self:
        if self.nested and self.budget is not None:
            raise ValueError("`nested` needs equally many images in each class: give `ipc` or `bytes`, not `budget`")
        return self

    @model_validator(mode="after")
    def _has_a_teacher(self) -> Self:
        if self.soft_labels and not self.pool:
            raise ValueError("`soft_labels` needs a pool of trained networks: give `pool=2` or so")
        return self

    @model_validator(mode="after")
    def _has_a_judge(self) -> Self:
        if self.label_weight and not self.pool:
            raise ValueError(
                "`label_weight` needs a pool of trained networks: give `pool=2` or so, or `label_weight=0`"
            )
        return self

    @model_validator(mode="after")
    def _has_both_ends(self) -> Self:
        if self.snapshots == 1:
            raise ValueError("`snapshots` must be 0, or at least 2 (the initial images and the last)")
        return self

    @property
    def size(self) -> str:
        """The number of images, for people."""
        sizes = {"ipc": self.ipc, "budget": self.budget, "bytes": self.bytes}
        return next(f"{name} {size}" for name, size in sizes.items() if size is not None)

    @property
    def extended_run(self) -> str | None:
        """The folder of the finished run that this one extends, if it does."""
        return self.extend or self.add_classes

    @property
    def rows_per_class(self) -> int | None:
        """Stored rows of each class; None if there is a budget."""
        return self.pictures if self.ipc is None else self.ipc

    @property
    def value_bits(self) -> int:
        """Bits of a stored value of a run whose size is not given in bytes."""
        return bits_of_values(self.model_dump(include={"parameterization", "bits"}))

    @property
    def form(self) -> str:
        """See `stored_form`."""
        return stored_form(self.model_dump(include={"parameterization", "bytes"}))

    def images(self, num_classes: int) -> int:
        """Return the number of stored rows of all classes."""
        return self.budget or (self.rows_per_class or 0) * num_classes

    def classes_in_step(self, num_classes: int) -> int:
        """Return the number of classes that a step works on."""
        return min(num_classes, self.batch_classes or num_classes)

    def images_in_step(self, num_classes: int) -> int:
        """Return the number of stored rows of all classes that a step works on, on average."""
        classes = self.classes_in_step(num_classes)
        everything = self.images(num_classes) * classes // num_classes
        return min(everything, self.batch_synthetic * classes) if self.batch_synthetic else everything

    @property
    def users_of_pool(self) -> frozenset[str]:
        """Names of the settings that make use of a pool, if there is one."""
        used = {
            "networks": self.networks != "fresh",
            "label_weight": self.label_weight > 0,
            "init": self.init == "k-means",
            "real_batches": self.real_batches == "k-means",
            "soft_labels": self.soft_labels,
        }
        return frozenset(name for name, is_used in used.items() if is_used)

    @property
    def architectures(self) -> tuple[str, ...]:
        """The matching networks, which take turns in the steps."""
        return architectures_of(self.arch)

    def network_shape(self) -> NetworkShape:
        """Return what each matching network is asked to be; None leaves a choice to the architecture."""
        return NetworkShape(self.depth, self.width, self.norm, self.activation, self.pooling)

    def operations(self) -> tuple[str, ...]:
        """Return the DSA operations, an empty tuple for none."""
        return operations_of(self.augment)


CHANGEABLE_ON_RESUME = frozenset({"steps", "checkpoint_every", "snapshots", "tensorboard"})
"""Settings that may differ when a run is resumed: none changes what a given step computes."""
EXECUTION = frozenset({"device", "compile", "real_dtype", "synthetic_dtype", "chunk", "memory"})
"""How a step is computed, not what: these settings change only rounding."""
