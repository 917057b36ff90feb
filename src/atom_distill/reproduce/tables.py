"""The papers' tables as grids of cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, TypeVar

from atom_distill.base.errors import ConfigError
from atom_distill.base.registry import Registry
from atom_distill.distillation.methods import METHODS
from atom_distill.reproduce.cell import AFTER, Budget, Cell
from atom_distill.reproduce.published import published, published_transfer

T = TypeVar("T")

MATCHING = ("dm", "datadam", "atom")


@dataclass(frozen=True)
class Request:
    """What of a table is wanted; an empty tuple means the table's own choice.

    Attributes:
        datasets: by name or path.
        ipc: images per class.
        methods: rows, where rows are methods.
        preprocess: "zca", "normalize" or both; empty for the paper's choice.
        archs: columns, where columns are architectures.
        settings: of every distillation, by name; they become part of the columns' names.
        budget: steps, networks, their epochs and precision.
    """

    datasets: tuple[str, ...] = ()
    ipc: tuple[int, ...] = ()
    methods: tuple[str, ...] = ()
    preprocess: tuple[str, ...] = ()
    archs: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)

    def columns(self, ipc: Sequence[int]) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Give label, data set and settings of each column of sets."""
        for dataset, count, kind in product(
            _distinct(self.datasets or ("cifar10",)), _distinct(self.ipc or ipc), self.preprocess or (None,)
        ):
            more = [f"{name} {value}" for name, value in self.settings.items()]
            label = " ".join([f"{dataset} ipc {count}", *([kind] if kind else []), *more])
            yield label, dataset, {"ipc": count, **({"preprocess": kind} if kind else {}), **self.settings}

    def steps_of(self, method: str) -> dict[str, int]:
        """Give the steps of a method as a setting: none where real images are chosen."""
        steps = self.budget.steps_of(method)
        return {"steps": steps} if steps else {}


def takes_steps(method: str) -> bool:
    """Return whether a method optimizes images, and does not choose real ones."""
    return METHODS.get(method).takes_steps


def _distinct(values: Sequence[T]) -> list[T]:
    return list(dict.fromkeys(values))


Table = Callable[[Request], list[Cell]]
TABLES: Registry[Table] = Registry("table")


@TABLES.register("table1")
def table1(request: Request) -> list[Cell]:
    """Accuracy by method, data set and ipc (the ATOM paper's table 1)."""
    return [
        Cell(
            method,
            column,
            dataset,
            {"method": method, **settings, **request.steps_of(method)},
            published=published(dataset, method, settings["ipc"]),
        )
        for column, dataset, settings in request.columns(ipc=(1, 10, 50))
        for method in _distinct(request.methods) or METHODS.in_order()
    ]


@TABLES.register("cross-arch")
def cross_arch(request: Request) -> list[Cell]:
    """Accuracy of other architectures trained on sets that were made with a ConvNet (the paper's table 2)."""
    return [
        Cell(
            method,
            arch if label == "cifar10 ipc 50" else f"{label} {arch}",
            dataset,
            {"method": method, **settings, **request.steps_of(method)},
            arch=arch,
            published=published_transfer(dataset, method, settings["ipc"], arch),
        )
        for label, dataset, settings in request.columns(ipc=(50,))
        for method in _distinct(request.methods) or ("random", *MATCHING)
        for arch in _distinct(request.archs) or ("convnet", "alexnet", "vgg11", "resnet18", "vit")
    ]


@TABLES.register("components")
def components(request: Request) -> list[Cell]:
    """Show what each term of the objective adds (the paper's ablation of components)."""
    cells = []
    for column, dataset, settings in request.columns(ipc=(10,)):
        for spatial, channel, embedding in product((False, True), repeat=3):
            if not (spatial or channel or embedding):
                continue
            switches = {"spatial": spatial, "channel": channel, "embedding": embedding}
            row = " + ".join(name for name, on in switches.items() if on)
            # Under their own names the known ones share their sets with other tables.
            known = {(False, False, True): "dm", (True, False, True): "datadam", (True, True, True): "atom"}
            method = known.get((spatial, channel, embedding))
            what = {"method": method} if method else {"method": "atom", **switches}
            value = published(dataset, method, settings["ipc"]) if method else None
            cells.append(Cell(row, column, dataset, {**what, **settings, **request.steps_of("atom")}, published=value))
    return cells


@TABLES.register("powers")
def powers(request: Request) -> list[Cell]:
    """ATOM by the powers of its attention (the paper's ablation of powers)."""
    cells = []
    for column, dataset, settings in request.columns(ipc=(10,)):
        for spatial, channel in product((1, 2, 4, 8), repeat=2):
            what: dict[str, Any] = {"method": "atom"}
            if (spatial, channel) != (4, 4):
                what |= {"spatial_power": float(spatial), "channel_power": float(channel)}
            given = {**what, **settings, **request.steps_of("atom")}
            cells.append(Cell(f"p_s {spatial}", f"{column} p_c {channel}", dataset, given))
    return cells


@TABLES.register("curve")
def curve(request: Request) -> list[Cell]:
    """Accuracy against steps (the paper's figure 3). Each point goes on where the one before it ended."""
    cells: list[Cell] = []
    for label, dataset, settings in request.columns(ipc=(50,)):
        for method in _distinct(request.methods) or MATCHING:
            before: Cell | None = None
            steps = request.budget.steps_of(method)
            for mark in sorted({max(1, steps * part // 16) for part in (1, 2, 4, 8, 12, 16)}):
                given = {"method": method, **settings, "steps": mark}
                before = Cell(method, f"{label}{AFTER}{mark}", dataset, given, continues=before)
                cells.append(before)
    return cells


@TABLES.register("cost")
def cost(request: Request) -> list[Cell]:
    """Seconds a step and peak memory, of methods that take steps."""
    chosen = [method for method in request.methods if not takes_steps(method)]
    if chosen:
        raise ConfigError(
            f"{', '.join(chosen)} take no steps, so there is nothing to time: leave them out of --methods"
        )
    return [
        Cell(method, column, dataset, {"method": method, **settings})
        for column, dataset, settings in request.columns(ipc=(1, 10, 50))
        for method in _distinct(request.methods)
        or [name for name in METHODS.in_order() if METHODS.get(name).takes_steps]
    ]
