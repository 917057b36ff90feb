"""What every test stands on: its own cache folder, the device under test, and one table of tolerances."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

TOLERANCE = {
    torch.float64: {"rtol": 1e-12, "atol": 1e-12},
    torch.float32: {"rtol": 1e-5, "atol": 1e-6},
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let every test process begin with slow tests, dealt out by file, so that the end is filled with fast ones.

    Of an order, worksteal gives each process one stretch, as long as the others', and later moves the ends of these.
    """
    processes = int(getattr(config, "workerinput", {}).get("workercount", 1))
    by_file: dict[Path, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("slow"):
            by_file.setdefault(item.path, []).append(item)
    fast = iter([item for item in items if item.get_closest_marker("slow") is None])
    length, ordered = len(items) // processes, []
    for process in range(processes):
        begin = [item for slow in [*by_file.values()][process::processes] for item in slow]
        ordered += [*begin, *islice(fast, max(0, length - len(begin)))]
    items[:] = [*ordered, *fast]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tensors of tests are tiny: a second thread costs more than it saves, much more on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_is_heard() -> None:
    """A shell starts what runs in its background with Ctrl-C ignored, and the tests of it would wait for ever."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_random_numbers(request: pytest.FixtureRequest) -> None:
    """Let a test draw the same numbers whichever tests ran before it, also from the generator of its file."""
    torch.manual_seed(0)
    shared = getattr(request.module, "RANDOM", None)
    if isinstance(shared, torch.Generator):
        shared.manual_seed(0)


@pytest.fixture(autouse=True)
def _own_cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests out of the user's data cache, but for those that need the real CIFAR-10 in it."""
    if request.node.get_closest_marker("cifar10") is None:
        monkeypatch.setenv("ATOM_DATA", str(tmp_path / "atom-data"))


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Make a folder read-only, as a mounted file system is, also for a superuser, whom modes of files do not stop."""
    folders: list[Path] = []
    real = {name: getattr(os, name) for name in ("open", "mkdir", "replace", "rename", "unlink")}

    def refuse(path: object) -> None:
        if not isinstance(path, int) and any(Path(os.fsdecode(path)).absolute().is_relative_to(f) for f in folders):  # type: ignore[call-overload]
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    def guarded(name: str) -> Callable[..., object]:
        def call(path: object, *rest: object, **more: object) -> object:
            if name != "open" or int(rest[0]) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):  # type: ignore[call-overload]
                refuse(path)
            return real[name](path, *rest, **more)

        return call

    def make(folder: Path) -> None:
        folders.append(folder.resolve())

    for name in real:
        monkeypatch.setattr(os, name, guarded(name))
    return make


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """The device under test: the CPU, or what ATOM_TEST_DEVICE names."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # its 10 bits are no match for an oracle
    return torch.device(os.environ.get("ATOM_TEST_DEVICE", "cpu"))


@pytest.fixture
def near() -> Callable[..., None]:
    """Compare a tensor with an oracle's float64 array, as closely as the tensor's dtype allows."""

    def check(got: Tensor, want: np.ndarray, **wider: float) -> None:
        tolerance = TOLERANCE[got.dtype] | wider
        torch.testing.assert_close(got.detach().double().cpu(), torch.from_numpy(np.asarray(want)), **tolerance)

    return check


@pytest.fixture
def randn() -> Callable[..., Tensor]:
    """Draw float64 normal numbers on the CPU: `randn(seed, *shape)`."""

    def draw(seed: int, *shape: int) -> Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    return draw
