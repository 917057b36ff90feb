"""Re-initialization in place: repeatable, complete, and with the distribution of PyTorch's default."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from atom_distill.base.errors import ConfigError
from atom_distill.base.network_shape import NORMS, NetworkShape
from atom_distill.models.build import build_model
from atom_distill.models.initialization import reinitialize


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(norm: str = "instance") -> nn.Module:
    return build_model("convnet", (3, 8, 8), 5, NetworkShape(depth=2, width=8, norm=norm))


def disturb(network: nn.Module) -> None:
    """Change every parameter and buffer, as training would."""
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.fill_(7)


@pytest.mark.parametrize("norm", NORMS)
def test_a_seed_determines_the_network_whatever_it_was_before(norm):
    first, second = small(norm), small(norm)
    disturb(second)
    reinitialize(first, generator(1))
    reinitialize(second, generator(1))
    assert first.state_dict().keys() == second.state_dict().keys()
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_another_seed_gives_another_network():
    first, second = small(), small()
    reinitialize(first, generator(1))
    reinitialize(second, generator(2))
    for name in ("blocks.0.conv.weight", "blocks.1.conv.bias", "classifier.weight", "classifier.bias"):
        assert not torch.isclose(first.state_dict()[name], second.state_dict()[name]).any(), name


def test_layers_differ_from_each_other():
    network = small()
    reinitialize(network, generator(0))
    assert not torch.equal(network.blocks[0].conv.bias, network.blocks[1].conv.bias)


@pytest.mark.parametrize("norm", NORMS)
def test_tensors_stay_the_same_objects(norm):
    network = small(norm)
    before = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
    parameters = [id(p) for p in network.parameters()]
    reinitialize(network, generator(0))
    assert {name: tensor.data_ptr() for name, tensor in network.state_dict().items()} == before
    assert [id(p) for p in network.parameters()] == parameters
    assert all(p.requires_grad and p.grad_fn is None for p in network.parameters())


def test_the_memory_layout_does_not_change_the_numbers():
    plain, other = small(), small().to(memory_format=torch.channels_last)
    reinitialize(plain, generator(1))
    reinitialize(other, generator(1))
    assert other.blocks[1].conv.weight.is_contiguous(memory_format=torch.channels_last)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_the_global_generator_is_not_touched():
    network = small("batch")
    before = torch.get_rng_state()
    reinitialize(network, generator(0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("build", "fan_in"),
    [
        pytest.param(lambda: nn.Conv2d(16, 64, 3), 144, id="conv"),
        pytest.param(lambda: nn.Conv2d(64, 64, 3, groups=4), 144, id="grouped conv"),
        pytest.param(lambda: nn.Linear(200, 100), 200, id="linear"),
    ],
)
def test_the_distribution_is_pytorchs_default(build, fan_in):
    def statistics(layers: list[nn.Module]) -> torch.Tensor:
        rows = []
        for name in ("weight", "bias"):
            values = torch.cat([getattr(layer, name).detach().flatten() for layer in layers]) * math.sqrt(fan_in)
            rows.append(torch.stack([values.mean(), values.std(), values.min(), values.max()]))
        return torch.stack(rows)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = [build() for _ in range(60)]
        ours = [build() for _ in range(60)]
    for i, layer in enumerate(ours):
        disturb(layer)
        reinitialize(layer, generator(i))
    torch.testing.assert_close(statistics(ours), statistics(fresh), rtol=0, atol=0.03)
    bound_and_spread = torch.tensor([[0.0, 1 / math.sqrt(3), -1.0, 1.0]] * 2)  # uniform on +-1/sqrt(fan_in)
    torch.testing.assert_close(statistics(ours), bound_and_spread, rtol=0, atol=0.03)
    assert statistics(ours)[:, 2:].abs().max() <= 1 + 1e-6


@pytest.mark.parametrize("layer", [nn.GroupNorm(4, 8), nn.LayerNorm((8, 2, 2)), nn.BatchNorm2d(8)], ids=repr)
def test_norms_start_at_one_and_zero(layer):
    disturb(layer)
    reinitialize(layer, generator(0))
    assert torch.equal(layer.weight, torch.ones_like(layer.weight))
    assert torch.equal(layer.bias, torch.zeros_like(layer.bias))


def test_batch_norm_forgets_its_running_statistics(randn):
    network = small("batch")
    network(randn(0, 4, 3, 8, 8).float() * 5 + 3)
    norm = network.blocks[0].norm
    assert norm.num_batches_tracked == 1
    reinitialize(network, generator(0))
    assert norm.num_batches_tracked == 0
    assert torch.equal(norm.running_mean, torch.zeros(8))
    assert torch.equal(norm.running_var, torch.ones(8))


OTHERS = {
    "alexnet": NetworkShape(norm="batch"),
    "vgg11": NetworkShape(width=8),
    "resnet18": NetworkShape(width=8, norm="batch"),
    "vit": NetworkShape(width=64, depth=2),
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_architecture_is_drawn_as_pytorch_draws_it(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = [build_model(name, (3, 32, 32), 50, OTHERS[name]).state_dict() for _ in range(8)]
    first, second = (build_model(name, (3, 32, 32), 50, OTHERS[name]) for _ in range(2))
    ours = []
    for seed in range(8):
        disturb(first)
        reinitialize(first, generator(seed))
        ours.append({key: value.clone() for key, value in first.state_dict().items()})
    disturb(second)
    reinitialize(second, generator(7))
    for key, drawn in ours[-1].items():
        assert torch.equal(drawn, second.state_dict()[key]), key
        want = torch.stack([each[key].float() for each in fresh])
        got = torch.stack([each[key].float() for each in ours])
        spread = 5 / math.sqrt(want.numel())
        assert got.std().item() == pytest.approx(want.std().item(), rel=spread), key
        assert got.mean().item() == pytest.approx(want.mean().item(), abs=want.std().item() * spread), key
        assert got.abs().max().item() == pytest.approx(want.abs().max().item(), rel=0.4), key
        if want.std() > 0:
            assert not torch.equal(ours[0][key], ours[1][key]), key


def test_attention_without_bias():
    layer = nn.MultiheadAttention(64, 2, bias=False)
    disturb(layer)
    reinitialize(layer, generator(0))
    bound = math.sqrt(6 / (64 + 3 * 64))  # Glorot & Bengio, 2010, for the one matrix of query, key and value
    assert 0.9 * bound < layer.in_proj_weight.abs().max() <= bound
    assert 0.9 / 8 < layer.out_proj.weight.abs().max() <= 1 / 8


def test_a_module_may_initialize_itself():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(3))
            self.inner = nn.PReLU()

        def reset(self, generator):
            self.scale.copy_(torch.rand(3, generator=generator))
            self.inner.weight.fill_(2)

    network = nn.Sequential(Own())
    reinitialize(network, generator(4))
    assert torch.equal(network[0].scale, torch.rand(3, generator=generator(4)))
    assert network[0].inner.weight.item() == 2


def test_convolution_without_bias():
    layer = nn.Conv2d(3, 4, 3, bias=False)
    disturb(layer)
    reinitialize(layer, generator(0))
    assert layer.weight.abs().max() <= 1 / math.sqrt(27)


def test_an_unknown_layer_is_named():
    network = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.PReLU()))
    with pytest.raises(ConfigError, match=r"no initialization is known for layer '1.0' of type PReLU"):
        reinitialize(network, generator(0))


def test_an_unknown_layer_with_only_buffers_is_named_too():
    network = nn.Sequential(nn.InstanceNorm2d(3, track_running_stats=True))
    with pytest.raises(ConfigError, match="InstanceNorm2d"):
        reinitialize(network, generator(0))
