"""Processes that start at once: forked from a server, one for each test process, that has imported what runs need."""

from __future__ import annotations

from multiprocessing import get_context
from multiprocessing.context import ForkServerContext

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
