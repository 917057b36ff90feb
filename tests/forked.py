"""Processes that start at once: forked from a server, one for each test process, that has imported what runs need."""

from __future__ import annotations

import contextlib
import io
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

_IMPORTED = [
    "atom_distill.api",
    "atom_distill.cli.distill",
    "atom_distill.data.load",
    "atom_distill.models.convnet",
    "sklearn.datasets.descr",
    *(f"PIL.{name}ImagePlugin" for name in ("Bmp", "Gif", "Jpeg", "Png", "Ppm")),
    "huggingface_hub.repocard_data",
    "filelock",
    "torch._dynamo",
    "torch.utils.tensorboard",
    "tyro._cli",
    "tyro._backends._tyro_backend",
    "tyro.constructors._struct_spec_pydantic",
    "typeguard",
    "rich.console",
    "pytest",
]
"""What a run imports on its way, most of the time that it takes. The server reads this once, so all tests share it."""


def fork_context() -> ForkServerContext:
    """Return the way to start processes and queues between them."""
    context = get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    return context


@dataclass(frozen=True)
class Done:
    """What a command line gave in a process: its exit code and its outputs."""

    code: int
    out: str
    err: str


def atom_on_ranks(size: int, arguments: list[str]) -> list[Done]:
    """Run a command line in as many processes as torchrun would start, here, and return what each rank gave."""
    return ranks(size, _atom, arguments, str(Path.cwd()))


def _atom(arguments: list[str], folder: str) -> Done:
    import torch

    from atom_distill.cli.main import main

    torch.set_num_threads(1)
    os.chdir(folder)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as left:  # how the option parser ends
            code = int(left.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def ranks(size: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Call a function of a module in processes that see the environment of torchrun; return what each rank returns."""
    port, context = free_port(), fork_context()
    answers = context.Queue()
    processes = [
        context.Process(target=_rank, args=(rank, size, port, answers, work, arguments)) for rank in range(size)
    ]
    for process in processes:
        process.start()
    try:
        found = dict(answers.get(timeout=120) for _ in processes)
    finally:
        for process in processes:
            process.join(timeout=10)
            process.kill()
    return [found[rank] for rank in range(size)]


def free_port() -> int:
    """A port from a range of this test process's own, below those that systems hand out to whoever asks for any."""
    first = 20_000 + os.getpid() % 500 * 20
    for port in range(first, first + 20):
        with socket.socket() as probe:
            try:
                probe.bind(("localhost", port))
            except OSError:
                continue
        return port
    raise AssertionError(f"no port from {first} on is free")


def _rank(rank: int, size: int, port: int, answers: Any, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(size)}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    answers.put((rank, work(*arguments)))
