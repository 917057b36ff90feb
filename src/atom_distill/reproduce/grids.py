"""The papers' tables as grids of cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple, TypeVar

from atom_distill.base.errors import ConfigError
from atom_distill.base.registry import Registry
from atom_distill.config.training_protocol import protocol_of
from atom_distill.distillation.methods import METHODS, find_method
from atom_distill.reproduce.cell import AFTER, BEST, BEST_ROW, HELD_OUT_ROW, UNCHANGED, Cell, Effort
from atom_distill.reproduce.published_accuracies import published, published_transfer

T = TypeVar("T")

MATCHING = ("dm", "datadam", "atom")
"""The methods of the papers' figures on steps and architectures."""
_NOT_IN_TABLES = ("k-means",)
"""Methods that the papers' tables do not have; they can still be asked for."""
_LAMBDAS = (0.001, 0.005, 0.01, 0.02, 0.1)
_PUBLISHED_LAMBDA: Mapping[str, float] = {"cifar10": 0.01, "cifar100": 0.01, "tiny-imagenet": 0.02}
_EVALUATIONS = 8
_CHANGES: tuple[tuple[str, Any], ...] = (
    *(("norm", "batch"), ("preprocess", "normalize"), ("init", "noise")),
    *(("batch_real", 256), ("image_momentum", 0.0)),
    *(("protocol", "dm(augment=none)"), ("protocol", "dm(batch_size=64)"), ("protocol", "dm(epochs=300)")),
)
"""What the published code does otherwise than the papers say, or users of it may: settings of the distillation, and
protocols of the evaluation."""


