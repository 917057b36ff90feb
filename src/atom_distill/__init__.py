"""atom-distill: turn a large image data set into a tiny synthetic one that networks can be trained on.

Public names load on first use, so that `import atom_distill` does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atom_distill.api import distill as distill
    from atom_distill.api import evaluate as evaluate
    from atom_distill.api import load_dataset as load_dataset
    from atom_distill.artifact.distilled import DistilledDataset as DistilledDataset
    from atom_distill.base.errors import AtomError as AtomError
    from atom_distill.config.training_protocol import PROTOCOLS as PROTOCOLS
    from atom_distill.data.dataset import ImageDataset as ImageDataset
    from atom_distill.distillation.methods import METHODS as METHODS
    from atom_distill.exporting.run import export_distilled as export_distilled
    from atom_distill.importing.run import import_distilled as import_distilled
    from atom_distill.models.build import build_model as build_model
    from atom_distill.models.registry import MODELS as MODELS
    from atom_distill.ops.features import Features as Features
    from atom_distill.ops.matching import Statistic as Statistic
    from atom_distill.search.setup import search_architectures as search_architectures

__version__ = "0.1.0"

_HOMES = {
    "AtomError": "base.errors",
    "DistilledDataset": "artifact.distilled",
    "Features": "ops.features",
    "ImageDataset": "data.dataset",
    "METHODS": "distillation.methods",
    "MODELS": "models.registry",
    "PROTOCOLS": "config.training_protocol",
    "Statistic": "ops.matching",
    "build_model": "models.build",
    "distill": "api",
    "evaluate": "api",
    "export_distilled": "exporting.run",
    "import_distilled": "importing.run",
    "load_dataset": "api",
    "search_architectures": "search.setup",
}

__all__ = [  # noqa: PLE0604 (the names are strings; the linter cannot see through sorted)
    "__version__",
    *sorted(_HOMES),
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
