"""The architectures of a search: the paper's 720, those of a file, or those that a function returns."""

from __future__ import annotations

import importlib
import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from atom_distill.base.errors import AtomError, ConfigError, MissingExtraError, UnknownNameError
from atom_distill.base.network_shape import ACTIVATIONS, NORMS, POOLINGS, Activation, NetworkShape, Norm, Pooling
from atom_distill.base.parsing import parse_yaml
from atom_distill.base.registry import Registry
from atom_distill.base.seeding import generator
from atom_distill.models.build import build_model
from atom_distill.models.network import Network
from atom_distill.models.registry import Builder

Space = Sequence["Candidate"]
_PLAIN = (bool, int, float, complex, str, bytes, set, frozenset, type(None), type(...))


@dataclass(frozen=True)
class Candidate:
    """An architecture to try.

    Attributes:
        arch: name of the architecture, one of `MODELS`; with a builder, any name.
        shape: changes to the architecture's defaults.
        builder: function that builds a custom network; the workers of a cluster must be able to import it.

    Raises:
        ConfigError: an attribute is of the wrong type.
    """

    arch: str = "convnet"
    shape: NetworkShape = field(default_factory=NetworkShape)
    builder: Builder | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        problems = {
            "arch must be a name": not isinstance(self.arch, str),
            "shape must be a NetworkShape": not isinstance(self.shape, NetworkShape),
            "builder must be callable": self.builder is not None and not callable(self.builder),
        }
        for problem, occurs in problems.items():
            if occurs:
                raise ConfigError(f"a Candidate's {problem}, got {self!r}")

    @property
    def name(self) -> str:
        """Architecture and shape as one name, e.g. convnet-d3-w128-instance-relu-nopooling."""
        prefixes = {"depth": "d", "width": "w"}
        given = {name: value for name, value in asdict(self.shape).items() if value is not None}
        parts = [
            f"no{name}" if value == "none" else f"{prefixes.get(name, '')}{value}" for name, value in given.items()
        ]
        return "-".join([self.arch, *parts])

    @property
    def code(self) -> str:
        """The builder's code as text: its bytecode, the values it holds, and its source file; empty without one.

        Of a builder that is in no file, the functions and classes that it names beside itself are part of it.
        """
        return "" if self.builder is None else _code_of(self.builder)

    def build(self, image_shape: tuple[int, int, int], num_classes: int) -> Network:
        """Build the network.

        Raises:
            AtomError: it cannot be built for such images.
        """
        if self.builder is not None:
            return self.builder(image_shape, num_classes, self.shape)
        return build_model(self.arch, image_shape, num_classes, self.shape)


SPACES: Registry[Callable[[], Iterable[Candidate]]] = Registry("space")


@SPACES.register("convnets-720")
def convnets_720() -> list[Candidate]:
    """Return the paper's ConvNets: 4 depths, 4 widths, 3 activations, 5 norms and 3 poolings.

    Source: supplement of ATOM (arXiv 2405.01373), section 1.4; the grid is that of DC (ICLR 2021).
    """
    grid = product((1, 2, 3, 4), (32, 64, 128, 256), NORMS, ACTIVATIONS, POOLINGS)
    return [Candidate("convnet", NetworkShape(*values)) for values in grid]


def find_space(source: str) -> list[Candidate]:
    """Return the candidates of a named space, of a file, or of a function.

    Args:
        source: a name in `SPACES`; a YAML or JSON file with a list of mappings (arch, depth, width, norm, activation,
            pooling); or "package.module:function", a function without arguments that returns `Candidate`s.

    Raises:
        UnknownNameError: there is no such space.
        ConfigError: the file or the function does not contain candidates, or contains one twice.
    """
    if Path(source).suffix in (".yaml", ".yml", ".json"):
        return require_distinct(_from_file(Path(source)), source)
    if ":" in source:
        return require_distinct(_from_function(source), source)
    return require_distinct(SPACES.get(source)(), source)


def require_distinct(candidates: Iterable[Candidate], source: str) -> list[Candidate]:
    """Return the candidates as a list.

    Args:
        candidates: one or more, each with a name of its own.
        source: where they come from, for the message.

    Raises:
        ConfigError: there is none, one is something else, or two have the same name.
    """
    found = list(candidates)
    if not found or not all(isinstance(candidate, Candidate) for candidate in found):
        raise ConfigError(f"{source} must contain one or more of atom_distill.search.space.Candidate")
    duplicates = [name for name, count in Counter(candidate.name for candidate in found).items() if count > 1]
    if duplicates:
        raise ConfigError(f"{source} has {', '.join(duplicates[:3])} more than once; use a different name for each")
    return found


@dataclass(frozen=True)
class Unfit:
    """An architecture that cannot be built for the images, and why."""

    candidate: Candidate
    reason: str


def choose_candidates(
    space: Space, image_shape: tuple[int, int, int], num_classes: int, *, sample: int | None, seed: int
) -> tuple[list[Candidate], list[Unfit]]:
    """Return the architectures to try, drawn from those that fit the images, and all that do not fit.

    Args:
        space: candidates, each with a name of its own.
        image_shape: (C, H, W).
        num_classes: length of the logits.
        sample: how many to draw; None for all.
        seed: of the draw.

    Raises:
        ConfigError: none fits, fewer than `sample` fit, or one is there twice.
        UnknownNameError, MissingExtraError: an architecture is not known, or not installed.
    """
    fit, unfit = split_by_fit(require_distinct(space, "space"), image_shape, num_classes)
    if not fit:
        raise ConfigError(f"no architecture of the space fits the images; the first: {unfit[0].reason}")
    return draw_sample(fit, sample, seed), unfit


