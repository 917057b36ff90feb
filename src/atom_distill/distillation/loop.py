"""The loop: step, evaluate now and then, write down, checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from atom_distill.base.errors import InterruptedRunError, NonFiniteError
from atom_distill.base.interrupt import StopRequest
from atom_distill.base.progress import Progress
from atom_distill.config.distill import DistillConfig
from atom_distill.distillation.metric_logger import MetricLogger
from atom_distill.distillation.optimizer import ImageOptimizer, RunningAverage
from atom_distill.distillation.run_state import Best, RunState, checkpoints, save_checkpoint
from atom_distill.distillation.shard import Shard
from atom_distill.distillation.snapshot_recorder import SnapshotRecorder

HeldOutAccuracy = Callable[[Tensor], float]
"""From synthetic images in model space to accuracy on held-out training images, percent."""


class Matching(Protocol):
    """What a method makes of one step."""

    def gradients(self, images: Tensor, step: int) -> Iterator[Tensor]:
        """Add a gradient to `images.grad` before each yield, and yield the loss by term, shape [T].

        After each yield the images are moved, and their gradient is forgotten.
        """

    def term_names(self, images: Tensor) -> tuple[str, ...]:
        """Name the terms, whose sum is the loss."""


@dataclass(frozen=True)
class Loop:
    """Optimize the images of a run.

    Attributes:
        matching: computes each step's losses and gradients.
        shard: the classes whose images are optimized here.
        config: the run's settings.
        device: where the images are optimized.
        folder: where checkpoints go; None for a run in memory.
        held_out_accuracy: judges the images every `eval_every` steps.
        recorder: keeps pictures of the images on their way; None keeps none.
        show_progress: draw a bar.
    """

    matching: Matching
    shard: Shard
    config: DistillConfig
    device: torch.device
    folder: Path | None = None
    held_out_accuracy: HeldOutAccuracy | None = None
    recorder: SnapshotRecorder | None = None
    show_progress: bool = True

    def run(self, state: RunState, metrics: MetricLogger) -> RunState:
        """Go from `state`, which is of all classes, to the last step; the result is of all classes, too.

        Raises:
            NonFiniteError: the loss or the images became NaN or infinite.
            InterruptedRunError: Ctrl-C; the state is saved if there is a folder.
        """
        state = state.of_images(self.shard.take)
        self._picture(state, last=False)
        images = state.images.to(self.device).clone().requires_grad_()
        optimizer = ImageOptimizer(images, self.config, state.optimizer)
        average = RunningAverage(self.config.image_average, _on(self.device, state.average))
        label = f"distill ({self.config.method}, {self.config.size})"
        started = time.monotonic() - state.seconds
        bar = Progress(label, total=self.config.steps, done=state.step, enabled=self.show_progress)
        with StopRequest() as stop, bar:
            for step in range(state.step, self.config.steps):
                for parts in self.matching.gradients(images, step):
                    # Read once, and by all ranks together: a signal may arrive at any moment, and at some ranks only.
                    news = torch.cat([parts.cpu().double(), torch.tensor([float(stop.received)])])
                    *terms, stops = self.shard.ranks.sum(news).tolist()
                    loss = math.fsum(terms)
                    if not math.isfinite(loss):
                        raise self._not_finite(f"the loss became {loss}", step)
                    optimizer.step()
                    optimizer.zero_grad()
                # The state's tensors are those that the next step goes on changing.
                shown, best = average.update(images), state.best
                seconds = time.monotonic() - started
                state = RunState(step + 1, images.detach(), optimizer.state, shown, best, seconds)
                named = dict(zip(self.matching.term_names(images), terms, strict=True))
                state = self._evaluate(state, loss, named, metrics)
                last = step + 1 == self.config.steps
                stopped = stops > 0 and not last
                self._picture(state, last=last)
                self._checkpoint(state, now=stopped or last)
                bar.advance(loss=f"{loss:.3f}")
                if stopped:
                    raise self._interrupted(step + 1)
        return state.of_images(self.shard.whole)

    def _evaluate(self, state: RunState, loss: float, terms: Mapping[str, float], metrics: MetricLogger) -> RunState:
        """Write the step down; where an evaluation is due, add it and keep the images if they are the best."""
        every = self.config.eval_every
        if self.held_out_accuracy is None or not every or state.step % every:
            metrics.write(state.step, loss, terms)
            return state
        images = self.shard.whole(state.result).cpu().clone()
        accuracy = self.held_out_accuracy(images)
        metrics.write(state.step, loss, terms, held_out_accuracy=accuracy)
        if state.best is not None and accuracy <= state.best.accuracy:
            return state
        return replace(state, best=Best(images, state.step, accuracy))

    def _picture(self, state: RunState, *, last: bool) -> None:
        """Take a picture of the images where one is due; all ranks agree on when."""
        if self.recorder is not None and self.recorder.is_due(state.step, last=last):
            self.recorder.add(state.step, self.shard.whole(state.result))

    def _checkpoint(self, state: RunState, *, now: bool) -> None:
        every = self.config.checkpoint_every
        if not (now or (every and state.step % every == 0)):
            return
        state = state.of_images(self.shard.whole)
        if not bool(torch.isfinite(state.images).all()):
            raise self._not_finite("the images became NaN or infinite", state.step - 1)
        folder, recorder = self.folder, self.recorder

        def save() -> None:
            assert folder is not None
            if recorder is not None:
                recorder.save()  # first, so that no checkpoint is ahead of its pictures
            save_checkpoint(folder, state)

        if folder is not None:
            self.shard.ranks.broadcast_from_rank0(save)

    def _not_finite(self, what: str, step: int) -> NonFiniteError:
        saved = checkpoints(self.folder) if self.folder is not None else []
        good = f"the last good checkpoint is {saved[-1]}" if saved else "there is no checkpoint yet"
        if step == 0:
            advice = "No image has moved yet: look for an extreme --spatial-power, --channel-power or --task-balance"
        else:
            advice = f"Try a smaller image learning rate (--image-lr, now {self.config.image_lr:g}), in a new --out"
        return NonFiniteError(f"{what} at step {step + 1}; {good}. {advice}")

    def _interrupted(self, step: int) -> InterruptedRunError:
        if self.folder is None:
            return InterruptedRunError(f"stopped after step {step}; nothing is saved, for the run has no folder")
        return InterruptedRunError(
            f"stopped after step {step}, which is saved in {self.folder}. "
            f"To go on: the same command, for `atom distill` with --resume (and --out {self.folder})"
        )


def _on(device: torch.device, tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.to(device).clone()
