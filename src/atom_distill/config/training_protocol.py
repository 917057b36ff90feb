"""Training protocols: how a network is trained on a set before it is scored. Each has a name."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from atom_distill.base.errors import AtomError, ConfigError
from atom_distill.base.registry import Registry
from atom_distill.config.augmentation import DSA_OPERATIONS, Augmentation, operations_of
from atom_distill.config.presets import validated

Loss = Literal["cross-entropy", "mse"]
Optimizer = Literal["sgd", "adamw"]

_TEXT = re.compile(r"([\w:.-]+)(?:\(([^()]*)\))?")
_IGNORED_BY = {"drop_at": ("two-steps", "cosine", "constant"), "drop_to": ("cosine", "constant")}
"""Schedules that do not read a setting."""


class TrainingProtocol(BaseModel):
    """One way of training networks from scratch; scores of different protocols cannot be compared."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(description="Name of the protocol.")
    epochs: int = Field(default=1000, ge=1, description="Passes over the set (epochs).")
    batch_size: int = Field(default=256, ge=1, description="Images per update (images).")
    optimizer: Optimizer = Field(default="sgd", description="Optimizer of the network: SGD or AdamW.")
    lr: float = Field(default=0.01, gt=0, description="Learning rate of the network.")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of SGD, the first beta of AdamW.")
    weight_decay: float = Field(
        default=5e-4, ge=0, description="Weight decay: part of the gradient in SGD, applied separately in AdamW."
    )
    warmup: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Warm-up, in which the learning rate rises to its schedule (fraction of the epochs).",
    )
    schedule: str = Field(default="step", description="Learning-rate schedule: step, two-steps, cosine or constant.")
    drop_at: float = Field(
        default=0.5, gt=0, le=1, description="When the schedule step drops the learning rate (fraction of the epochs)."
    )
    drop_to: float = Field(
        default=0.1, gt=0, le=1, description="Factor for the learning rate at each drop of step and two-steps."
    )
    loss: Loss = Field(
        default="cross-entropy",
        description="Cross-entropy, or mean squared error of the probabilities; both take hard and soft labels.",
    )
    temperature: float = Field(default=1.0, gt=0, description="Temperature that divides the logits in the loss.")
    augment: Augmentation = Field(
        default=DSA_OPERATIONS, description="DSA operations joined by '_', one of which each batch gets; or none."
    )
    augment_always: Augmentation = Field(
        default="none", description="DSA operations applied to every batch, in this order and before that of augment."
    )
    cutmix: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Probability that a batch gets CutMix: a box from another image, labels mixed by area.",
    )

    def operations(self) -> tuple[str, ...]:
        """Return the DSA operations, an empty tuple for none."""
        return operations_of(self.augment)

    def augmentations(self) -> list[tuple[str, ...]]:
        """Return the operations that a batch goes through one after the other: of each tuple, it gets one."""
        drawn = [self.operations()] if self.operations() else []
        return [*((name,) for name in operations_of(self.augment_always)), *drawn]

    def same_compute(self, images_per_stored: float) -> TrainingProtocol:
        """Return the protocol with fewer epochs, so that a set costs as many updates as its stored images would.

        Args:
            images_per_stored: decoded images per stored image; the epochs are divided by it, down to 1 at least.

        Source: `same_compute` of the IDC code.
        """
        epochs = max(1, int(self.epochs / images_per_stored))
        name = f"{self.name}(same-compute,epochs={epochs})"
        return self if epochs == self.epochs else self.model_copy(update={"name": name, "epochs": epochs})

    def changed(self, **values: object) -> TrainingProtocol:
        """Return the protocol with other values, and with the changes in its name, so that scores are kept apart.

        Raises:
            ConfigError: values are out of range, or the schedule does not read one that is changed.
            UnknownNameError: a value's name does not exist.
        """
        changed, base = validated(TrainingProtocol, {**self.model_dump(), **values}), self._origin()
        # In the order of the fields and of their types, so that the same changes have one name, however they are given.
        before, after = base.model_dump(exclude={"name"}), changed.model_dump(exclude={"name"})
        changes = {field: value for field, value in after.items() if value != before[field]}
        if not changes:
            return base
        for field in sorted(changes.keys() & _IGNORED_BY.keys()):
            if changed.schedule in _IGNORED_BY[field]:
                raise ConfigError(
                    f"`{field}` changes nothing with `schedule` {changed.schedule}: leave it out, or use step"
                )
        label = ",".join(f"{field}={value}" for field, value in changes.items())
        return changed.model_copy(update={"name": f"{base.name}({label})"})

    def _origin(self) -> TrainingProtocol:
        """Return the named protocol that this one is a change of, or else this one."""
        try:
            base, changes = parsed(self.name)
        except AtomError:
            return self
        return base if base.model_copy(update={**changes, "name": self.name}) == self else self


