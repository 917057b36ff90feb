"""Compiled, or not where compiling fails."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.exc import Unsupported
from torch._dynamo.testing import CompileCounter

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


def test_many_structures_are_compiled_each_once(monkeypatch):
    counter = CompileCounter()  # traces, and runs what it traced as it is
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **options: real(function, backend=counter, **options))

    def apply(network, x):
        return network(x)

    networks = [torch.nn.Sequential(*[torch.nn.Linear(2, 2)] * depth) for depth in range(1, 13)]
    before = torch._dynamo.config.recompile_limit
    assert before < len(networks)  # else there is nothing to see here
    for _ in range(2):
        for network in networks:
            call = CompiledOrEager(apply, compiled=True)
            torch.testing.assert_close(call(network, torch.ones(1, 2)), network(torch.ones(1, 2)))
    assert counter.frame_count == len(networks)
    assert torch._dynamo.config.recompile_limit == before