class Column(NamedTuple):
    """The sets of one column: label, data set, and the settings that all methods share."""

    label: str
    dataset: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """The wanted part of a table; an empty tuple means the table's own choice.

    Attributes:
        datasets: names or paths.
        ipc: images per class.
        methods: rows, where rows are methods.
        preprocess: "zca", "normalize" or both; empty for the papers' choice.
        archs: columns, where columns are architectures.
        protocols: of the networks of an architecture; those not named have `dm`.
        settings: of every distillation, by name; they become part of the columns' names.
        effort: steps, networks, their epochs and precision.
    """

    datasets: tuple[str, ...] = ()
    ipc: tuple[int, ...] = ()
    methods: tuple[str, ...] = ()
    preprocess: tuple[str, ...] = ()
    archs: tuple[str, ...] = ()
    protocols: Mapping[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    effort: Effort = field(default_factory=Effort)

    def columns(self, ipc: Sequence[int]) -> Iterator[Column]:
        """Yield the columns; `ipc` is the table's own choice."""
        kinds: list[str | None] = _chosen(self.preprocess, (None,))
        for dataset, count, kind in product(_chosen(self.datasets, ("cifar10",)), _chosen(self.ipc, ipc), kinds):
            preprocess = {"preprocess": kind} if kind else {}
            yield _column(dataset, {"ipc": count, **preprocess, **self.settings})

    def places(self, ipc: Sequence[int], methods: Sequence[str]) -> list[tuple[Column, str]]:
        """Return columns with rows; the arguments are the table's own choice.

        The row `best` is ATOM with this preset, whose preprocessing stays its own: it is in columns without one.
        """
        found: dict[tuple[str, str], tuple[Column, str]] = {}
        for column, method in product(self.columns(ipc), _chosen(self.methods, methods)):
            kept = {name: value for name, value in column.settings.items() if name not in ("preprocess", "preset")}
            own = _column(column.dataset, kept) if method == BEST else column
            found.setdefault((own.label, method), (own, method))
        return list(found.values())

    def settings_of(self, column: Column, method: str, **own: Any) -> dict[str, Any]:
        """Return a cell's settings: the method, its own settings, the column's, and the steps if it takes any.

        The row `best` has the steps of its preset.
        """
        if method == BEST:
            length = {"steps": self.effort.steps} if self.effort.steps else {}
            return {"method": "atom", "preset": "best", **column.settings, **length}
        steps = self.effort.steps_of(method)
        return {"method": method, **own, **column.settings, **({"steps": steps} if steps else {})}


def _chosen(given: Sequence[T], default: Sequence[T]) -> list[T]:
    """Return what is asked for, each once; or else the default."""
    return list(dict.fromkeys(given or default))


def _column(dataset: str, settings: Mapping[str, Any]) -> Column:
    """Return the column of a data set and of settings, of which the ipc is the first."""
    words = (str(value) if name == "preprocess" else f"{name} {value}" for name, value in settings.items())
    return Column(" ".join([dataset, *words]), dataset, settings)


def _refuse_best(methods: Sequence[str]) -> None:
    if BEST in methods:
        raise ConfigError(f"{BEST} is a row of table1 and cross-arch only: leave it out of `methods`")


def _require_steps(methods: Sequence[str]) -> None:
    _refuse_best(methods)
    wrong = [name for name in methods if not find_method(name).takes_steps]
    if wrong:
        raise ConfigError(f"the table is about steps, and {', '.join(wrong)} take none: leave them out of `methods`")


Grid = Callable[[Request], list[Cell]]
TABLES: Registry[Grid] = Registry("table")
"""The cells of each table in `titles.TITLES`."""


@TABLES.register("table1")
def table1(request: Request) -> list[Cell]:
    """Return accuracy by method, data set and ipc (the ATOM paper's table 1)."""
    return [
        Cell(
            method,
            column.label,
            column.dataset,
            request.settings_of(column, method),
            published=published(column.dataset, method, column.settings["ipc"]),
        )
        for column, method in request.places(
            (1, 10, 50), [name for name in METHODS.in_order() if name not in _NOT_IN_TABLES]
        )
    ]


@TABLES.register("cross-arch")
def cross_arch(request: Request) -> list[Cell]:
    """Return accuracy of other architectures, trained on sets made with a ConvNet (the paper's table 2).

    Raises:
        ConfigError: a protocol of the request is of an architecture that is no column, or has values out of range.
        UnknownNameError: a protocol of the request does not exist.
    """
    archs = _chosen(request.archs, ("convnet", "alexnet", "vgg11", "resnet18", "vit"))
    if unused := [arch for arch in request.protocols if arch not in archs]:
        raise ConfigError(f"`protocols` names {', '.join(unused)}, and the columns are {', '.join(archs)}")
    for protocol in request.protocols.values():
        protocol_of(protocol)  # so that an unknown one is refused before the first cell
    return [
        Cell(
            method,
            arch if column.label == "cifar10 ipc 50" else f"{column.label} {arch}",
            column.dataset,
            request.settings_of(column, method),
            arch=arch,
            protocol=request.protocols.get(arch, "dm"),
            published=published_transfer(column.dataset, method, column.settings["ipc"], arch),
        )
        for column, method in request.places((50,), ("random", *MATCHING))
        for arch in archs
    ]


@TABLES.register("components")
def components(request: Request) -> list[Cell]:
    """Return accuracy by the terms of ATOM's objective (the paper's ablation of components)."""
    # Under their own names these share their sets with other tables.
    named = {("embedding",): "dm", ("spatial", "embedding"): "datadam", ("spatial", "channel", "embedding"): "atom"}
    cells = []
    for column in request.columns(ipc=(10,)):
        for switches in product((False, True), repeat=3):
            terms = dict(zip(("spatial", "channel", "embedding"), switches, strict=True))
            on = tuple(term for term in terms if terms[term])
            if not on:
                continue
            method = named.get(on)
            settings = request.settings_of(column, method or "atom", **({} if method else terms))
            known = published(column.dataset, method, column.settings["ipc"]) if method else None
            cells.append(Cell(" + ".join(on), column.label, column.dataset, settings, published=known))
    return cells


@TABLES.register("powers")
def powers(request: Request) -> list[Cell]:
    """Return accuracy by the powers of ATOM's attention (the paper's ablation of powers)."""
    cells = []
    for column in request.columns(ipc=(10,)):
        for spatial, channel in product((1, 2, 4, 8), repeat=2):
            given = {"spatial_power": float(spatial), "channel_power": float(channel)}
            # The paper's pair is ATOM itself, and shares its set.
            settings = request.settings_of(column, "atom", **({} if (spatial, channel) == (4, 4) else given))
            cells.append(Cell(f"p_s {spatial}", f"{column.label} p_c {channel}", column.dataset, settings))
    return cells


@TABLES.register("lambda")
def lambdas(request: Request) -> list[Cell]:
    """Return accuracy by lambda, the weight of the embedding against the attention."""
    cells = []
    for column in request.columns(ipc=(10,)):
        for value in _LAMBDAS:
            # The paper's value is ATOM itself, and shares its set.
            is_published = value == _PUBLISHED_LAMBDA.get(column.dataset)
            settings = request.settings_of(column, "atom", **({} if is_published else {"task_balance": value}))
            known = published(column.dataset, "atom", column.settings["ipc"]) if is_published else None
            cells.append(Cell(f"lambda {value:g}", column.label, column.dataset, settings, published=known))
    return cells


@TABLES.register("changes")
def changes(request: Request) -> list[Cell]:
    """Return accuracy with one setting changed at a time: of the distillation, or of the evaluation's protocol.

    Raises:
        ConfigError: the request has the row `best`, whose settings are several changes.
    """
    _refuse_best(request.methods)
    cells = []
    for column, method in product(request.columns(ipc=(10,)), _chosen(request.methods, ("dm", "atom"))):
        settings = request.settings_of(column, method)
        label = f"{column.label} {method}"
        known = published(column.dataset, method, column.settings["ipc"])
        cells.append(Cell(UNCHANGED, label, column.dataset, settings, published=known))
        for name, value in _CHANGES:
            row = f"{name} {value}"
            if name == "protocol":
                cells.append(Cell(row, label, column.dataset, settings, protocol=value))
            elif settings.get(name) != value:
                cells.append(Cell(row, label, column.dataset, {**settings, name: value}))
        if request.effort.steps_of(method):
            every = max(1, request.effort.steps_of(method) // _EVALUATIONS)
            judged = {**settings, "eval_every": every}
            cells.append(Cell(HELD_OUT_ROW, label, column.dataset, judged))
            cells.append(Cell(BEST_ROW, label, column.dataset, judged, which="best"))
    return cells


@TABLES.register("curve")
def curve(request: Request) -> list[Cell]:
    """Return accuracy against steps (the paper's figure 3); each point continues the run of the one before it.

    Raises:
        ConfigError: a method of the request takes no steps, or is the row `best`.
    """
    _require_steps(request.methods)
    cells: list[Cell] = []
    for column in request.columns(ipc=(50,)):
        for method in _chosen(request.methods, MATCHING):
            before: Cell | None = None
            steps = request.effort.steps_of(method)
            for mark in sorted({max(1, steps * part // 16) for part in (1, 2, 4, 8, 12, 16)}):
                settings = {"method": method, **column.settings, "steps": mark}
                before = Cell(method, f"{column.label}{AFTER}{mark}", column.dataset, settings, continues=before)
                cells.append(before)
    return cells


@TABLES.register("cost")
def cost(request: Request) -> list[Cell]:
    """Return seconds per step and peak memory, of methods that take steps.

    Raises:
        ConfigError: a method of the request takes none, or is the row `best`.
    """
    _require_steps(request.methods)
    methods = _chosen(request.methods, [name for name in METHODS.in_order() if METHODS.get(name).takes_steps])
    return [
        Cell(method, column.label, column.dataset, {"method": method, **column.settings})
        for column in request.columns(ipc=(1, 10, 50))
        for method in methods
    ]
