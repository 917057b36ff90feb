"""Constants that are kept where they are used."""

from __future__ import annotations

import torch

from atom_distill.base.constants import Constant


def test_there_is_one_copy_for_each_device_and_dtype():
    constant = Constant(torch.tensor([1.0, 0.1], dtype=torch.float64))
    cpu = torch.device("cpu")
    assert constant.on(cpu) is constant.on(cpu, torch.float64)
    single = constant.like(torch.zeros(3))
    assert single is constant.on(cpu, torch.float32)
    assert torch.equal(single, torch.tensor([1.0, 0.1]))
    elsewhere = constant.on(torch.device("meta"))
    assert (elsewhere.device.type, elsewhere.dtype) == ("meta", torch.float64)
    assert torch.equal(constant.on(cpu), torch.tensor([1.0, 0.1], dtype=torch.float64))
