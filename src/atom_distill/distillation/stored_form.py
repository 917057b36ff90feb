"""How a run stores its images: fitted to real images before the first step, rounded by steps that are fitted again."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from atom_distill.base.errors import ConfigError
from atom_distill.base.packing import packed_size
from atom_distill.base.progress import note
from atom_distill.base.seeding import generator
from atom_distill.config.distill import DistillConfig
from atom_distill.distillation.method import RunPlan
from atom_distill.ops.parameterization import Parameterization, Quantized, Stored, build_parameterization, restored
from atom_distill.ops.parameterization.quantized import (
    STEP_BYTES,
    Steps,
    from_integers,
    integers,
    largest_integer,
    steps_for_bits,
    steps_for_bytes,
    within_bits,
)
from atom_distill.ops.preprocessing import Preprocessing

_FITTED_IMAGES, _FITTED_VALUES = 2000, 30_000_000
"""Most images, and most values of all of them, that a parameterization is fitted to."""
_FIRST_REFIT = 8
"""Steps after which the rounding is fitted again for the first time."""
_FLOAT_BITS = 32


def fitted_form(plan: RunPlan, preprocessing: Preprocessing) -> Parameterization:
    """Return the run's parameterization fitted to random training images, a function of the data and the seed."""

    def real_images() -> Tensor:
        images = plan.training.train.images
        count = min(_FITTED_IMAGES, max(1, _FITTED_VALUES // math.prod(plan.dataset.image_shape)))
        chosen = torch.randperm(len(images), generator=generator(plan.settings.seed, "form"))[:count]
        return preprocessing.apply(images[chosen.sort().values])

    return plan.parameterization.fitted(real_images)


def rounded_form(plan: RunPlan, form: Parameterization, stored: Stored) -> Parameterization:
    """Return a fitted parameterization that rounds as the settings ask: with steps fitted to initial values."""
    values = form.values(stored)
    steps = _steps(plan, form, values)
    if steps is not None and not any(bool(counts.any()) for counts in integers(values, steps).values()):
        note(f"{plan.settings.size} leaves nothing of the initial images: all values are rounded to zero. Give more")
    return form if steps is None else Quantized(form, steps)


def restored_form(plan: RunPlan, tensors: Mapping[str, Tensor]) -> Parameterization:
    """Return the parameterization of a run's state, from its fitted tensors.

    Beside a set that is extended, whose steps stay as they are, new values may be larger than their bits can hold:
    networks see them clipped, as the file does.
    """
    form = restored(plan.settings.form, plan.dataset.image_shape, tensors)
    if isinstance(form, Quantized) and _clips(plan):
        return Quantized(form.inner, form.steps, largest_integer(plan.settings.value_bits))
    return form


def refits(plan: RunPlan) -> bool:
    """Return whether the rounding steps of a run follow its values."""
    return isinstance(plan.parameterization, Quantized) and plan.extension is None


def refit_is_due(step: int) -> bool:
    """Return whether the rounding is fitted again after so many steps: 8, 12, 16, 24, 32, 48, ...

    That does not depend on how many there will be: a run that is continued with more steps equals a longer one.
    """
    return step >= _FIRST_REFIT and step % (1 << (step.bit_length() - 2)) == 0


def refitted(plan: RunPlan, stored: Stored) -> dict[str, Tensor]:
    """Fit the rounding of a run to its present values, so that networks see what a file would hold.

    Args:
        plan: of a run whose rounding steps follow its values; its parameterization is changed in place.
        stored: the values of all classes; all ranks have the same.

    Returns:
        The fitted tensors of the parameterization.
    """
    form = plan.parameterization
    assert isinstance(form, Quantized)
    steps = plan.shard.ranks.broadcast_from_rank0(
        lambda: _steps(plan, form.inner, form.inner.values(stored), near=form.steps)
    )
    assert steps is not None  # as there were some before
    form.round_to(steps)
    return form.tensors()


def finished(plan: RunPlan, stored: Stored) -> tuple[Parameterization, Stored]:
    """Return what a file holds of the run's values, in its units, and what decodes it.

    The steps are fitted again, so that the file has the size that was asked for; those of a set that is extended stay
    as they are, as its rows do.
    """
    form, extension = plan.parameterization, plan.extension
    inner = form.inner if isinstance(form, Quantized) else form
    values, plain = inner.values(stored), build_parameterization(plan.settings.form, plan.dataset.image_shape)
    steps = _steps(plan, inner, values)
    if steps is not None:
        counts = integers(values, steps)
        if _clips(plan):
            counts = within_bits(counts, plan.settings.value_bits)
        values = from_integers(counts, steps)
    kept = values if extension is None else extension.kept(values)
    return plain if steps is None else Quantized(plain, steps), kept


def require_room(settings: DistillConfig, parameterization: Parameterization, num_classes: int) -> None:
    """Make sure, before anything is written or trained, that a size in bytes can be kept.

    Raises:
        ConfigError: it is less than the set takes if all of its values are rounded to zero, and a bit for each image.
    """
    left = bytes_for_values(settings, parameterization.image_shape, num_classes)
    images = settings.images(num_classes)
    zeros = {name: torch.zeros(1, row.shape[-1], dtype=torch.int32) for name, row in parameterization.row().items()}
    least = STEP_BYTES + packed_size(zeros) + math.ceil(images / 8)  # columns of zeros take no space for their rows
    if left < least:
        raise ConfigError(
            f"`bytes={settings.bytes}` leaves {left} bytes for the values of all classes, which take {least} at "
            "least: give more, or fewer `pictures`"
        )


def bytes_for_values(settings: DistillConfig, image_shape: tuple[int, int, int], num_classes: int) -> int:
    """Return how many bytes of the size that is asked for are left for the packed values of all classes.

    Raises:
        ConfigError: the transform and the soft labels take all of them.
    """
    assert settings.bytes is not None
    assert settings.pictures is not None
    values = math.prod(image_shape)
    transform = 4 * (values + values * (values + 1) // 2) if settings.preprocess == "zca" else 8 * image_shape[0]
    labels = 2 * settings.pictures * num_classes**2 if settings.soft_labels else 0
    left = settings.bytes * num_classes - transform - labels
    if left <= 0:
        taken = f"the transform ({transform} bytes)" + (f" and the soft labels ({labels} bytes)" if labels else "")
        raise ConfigError(
            f"a size of {settings.bytes} bytes per class, {settings.bytes * num_classes} in all, is less than {taken} "
            'alone: give more `bytes` or `ipc`, `preprocess="normalize"`, or fewer `pictures`'
        )
    return left


def _clips(plan: RunPlan) -> bool:
    return plan.extension is not None and plan.settings.bytes is None and plan.settings.value_bits < _FLOAT_BITS


def _steps(
    plan: RunPlan, inner: Parameterization, values: Stored, near: Steps | None = None
) -> Mapping[str, Tensor] | None:
    """Return rounding steps of values in the units of a file; None where they are stored as float32."""
    settings = plan.settings
    if plan.extension is not None:
        return plan.extension.steps
    values = {name: tensor.detach().cpu() for name, tensor in values.items()}
    if settings.bytes is None:
        return None if settings.value_bits == _FLOAT_BITS else steps_for_bits(inner, values, settings.value_bits)
    limit = bytes_for_values(settings, plan.dataset.image_shape, plan.dataset.num_classes)
    return steps_for_bytes(values, packed_size, limit - STEP_BYTES * len(values), near)
