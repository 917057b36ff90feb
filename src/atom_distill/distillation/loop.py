"""The loop: step, evaluate, log, checkpoint."""

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
from atom_distill.distillation.loss_reader import LossReader, StepLoss
from atom_distill.distillation.metric_logger import MetricLogger
from atom_distill.distillation.optimizer import ImageOptimizer, RunningAverage
from atom_distill.distillation.run_state import Best, RunState, checkpoints, save_checkpoint
from atom_distill.distillation.shard import Shard
from atom_distill.distillation.snapshot_recorder import SnapshotRecorder
from atom_distill.distillation.stored_form import refit_is_due
from atom_distill.ops.parameterization import Parameterization, Stored

HeldOutAccuracy = Callable[[Stored], float]
"""From the stored values of a set to its accuracy on held-out training images, percent."""


class Matching(Protocol):
    """What a method computes in one step."""

    def gradients(self, stored: Stored, step: int) -> Iterator[Tensor]:
        """Add a gradient to each tensor's `grad` before each yield, and yield the loss by term, shape [T].

        After each yield the values are updated, and their gradients set to zero.
        """

    def term_names(self, stored: Stored) -> tuple[str, ...]:
        """Return the names of the terms, whose sum is the loss."""


@dataclass(frozen=True, eq=False)
class Loop:
    """Optimizes the stored values of a run.

    Attributes:
        matching: computes each step's losses and gradients.
        shard: the classes that are optimized here.
        parameterization: decodes stored values to images.
        config: the run's settings.
        device: where the values are optimized.
        folder: where checkpoints go; None for a run in memory.
        held_out_accuracy: evaluates a set every `eval_every` steps; None for a run without evaluations.
        recorder: keeps snapshots of the images; None keeps none.
        frozen: which rows stay as they are, bool [r], on the device; None for none.
        refit: fits the rounding of `parameterization` to the values of all classes, and returns its fitted tensors;
            None where nothing is rounded, or by steps that stay.
        read_every: steps after which losses are read; only then does the run notice one that is not finite, or Ctrl-C.
        show_progress: draw a bar.
    """

    matching: Matching
    shard: Shard
    parameterization: Parameterization
    config: DistillConfig
    device: torch.device
    folder: Path | None = None
    held_out_accuracy: HeldOutAccuracy | None = None
    recorder: SnapshotRecorder | None = None
    frozen: Tensor | None = None
    refit: Callable[[Stored], Mapping[str, Tensor]] | None = None
    read_every: int = 1
    show_progress: bool = True

    def run(self, state: RunState, metrics: MetricLogger) -> RunState:
        """Go from `state`, which is of all classes, to the last step; the result is of all classes, too.

        Raises:
            NonFiniteError: the loss or the stored values became NaN or infinite.
            InterruptedRunError: Ctrl-C; the state is saved if there is a folder.
        """
        state = state.map_rows(self.shard.take)
        self._record(state, last=False)
        stored = {name: values.to(self.device).clone().requires_grad_() for name, values in state.stored.items()}
        optimizer = ImageOptimizer(stored, self.config, state.optimizer)
        average = RunningAverage(self.config.image_average, _on(self.device, state.average))
        losses = LossReader(self.shard.ranks, self.read_every)
        label = f"distill ({self.config.method}, {self.config.size})"
        started, loss = time.monotonic() - state.seconds, math.nan
        bar = Progress(label, total=self.config.steps, done=state.step, enabled=self.show_progress)
        with StopRequest() as stop, bar:
            for step in range(state.step, self.config.steps):
                moved = self._update(stored, step, optimizer, losses)
                # The next step changes the tensors of this state.
                state = replace(
                    state,
                    step=step + 1,
                    stored={name: values.detach() for name, values in stored.items()},
                    optimizer=optimizer.state,
                    average=average.update(stored, moved),
                )
                last, stopped = step + 1 == self.config.steps, False
                if losses.is_due(step) or self._is_used(state.step):
                    read, stops = losses.read(stop=stop.received)
                    self._require_finite(read)
                    state = replace(state, seconds=time.monotonic() - started)  # a GPU has finished the step now
                    if self.refit is not None and refit_is_due(state.step):
                        state = replace(state, form=self.refit(self._whole(state)))
                    state, loss = self._log(read, state, metrics)
                    stopped = stops and not last
                self._record(state, last=last)
                self._checkpoint(state, now=stopped or last)
                shown = {} if math.isnan(loss) else {"loss": f"{loss:.3f}"}
                bar.advance(1, **shown)
                if stopped:
                    raise self._interrupted(step + 1)
        return state.map_rows(self.shard.gather)

    def _update(self, stored: Stored, step: int, optimizer: ImageOptimizer, losses: LossReader) -> Tensor:
        """Make the updates of a step, and return which rows they moved, bool [r]."""
        moved: Tensor | None = None
        for terms in self.matching.gradients(stored, step):
            losses.add(step, self.matching.term_names(stored), terms)
            self._freeze(stored)
            by_this = optimizer.step()
            moved = by_this if moved is None else moved | by_this
            optimizer.zero_grad()
        assert moved is not None  # a step has an update at least
        return moved

    def _is_used(self, step: int) -> bool:
        """Return whether the values after a step go anywhere but into the next one, so that its loss must be known."""
        every = (self.config.checkpoint_every, self.config.eval_every)
        last = step == self.config.steps
        shown = self.recorder is not None and self.recorder.is_due(step, last=last)
        refit = self.refit is not None and refit_is_due(step)
        return last or shown or refit or any(each and step % each == 0 for each in every)

    def _require_finite(self, read: list[StepLoss]) -> None:
        for each in read:
            if not math.isfinite(each.loss):
                raise self._not_finite(f"the loss became {each.loss}", each.step, changed=each.step > 0)

    def _log(self, read: list[StepLoss], state: RunState, metrics: MetricLogger) -> tuple[RunState, float]:
        """Write the losses of steps up to that of the state, and evaluate it where that is due.

        Returns:
            The state, with the best set if it was evaluated; and its loss.
        """
        of_steps = {each.step: each for each in read}  # of a step of several updates, the last one
        now = of_steps.pop(state.step - 1)
        for each in of_steps.values():
            metrics.write(each.step + 1, each.loss, each.terms)
        return self._evaluate(state, now.loss, now.terms, metrics), now.loss

    def _freeze(self, stored: Stored) -> None:
        """Drop the gradients of the rows that stay as they are; without one, no optimizer ever moves a row."""
        if self.frozen is None:
            return
        for values in stored.values():
            if values.grad is not None:
                values.grad.masked_fill_(self.frozen.view(-1, *[1] * (values.ndim - 1)), 0)

    def _evaluate(self, state: RunState, loss: float, terms: Mapping[str, float], metrics: MetricLogger) -> RunState:
        """Log the step; where an evaluation is due, log it as well and keep the set if it is the best."""
        if self.held_out_accuracy is None or state.step % self.config.eval_every:
            metrics.write(state.step, loss, terms)
            return state
        whole = {name: values.cpu().clone() for name, values in self._whole(state).items()}
        accuracy = self.held_out_accuracy(whole)
        metrics.write(state.step, loss, terms, held_out_accuracy=accuracy)
        if state.best is not None and accuracy <= state.best.accuracy:
            return state
        return replace(state, best=Best(whole, state.step, accuracy))

    def _record(self, state: RunState, *, last: bool) -> None:
        """Take a snapshot where one is due; all ranks agree on when."""
        if self.recorder is not None and self.recorder.is_due(state.step, last=last):
            self.recorder.add(state.step, self.parameterization.decode(self._whole(state)))

    def _whole(self, state: RunState) -> dict[str, Tensor]:
        """Return the values of all classes, as they would be the result."""
        whole = {name: self.shard.gather(values) for name, values in state.result.items()}
        self._require_finite_values(whole, state.step)
        return whole

    def _require_finite_values(self, stored: Stored, step: int) -> None:
        """Refuse values of all classes that an update has made NaN or infinite."""
        if not all(bool(torch.isfinite(values).all()) for values in stored.values()):
            raise self._not_finite("the images became NaN or infinite", step - 1, changed=True)

    def _checkpoint(self, state: RunState, *, now: bool) -> None:
        every = self.config.checkpoint_every
        if not (now or (every and state.step % every == 0)):
            return
        state = state.map_rows(self.shard.gather)
        self._require_finite_values(state.stored, state.step)
        folder, recorder = self.folder, self.recorder

        def save() -> None:
            assert folder is not None
            if recorder is not None:
                recorder.save()  # first, so that no checkpoint is ahead of its snapshots
            save_checkpoint(folder, state)

        if folder is not None:
            self.shard.ranks.broadcast_from_rank0(save)

    def _not_finite(self, what: str, step: int, *, changed: bool) -> NonFiniteError:
        saved = checkpoints(self.folder) if self.folder is not None else []
        good = f"the last good checkpoint is {saved[-1]}" if saved else "there is no checkpoint yet"
        advice = f"Try a smaller `image_lr` (now {self.config.image_lr:g}), with a new `out`"
        if not changed:
            advice = "No image has changed yet: look for extreme settings, such as spatial_power or task_balance"
        return NonFiniteError(f"{what} at step {step + 1}; {good}. {advice}")

    def _interrupted(self, step: int) -> InterruptedRunError:
        if self.folder is None:
            return InterruptedRunError(f"stopped after step {step}; nothing is saved, because the run has no folder")
        return InterruptedRunError(
            f"stopped after step {step}, which is saved in {self.folder}. The same command continues; `atom distill` "
            f"needs --resume and --out {self.folder} with it"
        )


def _on(device: torch.device, stored: Stored | None) -> dict[str, Tensor] | None:
    return None if stored is None else {name: values.to(device).clone() for name, values in stored.items()}
