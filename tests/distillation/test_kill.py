"""SIGKILL at any moment, then `--resume`: the result equals that of a run that was left alone, bit for bit.

The processes are forked from a server that has imported torch already, so that dozens of them are quick; each
runs the `atom` command's own `main`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from atom_distill.distillation.run_state import checkpoints
from forked import fork_context

ARGUMENTS = ["distill", "digits", "--ipc", "1", "--width", "16", "--batch-real", "16"]
ARGUMENTS += ["--compile", "off", "--device", "cpu"]
LONG = [*ARGUMENTS, "--steps", "30", "--checkpoint-every", "5"]
SHORT = [*ARGUMENTS, "--steps", "2", "--checkpoint-every", "1"]
LONGER = [*ARGUMENTS, "--steps", "3", "--checkpoint-every", "1"]
KILLED = -signal.SIGKILL

pytestmark = pytest.mark.slow


def work(arguments: list[str], fatal_event: int | None, pause: float) -> None:
    """Run the command line in a process of its own; die at the n-th file, if one is given."""
    from atom_distill.cli.main import main
    from atom_distill.distillation.step import MatchingStep

    torch.set_num_threads(1)
    if fatal_event is not None:
        _die_at(fatal_event)
    call = MatchingStep.__call__

    def slower(self: MatchingStep, images: torch.Tensor, step: int) -> torch.Tensor:
        time.sleep(pause)  # so that a kill can be aimed
        return call(self, images, step)

    MatchingStep.__call__ = slower  # type: ignore[method-assign]
    raise SystemExit(main(arguments))


def _die_at(event: int) -> None:
    """Die right before the n-th file is put in place: it lies there half done, and those before it are whole."""
    replace, seen = Path.replace, 0

    def counted(self: Path, target: Path) -> Path:
        nonlocal seen
        if seen == event:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1
        return replace(self, target)

    Path.replace = counted  # type: ignore[method-assign, assignment]


def start(arguments: list[str], fatal_event: int | None = None, pause: float = 0.0) -> BaseProcess:
    process = fork_context().Process(target=work, args=(arguments, fatal_event, pause), daemon=True)
    process.start()
    return process


def finish(arguments: list[str], fatal_event: int | None = None) -> int | None:
    process = start(arguments, fatal_event)
    process.join(60)
    return process.exitcode


def result(folder: Path) -> dict[str, bytes]:
    """All that must come out the same: tensors, losses and pictures."""
    images = load_file(folder / "distilled.safetensors")["images"]
    found = {"images": images.numpy().tobytes()}
    names = ["grid.png", "metrics.jsonl", "README.md", "snapshots.safetensors"]
    for path in [*folder.glob("images/*/*.png"), *(folder / name for name in names)]:
        found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str]], dict[str, bytes]]:
    """Give the result of a run that nobody kills; each kind is run once."""
    results: dict[str, dict[str, bytes]] = {}

    def of(arguments: list[str]) -> dict[str, bytes]:
        key = " ".join(arguments)
        if key not in results:
            folder = tmp_path_factory.mktemp("untouched") / "run"
            assert finish([*arguments, "--out", str(folder)]) == 0
            results[key] = result(folder)
        return results[key]

    return of


def wait_for(process: BaseProcess, moment: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not moment() and process.is_alive():
        assert time.monotonic() < until, "the moment never came"
        time.sleep(0.001)


def has(folder: Path, pattern: str) -> Callable[[], bool]:
    return lambda: any(folder.glob(pattern))


def lines(folder: Path, count: int) -> Callable[[], bool]:
    metrics = folder / "metrics.jsonl"
    return lambda: metrics.exists() and metrics.read_bytes().count(b"\n") >= count


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(lambda folder: has(folder, "config.yaml"), id="before the first step"),
        pytest.param(lambda folder: lines(folder, 3), id="before the first checkpoint"),
        pytest.param(lambda folder: has(folder, "checkpoint-000005*"), id="at the first checkpoint"),
        pytest.param(lambda folder: lines(folder, 17), id="in the middle"),
        pytest.param(lambda folder: has(folder, "*checkpoint-000025*"), id="around a checkpoint"),
        pytest.param(lambda folder: has(folder, "checkpoint-000030*"), id="after the last step"),
    ],
)
def test_killed_and_resumed_equals_left_alone(tmp_path, untouched, moment):
    folder = tmp_path / "run"
    arguments = [*LONG, "--out", str(folder)]
    for pause in (0.01, 0.1, 0.5):  # on a busy machine the run may be done before the kill: then a slower one
        shutil.rmtree(folder, ignore_errors=True)
        process = start(arguments, pause=pause)
        wait_for(process, moment(folder))
        process.kill()
        process.join(30)
        if process.exitcode == KILLED:
            break
    assert process.exitcode == KILLED
    assert finish([*arguments, "--resume"]) == 0
    assert result(folder) == untouched(LONG)
    assert not list(folder.glob(".*.part"))


def test_killed_again_and_again(tmp_path, untouched):
    folder = tmp_path / "run"
    arguments = [*LONG, "--out", str(folder), "--resume"]
    ends = []
    for count in (2, 8, 9, 14, 23, 29):
        process = start(arguments, pause=0.05)
        wait_for(process, lines(folder, count))
        process.kill()
        process.join(30)
        ends.append(process.exitcode)
    assert ends[:4] == 4 * [KILLED]
    assert set(ends[4:]) <= {KILLED, 0}  # on a busy machine it may be done before the last kill
    assert finish(arguments) == 0
    assert result(folder) == untouched(LONG)


def test_killed_at_every_file_that_is_put_in_place(tmp_path, untouched):
    want = untouched(SHORT)
    for event in range(100):
        folder = tmp_path / str(event)
        arguments = [*SHORT, "--out", str(folder)]
        exit_code = finish(arguments, fatal_event=event)
        if exit_code == 0:
            break
        assert exit_code == KILLED
        assert finish([*arguments, "--resume"]) == 0, f"killed at file {event}"
        assert result(folder) == want, f"killed at file {event}"
    assert event >= 12  # it did die on the way


def test_killed_while_a_finished_run_is_made_longer(tmp_path, untouched):
    """The old result must never pass for the new one, nor its pictures for those of the new tensors."""
    want = untouched(LONGER)
    assert finish([*SHORT, "--out", str(tmp_path / "short")]) == 0
    for event in range(100):
        folder = tmp_path / str(event)
        shutil.copytree(tmp_path / "short", folder)
        arguments = [*LONGER, "--out", str(folder), "--resume"]
        exit_code = finish(arguments, fatal_event=event)
        if exit_code == 0:
            break
        assert exit_code == KILLED
        assert finish(arguments) == 0
        assert result(folder) == want, f"killed at file {event}"
    assert event >= 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_stop_is_resumed_too(tmp_path, untouched, number):
    folder = tmp_path / "run"
    arguments = [*LONG, "--out", str(folder)]
    process = start(arguments, pause=0.03)
    wait_for(process, lines(folder, 12))
    os.kill(process.pid, number)
    process.join(30)
    assert process.exitcode == 130
    step = int(checkpoints(folder)[-1].stem.removeprefix("checkpoint-"))
    assert step % 5 or step > 12
    assert json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["step"] == step
    assert finish([*arguments, "--resume"]) == 0
    assert result(folder) == untouched(LONG)
