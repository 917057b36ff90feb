"""The settings of a distillation, checked all at once."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from atom_distill.base.network_shape import Activation, Norm, Pooling
from atom_distill.config.augmentation import DSA_OPERATIONS, Augmentation, operations_of

Preset = Literal["paper", "fast"]
Init = Literal["real", "noise"]
Preprocess = Literal["zca", "normalize"]
ImageOptimizer = Literal["sgd", "adam"]
CompileMode = Literal["auto", "on", "off"]
Precision = Literal["auto", "float32", "bfloat16"]


def _told(default: str) -> dict[str, JsonValue]:
    """Tell people the default of a field that depends on the data set or the method."""
    return {"default_text": default}


_AS_METHOD = _told("as the method does")


class DistillConfig(BaseModel):
    """Everything that decides what a run computes. Frozen; unknown names are refused.

    Fields without a default here get the papers' value for the data set and ipc (`config.presets`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    preset: Preset = Field(default="paper", description="Where defaults come from: the papers, or what is soon good.")
    method: str = Field(
        default="atom", description="Method: atom, datadam, dm, dc, dsa, random, herding, k-center, forgetting."
    )
    ipc: int | None = Field(default=None, ge=1, description="Synthetic images per class (images).")
    budget: int | None = Field(
        default=None,
        ge=1,
        description="In place of ipc: synthetic images in all, shared out in proportion to the classes (images).",
    )
    steps: int = Field(
        default=8000, ge=1, description="Updates of the images; for dc and dsa networks with ipc updates each (steps)."
    )
    seed: int = Field(default=0, ge=0, description="Seed of every random draw.")
    init: Init = Field(default="real", description="First images: real ones of the class, or Gaussian noise.")
    batch_real: int = Field(default=128, ge=1, description="Real images per class and step (images).")
    image_optimizer: ImageOptimizer = Field(default="sgd", description="What moves the images: SGD or Adam.")
    image_lr: float = Field(
        gt=0,
        description="Learning rate of the images.",
        json_schema_extra=_told("1, or 10 above ipc 50; with adam 0.02"),
    )
    image_momentum: float = Field(default=0.5, ge=0, lt=1, description="Momentum of SGD, the first beta of Adam.")
    image_average: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Decay of a running average over the steps, which is then the result; 0: the last images.",
    )
    task_balance: float = Field(
        ge=0,
        description="Lambda, the embedding's weight against the attention.",
        json_schema_extra=_told("0.01 up to 32x32, 0.02 above"),
    )
    spatial_power: float = Field(default=4.0, ge=1, description="Exponent p_s of the spatial attention.")
    channel_power: float = Field(default=4.0, ge=1, description="Exponent p_c of the channel attention.")
    spatial: bool | None = Field(default=None, description="Match spatial attention.", json_schema_extra=_AS_METHOD)
    channel: bool | None = Field(default=None, description="Match channel attention.", json_schema_extra=_AS_METHOD)
    embedding: bool | None = Field(default=None, description="Match the embedding.", json_schema_extra=_AS_METHOD)
    preprocess: Preprocess = Field(
        description="ZCA whitening or channel normalization.",
        json_schema_extra=_told("zca for color images up to 32x32, normalize otherwise"),
    )
    augment: Augmentation = Field(default=DSA_OPERATIONS, description="DSA operations joined by '_', or none.")
    arch: str = Field(
        default="convnet",
        description="Matching network: convnet, alexnet, vgg11, resnet18, vit, or timm:NAME.",
    )
    depth: int | None = Field(
        default=None,
        ge=1,
        description="Blocks of the matching network.",
        json_schema_extra=_told("for convnet 3 up to 32x32, one more for each doubling"),
    )
    width: int | None = Field(
        default=None,
        ge=1,
        description="Channels per block of the matching network.",
        json_schema_extra=_told("128 for convnet"),
    )
    norm: Norm | None = Field(
        default=None,
        description="Normalization in the matching network.",
        json_schema_extra=_told("instance for convnet"),
    )
    activation: Activation | None = Field(
        default=None, description="Activation in the matching network.", json_schema_extra=_told("relu")
    )
    pooling: Pooling | None = Field(
        default=None, description="Pooling in the matching network.", json_schema_extra=_told("avg for convnet")
    )
    selection_epochs: int = Field(
        default=10,
        ge=1,
        description="Length of the training on the whole set that herding, k-center and forgetting rest on (epochs).",
    )
    eval_every: int = Field(
        default=0, ge=0, description="Evaluate on held-out training images every so many steps; 0: never."
    )
    eval_epochs: int = Field(default=300, ge=1, description="Length of each of those evaluations (epochs).")
    eval_repeats: int = Field(default=1, ge=1, description="Networks in each of those evaluations.")
    holdout: float = Field(default=0.1, gt=0, lt=1, description="Share of the training images held out for them.")
    checkpoint_every: int = Field(default=100, ge=0, description="Steps between checkpoints; 0: only on Ctrl-C.")
    snapshots: int = Field(
        default=10,
        ge=0,
        description="Pictures of the images on their way, at most so many steps of the run; 0: none.",
    )
    device: str = Field(default="auto", description="cpu, cuda, cuda:N, mps, or auto for the best there is.")
    compile: CompileMode = Field(default="auto", description="torch.compile; auto: where the run is long enough.")
    real_dtype: Precision = Field(
        default="auto", description="Precision of the no-gradient branch; auto: bfloat16 where the processor has it."
    )
    chunk: int = Field(
        default=0, ge=0, description="Images in one forward at most; 0: chosen from the resolution and --memory."
    )
    memory: float | None = Field(
        default=None,
        gt=0,
        description="Most memory that a process of the run may take, on a GPU the GPU's (GiB); it bounds the chunk.",
        json_schema_extra=_told("no bound"),
    )

    @model_validator(mode="after")
    def _has_one_size(self) -> Self:
        if (self.ipc is None) == (self.budget is None):
            raise ValueError("how many images? Give one of --ipc N, images per class, and --budget M, images in all")
        return self

    @model_validator(mode="after")
    def _has_both_ends(self) -> Self:
        if self.snapshots == 1:
            raise ValueError("--snapshots 1 is one too few for the first images and the last; give 2 or more, or 0")
        return self

    @property
    def size(self) -> str:
        """Say for people how many images there are to be."""
        return f"ipc {self.ipc}" if self.budget is None else f"budget {self.budget}"

    def images(self, num_classes: int) -> int:
        """Give the synthetic images of all classes."""
        return self.budget or (self.ipc or 0) * num_classes

    def network_shape(self) -> dict[str, Any]:
        """Give depth, width, norm, activation and pooling of the matching network by name."""
        return {name: getattr(self, name) for name in ("depth", "width", "norm", "activation", "pooling")}

    def operations(self) -> tuple[str, ...]:
        """Give the DSA operations as a tuple, empty for none."""
        return operations_of(self.augment)


CHANGEABLE_ON_RESUME = frozenset({"steps", "checkpoint_every", "snapshots"})
"""What may differ when a run is resumed: none changes what a given step computes."""
EXECUTION = frozenset({"device", "compile", "real_dtype", "chunk", "memory"})
"""How a step is computed, not what: these change rounding only."""