def split_by_fit(
    space: Space, image_shape: tuple[int, int, int], num_classes: int
) -> tuple[list[Candidate], list[Unfit]]:
    """Return the candidates that can be built for such images and those that cannot, without allocating weights.

    Raises:
        UnknownNameError, MissingExtraError: an architecture is not known, or not installed.
    """
    fit, unfit = [], []
    for candidate in space:
        try:
            with torch.device("meta"):
                candidate.build(image_shape, num_classes)
        except (UnknownNameError, MissingExtraError):
            raise
        except AtomError as error:
            unfit.append(Unfit(candidate, str(error)))
            continue
        except Exception:  # a custom builder may not work on the meta device; if it is broken, its trials report that
            pass
        fit.append(candidate)
    return fit, unfit


def draw_sample(space: Space, count: int | None, seed: int) -> list[Candidate]:
    """Draw candidates without replacement, in the order of the space; all of them where `count` is None.

    Raises:
        ConfigError: there are fewer.
    """
    if count is None:
        return list(space)
    if not 1 <= count <= len(space):
        raise ConfigError(f"sample must be between 1 and {len(space)}, the architectures that fit; got {count}")
    chosen = torch.randperm(len(space), generator=generator(seed, "architectures"))[:count]
    return [space[index] for index in sorted(chosen.tolist())]


class _Entry(BaseModel):
    """An architecture in a file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    arch: str = "convnet"
    depth: int | None = None
    width: int | None = None
    norm: Norm | None = None
    activation: Activation | None = None
    pooling: Pooling | None = None


def _from_file(path: Path) -> list[Candidate]:
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))  # JSON is YAML
        entries = TypeAdapter(list[_Entry]).validate_python(content)
    except ValidationError as error:
        problem = error.errors()[0]
        location = ".".join(map(str, problem["loc"])) or "the top level"
        raise ConfigError(
            f"the space {path} must be a list of architectures, e.g. - {{arch: convnet, width: 64}}; "
            f"at {location}: {problem['msg']}"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"the space {path} cannot be read: {error}") from None
    return [Candidate(entry.arch, NetworkShape(**entry.model_dump(exclude={"arch"}))) for entry in entries]


def _from_function(source: str) -> list[Candidate]:
    module, _, name = source.partition(":")
    try:
        return list(getattr(importlib.import_module(module), name)())
    except Exception as error:  # it is the user's own code, which may raise anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ConfigError(f"the space {source} returns no candidates: {reason}") from None


def _code_of(builder: Any) -> str:
    """Describe a callable so that another process describes it alike only if no code or value in sight has changed."""
    if isinstance(builder, partial):
        return f"{_code_of(builder.func)} {builder.args!r} {builder.keywords!r}"
    code, module = getattr(builder, "__code__", None), inspect.getmodule(builder) or inspect.getmodule(type(builder))
    constants = [_in_order(value) for value in code.co_consts if not inspect.iscode(value)] if code else []
    bytecode = code.co_code.hex() if code is not None else ""
    cells = [cell.cell_contents for cell in getattr(builder, "__closure__", None) or ()]
    captured = [_code_of(value) if inspect.isfunction(value) else repr(value) for value in cells]
    attributes = {} if isinstance(builder, type) else getattr(builder, "__dict__", {})
    try:
        source = inspect.getsource(module) if module is not None else ""
    except (OSError, TypeError):
        source = ""  # defined interactively, not in a file
    name = getattr(builder, "__qualname__", type(builder).__qualname__)
    if not source:
        scope = getattr(builder, "__globals__", {} if module is None else vars(module))
        source = repr(_described(builder, scope, set()))
    return f"{name} {bytecode} {constants!r} {captured!r} {attributes!r} {source}"


def _described(value: Any, scope: Mapping[str, Any], seen: set[int]) -> Any:
    """Return what a value, code, a function or a class is, with what it names in the module of a `scope`."""
    inner = partial(_described, scope=scope, seen=seen)
    if isinstance(value, Mapping):
        value = [*value.items()]
    if isinstance(value, list | tuple):
        return [*map(inner, value)]
    if inspect.iscode(value):
        named = [scope[name] for name in value.co_names if name in scope]
        return [value.co_code.hex(), value.co_names, *map(inner, (*value.co_consts, *named))]
    if isinstance(value, _PLAIN):
        return _in_order(value)
    if id(value) in seen or getattr(value, "__module__", None) != scope.get("__name__"):
        return getattr(value, "__qualname__", "")
    seen.add(id(value))
    if not inspect.isfunction(value) and not isinstance(value, type):
        return inner(type(value))
    return [value.__qualname__, *map(inner, _parts(value))]


def _parts(value: Any) -> list[Any]:
    """Return what decides what a function or a class does."""
    if inspect.isfunction(value):
        return [value.__kwdefaults__, value.__defaults__, value.__code__]
    members = [one for name, one in vars(value).items() if callable(one) or not name.startswith("__")]
    return [*value.__bases__, *(getattr(one, "fget", None) or getattr(one, "__func__", one) for one in members)]


def _in_order(value: Any) -> Any:
    """Return a constant such that equal ones look alike in every process: sets are in another order in each."""
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    return tuple(map(_in_order, value)) if type(value) is tuple else value
