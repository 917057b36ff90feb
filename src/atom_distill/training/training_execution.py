"""How networks are trained on this machine: device, precision, compilation, networks at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from atom_distill.base.device import can_compile, fast_dtype, memory_format
from atom_distill.base.errors import ConfigError
from atom_distill.config.distill import CompileMode, Precision

_COMPILE_FROM = 3e7
"""Pixels that pass through training from which compiling pays off: it takes about 15 s on two cores, and saves about a
microsecond per pixel there."""
_WORKERS_FROM = 3e7
"""Pixels from which worker processes pay off: each takes some seconds to start."""
_TOGETHER = 10
"""Maximum number of networks that train together on a GPU, because of its memory."""


@dataclass(frozen=True)
class TrainingExecution:
    """Decisions that change speed and rounding, not meaning.

    Attributes:
        device: where networks train.
        dtype: precision of convolutions and matrix products; weights are float32.
        compiled: whether torch.compile is tried.
        at_once: networks that train together in one process.
        cores: of the processor over which networks are spread, in worker processes; 1 for this process alone.
    """

    device: torch.device
    dtype: torch.dtype
    compiled: bool
    at_once: int
    cores: int = 1

    @property
    def memory_format(self) -> torch.memory_format:
        """Layout of images and maps."""
        return memory_format(self.device, compiled=self.compiled)


@dataclass(frozen=True)
class ExecutionOptions:
    """How to compute on this machine; "auto" and 0 leave the choice to it.

    Attributes:
        precision: precision of convolutions and matrix products.
        compile: whether to use torch.compile.
        at_once: networks that train at the same time, on a CPU in worker processes; 0 for the machine's choice.

    Raises:
        ConfigError: at_once is negative.
    """

    precision: Precision = "auto"
    compile: CompileMode = "auto"
    at_once: int = 0

    def __post_init__(self) -> None:
        if self.at_once < 0:
            raise ConfigError(f"`at_once` must be at least 1, or 0 for the machine's choice, got {self.at_once}")

    def plan(self, device: torch.device, *, pixels: float, repeats: int, cores: int = 1) -> TrainingExecution:
        """Return how to run.

        A CPU trains compiled networks one by one, or one per core: stacked, the same networks took seven times
        longer there (docs/performance.md). A GPU trains several at once.

        Args:
            device: where networks train.
            pixels: total that pass through training.
            repeats: total number of networks.
            cores: that worker processes may use.
        """
        on_cpu = device.type == "cpu"
        pays = pixels >= _COMPILE_FROM and on_cpu and can_compile(device)
        compiled = self.compile == "on" or (self.compile == "auto" and pays)
        dtype = self._dtype(device, compiled=compiled)
        if on_cpu:
            workers = self.at_once or (cores if pixels >= _WORKERS_FROM else 1)
            return TrainingExecution(device, dtype, compiled, at_once=1, cores=min(workers, cores))
        together = self.at_once or (_TOGETHER if device.type == "cuda" else 1)
        return TrainingExecution(device, dtype, compiled, at_once=min(together, repeats))

    def _dtype(self, device: torch.device, *, compiled: bool) -> torch.dtype:
        if self.precision != "auto":
            return torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        # Uncompiled on a CPU, bfloat16 is slower: every norm and activation converts there and back.
        return fast_dtype(device) if compiled or device.type == "cuda" else torch.float32
