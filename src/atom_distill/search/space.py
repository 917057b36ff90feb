"""Which architectures are searched: the paper's 720, a file's, or those that a function gives."""

from __future__ import annotations

import importlib
import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from atom_distill.base.errors import AtomError, ConfigError, MissingExtraError, UnknownNameError
from atom_distill.base.network_shape import ACTIVATIONS, NORMS, POOLINGS, Activation, NetworkShape, Norm, Pooling
from atom_distill.base.registry import Registry
from atom_distill.base.seeding import generator
from atom_distill.models.build import build_model
from atom_distill.models.network import Network
from atom_distill.models.registry import Builder

Space = Sequence["Candidate"]


@dataclass(frozen=True)
class Candidate:
    """An architecture to be tried.

    Attributes:
        arch: by name.
        shape: departures from its defaults.
        builder: makes it, where `arch` is a name of the user's own; a cluster's workers must be able to import it.
    """

    arch: str = "convnet"
    shape: NetworkShape = field(default_factory=NetworkShape)
    builder: Builder | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        wrong = {
            "arch must be a name": not isinstance(self.arch, str),
            "shape must be a NetworkShape": not isinstance(self.shape, NetworkShape),
            "builder must be callable": self.builder is not None and not callable(self.builder),
        }
        for told, is_so in wrong.items():
            if is_so:
                raise ConfigError(f"a Candidate's {told}, got {self!r}")

    @property
    def name(self) -> str:
        """Architecture and shape in one word, e.g. convnet-d3-w128-instance-relu-nopooling."""
        marks = {"depth": "d", "width": "w"}
        given = {name: value for name, value in asdict(self.shape).items() if value is not None}
        told = [f"no{name}" if value == "none" else f"{marks.get(name, '')}{value}" for name, value in given.items()]
        return "-".join([self.arch, *told])

    @property
    def code(self) -> str:
        """Give all that can be seen of what the builder does: the file it stands in, and the values it holds."""
        return "" if self.builder is None else _content(self.builder)

    def build(self, image_shape: tuple[int, int, int], num_classes: int) -> Network:
        """Build the network.

        Raises:
            AtomError: it cannot be built for such images.
        """
        if self.builder is not None:
            return self.builder(image_shape, num_classes, self.shape)
        return build_model(self.arch, image_shape, num_classes, self.shape)


def _content(builder: Any) -> str:
    """Describe a callable; of another process it is the same only if nothing that is seen has changed."""
    if isinstance(builder, partial):
        return f"{_content(builder.func)} {builder.args!r} {builder.keywords!r}"
    code, home = getattr(builder, "__code__", None), inspect.getmodule(builder) or inspect.getmodule(type(builder))
    values = [value for value in code.co_consts if not inspect.iscode(value)] if code is not None else []
    bytecode = code.co_code.hex() if code is not None else ""
    cells = [cell.cell_contents for cell in getattr(builder, "__closure__", None) or ()]
    held = [_content(value) if inspect.isfunction(value) else repr(value) for value in cells]
    own = {} if isinstance(builder, type) else getattr(builder, "__dict__", {})
    try:
        source = inspect.getsource(home) if home is not None else ""
    except (OSError, TypeError):
        source = ""  # typed in, not read from a file
    name = getattr(builder, "__qualname__", type(builder).__qualname__)
    return f"{name} {bytecode} {values!r} {held!r} {own!r} {source}"


SPACES: Registry[Callable[[], Iterable[Candidate]]] = Registry("space")


@SPACES.register("convnets-720")
def convnets_720() -> list[Candidate]:
    """Give the paper's ConvNets: 4 depths, 4 widths, 3 activations, 5 norms and 3 poolings.

    Source: supplement of ATOM (arXiv 2405.01373), section 1.4; the grid is that of DC (ICLR 2021).
    """
    grid = product((1, 2, 3, 4), (32, 64, 128, 256), NORMS, ACTIVATIONS, POOLINGS)
    return [Candidate("convnet", NetworkShape(*values)) for values in grid]


def find_space(where: str) -> list[Candidate]:
    """Give the candidates of a named space, of a file, or of a function.

    Args:
        where: a name in `SPACES`; a YAML or JSON file with a list of mappings (arch, depth, width, norm, activation,
            pooling); or "package.module:function", which takes nothing and gives `Candidate`s.

    Raises:
        UnknownNameError: there is no such space.
        ConfigError: the file or the function does not give candidates, or gives one twice.
    """
    if Path(where).suffix in (".yaml", ".yml", ".json"):
        found = _from_file(Path(where))
    elif ":" in where:
        found = _from_function(where)
    else:
        found = list(SPACES.get(where)())
    return distinct(found, where)


def distinct(candidates: Iterable[Candidate], where: str) -> list[Candidate]:
    """Make sure that there are candidates, and none twice.

    Raises:
        ConfigError: otherwise.
    """
    found = list(candidates)
    if not found or not all(isinstance(candidate, Candidate) for candidate in found):
        raise ConfigError(f"{where} must give one or more of atom_distill.search.space.Candidate")
    twice = [name for name, count in Counter(candidate.name for candidate in found).items() if count > 1]
    if twice:
        raise ConfigError(f"{where} has {', '.join(twice[:3])} more than once; give each a name of its own")
    return found


@dataclass(frozen=True)
class Unfit:
    """An architecture that cannot be built for the images, and why."""

    candidate: Candidate
    reason: str


def fitting(space: Space, image_shape: tuple[int, int, int], num_classes: int) -> tuple[list[Candidate], list[Unfit]]:
    """Part the candidates that can be built for such images from those that cannot; no memory is taken for weights.

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
        except Exception:  # a builder of the user's may want real numbers; its trials will tell what is wrong
            pass
        fit.append(candidate)
    return fit, unfit


def sample(space: Space, count: int | None, seed: int) -> list[Candidate]:
    """Draw candidates without replacement, in the space's order; all of them where `count` is None.

    Raises:
        ConfigError: there are fewer.
    """
    if count is None:
        return list(space)
    if not 1 <= count <= len(space):
        raise ConfigError(f"a sample of {count} was asked for; there are {len(space)} architectures that fit")
    chosen = torch.randperm(len(space), generator=generator(seed, "architectures"))[:count]
    return [space[index] for index in sorted(chosen.tolist())]


def _from_file(path: Path) -> list[Candidate]:
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"the space {path} cannot be read: {' '.join(str(error).split())}") from None
    try:
        return [entry.candidate() for entry in _ENTRIES.validate_python(entries)]
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise ConfigError(
            f"the space {path} must be a list of architectures, e.g. - {{arch: convnet, width: 64}}; "
            f"at {place or 'its top'}: {problem['msg']}"
        ) from None


class _Entry(BaseModel):
    """An architecture in a file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    arch: str = "convnet"
    depth: int | None = None
    width: int | None = None
    norm: Norm | None = None
    activation: Activation | None = None
    pooling: Pooling | None = None

    def candidate(self) -> Candidate:
        return Candidate(self.arch, NetworkShape(**self.model_dump(exclude={"arch"})))


_ENTRIES = TypeAdapter(list[_Entry])


def _from_function(where: str) -> list[Candidate]:
    module, _, name = where.partition(":")
    try:
        return list(getattr(importlib.import_module(module), name)())
    except Exception as error:  # it is the user's own code, which may raise anything
        raise ConfigError(
            f"the space {where} gives no candidates: {type(error).__name__}: {' '.join(str(error).split())}"
        ) from None
