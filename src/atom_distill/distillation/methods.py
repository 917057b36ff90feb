"""The methods by name, in the order of the papers' tables."""

from __future__ import annotations

from atom_distill.base.plugins import find
from atom_distill.base.registry import Registry
from atom_distill.distillation.gradient_methods import DC, DSA
from atom_distill.distillation.matching_methods import ATOM, DATADAM, DM
from atom_distill.distillation.method import Method
from atom_distill.distillation.selection_methods import FORGETTING, HERDING, K_CENTER, K_MEANS, RANDOM

METHODS: Registry[Method] = Registry("method")
"""To add a method, register an instance of `Method`, such as a `MatchingMethod` with an objective of your own."""

for _method in (RANDOM, HERDING, K_CENTER, K_MEANS, FORGETTING, DC, DSA, DM, DATADAM, ATOM):
    METHODS.register(_method.name)(_method)


def find_method(name: str) -> Method:
    """Return a method by its registered name, or by "package.module:name".

    Raises:
        UnknownNameError: there is no such one.
    """
    return find(METHODS, name, Method)
