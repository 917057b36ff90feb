"""Learning-rate schedules by name: the learning rate of each epoch as a factor of the protocol's."""

from __future__ import annotations

import math
from collections.abc import Callable

from atom_distill.base.registry import Registry
from atom_distill.config.training_protocol import TrainingProtocol

Schedule = Callable[[int, TrainingProtocol], float]
"""From an epoch, counted from 0, and the protocol to the factor on its learning rate."""
SCHEDULES: Registry[Schedule] = Registry("learning-rate schedule")


@SCHEDULES.register("step")
def step(epoch: int, protocol: TrainingProtocol) -> float:
    """Return 1, and `drop_to` from the epoch on that is `drop_at` of all (the DM code: 0.1 from half time on)."""
    return protocol.drop_to if epoch >= max(1, round(protocol.epochs * protocol.drop_at)) else 1.0


@SCHEDULES.register("two-steps")
def two_steps(epoch: int, protocol: TrainingProtocol) -> float:
    """Return 1, `drop_to` from 2/3 of the epochs on, and its square from 5/6 on (the IDC code, with 0.2)."""
    # The first epoch has the whole learning rate, however few there are.
    drops = sum(epoch >= max(1, place) for place in (2 * protocol.epochs // 3, 5 * protocol.epochs // 6))
    return protocol.drop_to**drops


@SCHEDULES.register("cosine")
def cosine(epoch: int, protocol: TrainingProtocol) -> float:
    """Return (1 + cos(pi epoch / epochs)) / 2: from 1 down to almost 0 (Loshchilov & Hutter, ICLR 2017, one cycle)."""
    return (1 + math.cos(math.pi * epoch / protocol.epochs)) / 2


@SCHEDULES.register("constant")
def constant(_epoch: int, _protocol: TrainingProtocol) -> float:
    """Return 1."""
    return 1.0


def warm_up(passed: float, protocol: TrainingProtocol) -> float:
    """Return the further factor of a linear warm-up: from 0 to 1 over the first `warmup` of all epochs, then 1.

    Args:
        passed: epochs that are done after the update, with a fraction; the first update has a rate above 0.
        protocol: its `warmup`, 0 for none.
    """
    length = protocol.warmup * protocol.epochs
    return min(1.0, passed / length) if length else 1.0
