"""Compiled, or not where compiling fails."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.exc import Unsupported

from atom_distill.base.compilation import CompiledOrEager


def failing_compiler(error: Exception):
    def compile_(_function, **_options):
        def call(*_arguments):
            raise error

        return call

    return compile_


def test_a_failed_compilation_is_told_once_and_the_plain_function_goes_on(monkeypatch, capsys):
    monkeypatch.setattr(torch, "compile", failing_compiler(Unsupported("no")))
    double = CompiledOrEager(lambda x: 2 * x, compiled=True)
    assert [double(2), double(3)] == [4, 6]
    assert capsys.readouterr().err.count("torch.compile failed") == 1


def test_other_errors_are_not_hidden(monkeypatch):
    monkeypatch.setattr(torch, "compile", failing_compiler(ValueError("mine")))
    with pytest.raises(ValueError, match="mine"):
        CompiledOrEager(lambda x: x, compiled=True)(1)


def test_nothing_is_compiled_unasked(monkeypatch):
    monkeypatch.setattr(torch, "compile", failing_compiler(AssertionError()))
    assert CompiledOrEager(lambda x: x + 1, compiled=False)(1) == 2
