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
    from atom_distill.artifact.bundled import load_distilled as load_distilled
    from atom_distill.artifact.distilled import DistilledDataset as DistilledDataset
    from atom_distill.base.errors import AtomError as AtomError
    from atom_distill.config.distill import MethodSettings as MethodSettings
    from atom_distill.config.training_protocol import PROTOCOLS as PROTOCOLS
    from atom_distill.config.training_protocol import TrainingProtocol as TrainingProtocol
    from atom_distill.data.dataset import ImageDataset as ImageDataset
    from atom_distill.distillation.matching_methods import MatchingMethod as MatchingMethod
    from atom_distill.distillation.method import Method as Method
    from atom_distill.distillation.methods import METHODS as METHODS
    from atom_distill.distillation.network_sources import NetworkSource as NetworkSource
    from atom_distill.exporting.export_distilled import export_distilled as export_distilled
    from atom_distill.importing.import_distilled import import_distilled as import_distilled
    from atom_distill.models.build import build_model as build_model
    from atom_distill.models.registry import MODELS as MODELS
    from atom_distill.ops.features import Features as Features
    from atom_distill.ops.matching import Objective as Objective
    from atom_distill.ops.matching import Statistic as Statistic
    from atom_distill.ops.parameterization import Parameterization as Parameterization
    from atom_distill.search.run_search import search_architectures as search_architectures
    from atom_distill.training.training_execution import ExecutionOptions as ExecutionOptions

__version__ = "0.2.0"

_HOMES = {
    "AtomError": "base.errors",
    "DistilledDataset": "artifact.distilled",
    "ExecutionOptions": "training.training_execution",
    "Features": "ops.features",
    "ImageDataset": "data.dataset",
    "METHODS": "distillation.methods",
    "MODELS": "models.registry",
    "MatchingMethod": "distillation.matching_methods",
    "Method": "distillation.method",
    "MethodSettings": "config.distill",
    "NetworkSource": "distillation.network_sources",
    "Objective": "ops.matching",
    "PROTOCOLS": "config.training_protocol",
    "Parameterization": "ops.parameterization",
    "Statistic": "ops.matching",
    "TrainingProtocol": "config.training_protocol",
    "build_model": "models.build",
    "distill": "api",
    "evaluate": "api",
    "export_distilled": "exporting.export_distilled",
    "import_distilled": "importing.import_distilled",
    "load_dataset": "api",
    "load_distilled": "artifact.bundled",
    "search_architectures": "search.run_search",
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