def protocol_of(text: str, **values: object) -> TrainingProtocol:
    """Return the protocol that a text names as scores do, e.g. `dm` or `dm(lr=0.003,epochs=300)`.

    Args:
        text: name of a protocol, with changed values in parentheses.
        values: further changes, where the text does not name them.

    Raises:
        ConfigError: values are out of range, or the schedule does not read one that is changed.
        UnknownNameError: the protocol or a value's name does not exist.
    """
    base, changes = parsed(text)
    return base.changed(**{**values, **changes})


def parsed(text: str) -> tuple[TrainingProtocol, dict[str, Any]]:
    """Return the protocol whose name a text begins with, and the values that it changes; see `protocol_of`.

    Raises:
        ConfigError: the text is not of this form, or a value is out of range.
        UnknownNameError: the protocol or a value's name does not exist.
    """
    found = _TEXT.fullmatch(text)
    changes = [change.partition("=") for change in (found[2] or "").split(",") if change.strip()] if found else []
    if found is None or not all(equals for _, equals, _ in changes):
        more = "; for the same compute, give `same_compute`" if "same-compute" in text else ""
        raise ConfigError(
            f"a protocol is a name, perhaps with changes in parentheses such as dm(epochs=300,lr=0.02), not {text!r}"
            + more
        )
    base, given = PROTOCOLS.get(found[1]), {field.strip(): value.strip() for field, _, value in changes}
    if len(given) < len(changes):
        raise ConfigError(f"{text!r} gives a value twice: leave one out")
    if "name" in given:
        raise ConfigError(f"the name of a protocol follows from its changes: leave it out of {text!r}")
    typed = validated(TrainingProtocol, {**base.model_dump(), **given}).model_dump()
    return base, {field: typed[field] for field in given}


PROTOCOLS: Registry[TrainingProtocol] = Registry("protocol")
PROTOCOLS.register("dm")(TrainingProtocol(name="dm"))
"""What the DM and DataDAM code does: 1000 epochs, learning rate x 0.1 at half time, DSA on, batch 256."""
PROTOCOLS.register("idc")(
    TrainingProtocol(
        name="idc",
        batch_size=64,
        schedule="two-steps",
        drop_to=0.2,
        augment="crop_scale_rotate",
        augment_always="flip_color",
        cutmix=0.5,
    )
)
"""What the IDC code does for CIFAR-10: 1000 epochs at any ipc, learning rate x 0.2 at 2/3 and again at 5/6 of them,
batch 64, CutMix for half of the batches, and DSA without cutout, of which every batch gets flips and color jitter."""
PROTOCOLS.register("quick")(TrainingProtocol(name="quick", epochs=200, lr=0.05, schedule="cosine"))
"""To rank sets in a fifth of the time of dm. Its learning rates sum to 5.0 over the epochs (those of dm: 5.5), so that
networks get about as far, and it ends with a small one, so that they settle."""
PROTOCOLS.register("search")(TrainingProtocol(name="search", epochs=200))
"""The protocol dm for a fifth of the epochs, since many architectures have to be ranked."""
PROTOCOLS.register("pool")(TrainingProtocol(name="pool", epochs=10, batch_size=128, lr=0.05, schedule="cosine"))
"""How the networks of a pool are trained on all real images."""
PROTOCOLS.register("vit")(
    TrainingProtocol(
        name="vit",
        epochs=300,
        batch_size=64,
        optimizer="adamw",
        lr=5e-4,
        weight_decay=0.05,
        warmup=0.1,
        schedule="cosine",
        augment="crop_cutout_scale_rotate",
        augment_always="flip_color",
        cutmix=0.5,
    )
)
"""To train transformers on few images: AdamW and a warm-up as DeiT (Touvron et al., ICML 2021) has them, and stronger
augmentation than dm. The values are usual ones, not tuned: `benchmarks/vit_recipe.py` compares learning rates, weight
decays and strengths on held-out training images, with random real sets."""
PROTOCOLS.register("pool-vit")(
    TrainingProtocol(
        name="pool-vit",
        epochs=10,
        batch_size=128,
        optimizer="adamw",
        lr=1e-3,
        weight_decay=0.05,
        warmup=0.1,
        schedule="cosine",
    )
)
"""The same for transformers, which the learning rate and SGD of pool do not train."""
