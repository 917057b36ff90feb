"""Peak memory of a piece of work."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
"""Written to clear_refs, this resets the peak on Linux (proc(5))."""
_SECONDS_BETWEEN_SAMPLES = 0.02


class PeakMemory:
    """Peak memory within a `with` block: on a GPU what torch allocated there, otherwise that of the whole process.

    Memory that the process has freed but still holds is returned to the system first, so that it does not count. Where
    the peak cannot be reset (not on Linux, or not permitted), it is the peak since the process started.

    Attributes:
        own_mib: the peak without pages of mapped files, which the system can reclaim at any time, MiB.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.own_mib = 0.0
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        if self._device.type == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)
            return self
        if sys.platform.startswith("linux"):
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
            if trim is not None:
                trim(0)
        with contextlib.suppress(OSError):
            _CLEAR.write_text(_RESET_PEAK)
        self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._device.type == "cuda":
            self.own_mib = self.mib
            return
        self._done.set()
        self._sampler.join()

    @property
    def mib(self) -> float:
        """The peak so far, MiB, including the pages of mapped files that are in memory."""
        if self._device.type == "cuda":
            import torch

            return torch.cuda.max_memory_allocated(self._device) / 2**20
        return _status_bytes("VmHWM") / 2**20

    def _sample(self) -> None:
        """Sample at intervals: the system does not record this peak."""
        while True:
            self.own_mib = max(self.own_mib, held_bytes() / 2**20)
            if self._done.wait(_SECONDS_BETWEEN_SAMPLES):
                return


def held_bytes() -> int:
    """Return the memory of this process now, bytes, without file pages, which the system can reclaim."""
    return _status_bytes("RssAnon")


def _status_bytes(field: str) -> int:
    """Return a field of /proc/self/status, bytes; where there is none, the peak since the process started.

    On Windows, which tells neither in this way, it is 0.
    """
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return 0
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024
