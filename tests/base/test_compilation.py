"""Compilation, and the fallback to eager mode if it fails."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.exc import Unsupported
from torch._dynamo.testing import CompileCounter
from torch._functorch.compilers import nop

from atom_distill.base.compilation import CompiledOrEager


def failing_compiler(error: Exception):
    def compile_(_function, **_options):
        def call(*_arguments):
            raise error

        return call

    return compile_


def test_a_failed_compilation_warns_once_and_continues_in_eager_mode(monkeypatch, capsys):
    monkeypatch.setattr(torch, "compile", failing_compiler(Unsupported("no")))
    double = CompiledOrEager(lambda x: 2 * x, compiled=True)
    assert [double(2), double(3)] == [4, 6]
    assert capsys.readouterr().err.count("torch.compile failed") == 1


def test_gradients_that_do_not_compile_are_computed_in_eager_mode(monkeypatch, capsys):
    def fails(*_: object) -> None:
        raise RuntimeError("no gradients")

    real, backend = torch.compile, aot_autograd(fw_compiler=nop, bw_compiler=fails)
    monkeypatch.setattr(torch, "compile", lambda function, **options: real(function, backend=backend, **options))
    x = torch.ones(2, requires_grad=True)
    CompiledOrEager(lambda x: x.square().sum(), compiled=True)(x).backward()
    assert x.grad.tolist() == [2, 2]
    assert capsys.readouterr().err.count("torch.compile failed") == 1


def test_other_errors_are_not_hidden(monkeypatch):
    monkeypatch.setattr(torch, "compile", failing_compiler(ValueError("mine")))
    with pytest.raises(ValueError, match="mine"):
        CompiledOrEager(lambda x: x, compiled=True)(1)


def test_nothing_is_compiled_unless_requested(monkeypatch):
    monkeypatch.setattr(torch, "compile", failing_compiler(AssertionError()))
    assert CompiledOrEager(lambda x: x + 1, compiled=False)(1) == 2


def test_each_of_many_structures_is_compiled_once(monkeypatch):
    counter = CompileCounter()  # traces, and runs the traced graph in eager mode
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **options: real(function, backend=counter, **options))

    def apply(network, x):
        return network(x)

    networks = [torch.nn.Sequential(*[torch.nn.Linear(2, 2)] * depth) for depth in range(1, 13)]
    before = torch._dynamo.config.recompile_limit
    assert before < len(networks)  # otherwise the test shows nothing
    for _ in range(2):
        for network in networks:
            call = CompiledOrEager(apply, compiled=True)
            torch.testing.assert_close(call(network, torch.ones(1, 2)), network(torch.ones(1, 2)))
    assert counter.frame_count == len(networks)
    assert torch._dynamo.config.recompile_limit == before
