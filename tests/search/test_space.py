"""The paper's 720 architectures, and custom spaces."""

from __future__ import annotations

import importlib
import linecache
import os
import re
import subprocess
import sys
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from atom_distill.base.errors import ConfigError, UnknownNameError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.search.space import Candidate, convnets_720, draw_sample, find_space, require_distinct, split_by_fit


def test_the_space_has_720_distinct_architectures():
    space = find_space("convnets-720")
    assert len({candidate.name for candidate in space}) == len(set(space)) == 720
    shapes = [candidate.shape for candidate in space]
    for name, count in {"depth": 4, "width": 4, "norm": 5, "activation": 3, "pooling": 3}.items():
        assert len({getattr(shape, name) for shape in shapes}) == count


def take_a_step(candidate: Candidate, size: int) -> None:
    network = candidate.build((3, size, size), 10)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    logits = network(torch.randn(1, 3, size, size))
    assert logits.shape == (1, 10), candidate.name
    weights = network.classifier.weight
    before = weights.detach().clone()
    F.cross_entropy(logits, torch.tensor([7])).backward()
    optimizer.step()
    assert not torch.equal(weights, before), candidate.name
    assert bool(torch.isfinite(weights).all()), candidate.name


def test_every_architecture_fits_64x64():
    fit, unfit = split_by_fit(convnets_720(), (3, 64, 64), 10)
    assert (len(fit), unfit) == (720, [])


@pytest.mark.slow
@pytest.mark.parametrize("size", [32, 64])
def test_every_narrow_architecture_trains_a_step(size):
    """The width changes no height or width of a map, and the wider ones would take a minute and a half."""
    narrow = [candidate for candidate in convnets_720() if candidate.shape.width == 32]
    assert len(narrow) == 180
    for candidate in narrow:
        take_a_step(candidate, size)


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("candidate", convnets_720()[::53], ids=lambda candidate: candidate.name)
def test_some_train_a_step(candidate, size):
    """One in 53, which meets every depth, width, norm, activation and pooling."""
    take_a_step(candidate, size)


def test_one_in_53_meets_every_value():
    shapes = [candidate.shape for candidate in convnets_720()[::53]]
    counts = {name: len({getattr(shape, name) for shape in shapes}) for name in ("depth", "width", "norm")}
    assert counts == {"depth": 4, "width": 4, "norm": 5}
    assert len({shape.activation for shape in shapes}) == len({shape.pooling for shape in shapes}) == 3


def test_a_depth_that_pools_the_image_away_is_reported_and_left_out():
    fit, unfit = split_by_fit(convnets_720(), (1, 8, 8), 10)
    assert len(fit) + len(unfit) == 720
    assert {one.candidate.shape.depth for one in unfit} == {4}
    assert {one.candidate.shape.pooling for one in unfit} == {"max", "avg"}
    assert len(unfit) == 4 * 5 * 3 * 2
    assert "pools 8x8 images to nothing: use a depth of at most 3" in unfit[0].reason


def test_a_sample_is_part_of_the_space_and_the_same_again():
    space = convnets_720()
    first, again, other = (draw_sample(space, 48, seed) for seed in (0, 0, 1))
    assert first == again
    assert len(set(first)) == 48
    assert set(first) < set(space)
    assert first != other
    assert draw_sample(space, None, 0) == space
    for count in (0, 721):
        with pytest.raises(ConfigError, match=f"sample must be between 1 and 720, .* got {count}"):
            draw_sample(space, count, 0)


def test_a_space_from_a_file(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text("- {width: 16, norm: batch}\n- {arch: vgg11}\n")
    assert find_space(str(path)) == [Candidate("convnet", NetworkShape(width=16, norm="batch")), Candidate("vgg11")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("width: 16", "must be a list of architectures"),
        ("- {size: 3}", "at 0.size: Extra inputs are not permitted"),
        ("- {norm: batsch}", "at 0.norm: Input should be 'none', 'batch'"),
        ("- {width: '64'}", "at 0.width: Input should be a valid integer"),
        ("- {width: 2.5}", "at 0.width: Input should be a valid integer"),
        ("- {width: 16}\n- {width: 16}", "has convnet-w16 more than once"),
        ("[]", "must contain one or more"),
        ("- {", "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, message):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)):
        find_space(str(path))


def own_space() -> list[Candidate]:
    return [Candidate("tiny", builder=lambda *_: None), Candidate("convnet")]


def nothing_at_all() -> None:
    """Forgets to return its candidates."""


def test_a_space_from_a_function():
    assert [candidate.name for candidate in find_space("search.test_space:own_space")] == ["tiny", "convnet"]
    with pytest.raises(ConfigError, match="returns no candidates: AttributeError"):
        find_space("search.test_space:nobody")
    for broken in (":f", "nowhere:f", "search.test_space:nothing_at_all"):
        with pytest.raises(ConfigError, match="returns no candidates"):
            find_space(broken)
    with pytest.raises(UnknownNameError, match=r"unknown space 'convnets-72'\. Did you mean 'convnets-720'"):
        find_space("convnets-72")
    with pytest.raises(ConfigError, match="must contain one or more"):
        require_distinct([1, 2], "x:y")  # type: ignore[list-item]


def test_names_say_which_part_is_none():
    shapes = NetworkShape(norm="none"), NetworkShape(pooling="none"), NetworkShape(2, 64, "batch", "relu", "avg")
    assert [Candidate("convnet", shape).name for shape in shapes] == [
        "convnet-nonorm",
        "convnet-nopooling",
        "convnet-d2-w64-batch-relu-avg",
    ]


def _linear(scale):
    def build(image_shape, num_classes, shape):
        return scale

    return build


class _Built:
    def __init__(self, scale):
        self.scale = scale

    def __call__(self, image_shape, num_classes, shape):
        return self.scale


@pytest.mark.parametrize("make", [_linear, _Built, lambda scale: partial(_linear(0), scale=scale)])
def test_what_a_builder_holds_is_part_of_what_it_is(make):
    code = lambda scale: Candidate("mine", builder=make(scale)).code  # noqa: E731
    assert code(1.0) == code(1.0)
    assert code(1.0) != code(2.0)


def test_a_changed_file_makes_another_network(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "of_mine.py").write_text("def helper(): return 1\ndef build(i, n, s): return helper()\n")
    import of_mine

    before = Candidate("mine", builder=of_mine.build).code
    (tmp_path / "of_mine.py").write_text("def helper(): return 22\ndef build(i, n, s): return helper()\n")
    linecache.checkcache()
    assert Candidate("mine", builder=importlib.reload(of_mine).build).code != before


_IN_NO_FILE = """
from math import sqrt, exp
WIDTH = 8
OF = {"act": sqrt}
def helper(): return 1
class Net:
    depth = 3
    def forward(self): return nn.ReLU()
def build(i, n, s, bias=True, act=exp, *, more=[exp, OF]):
    inner = lambda: n in {"a", "b", "c", "d"}
    return nn.Linear(WIDTH, helper()), Net(), inner
"""


def _code_in_no_file(text: str) -> str:
    scope: dict = {"__name__": "interactive"}
    exec(text, scope)
    return Candidate("mine", builder=scope["build"]).code


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("nn.Linear", "nn.Bilinear"),
        ('"d"', '"e"'),
        ("n in", "i in"),
        ("bias=True", "bias=False"),
        ("return 1", "return 2"),
        ("nn.ReLU", "nn.GELU"),
        ("depth = 3", "depth = 4"),
        ("WIDTH = 8", "WIDTH = 9"),
        ("act=exp", "act=sqrt"),
        ('{"act": sqrt}', '{"act": exp}'),
    ],
)
def test_code_changed_in_a_notebook_makes_another_network(old, new):
    assert _code_in_no_file(_IN_NO_FILE) != _code_in_no_file(_IN_NO_FILE.replace(old, new))


def test_code_in_a_notebook_is_the_same_network_in_another_process():
    """Whatever the order of its sets, which depends on a seed that each process draws."""
    lines = "from search.test_space import _IN_NO_FILE, _code_in_no_file; print(_code_in_no_file(_IN_NO_FILE))"
    found = {
        subprocess.run(
            [sys.executable, "-c", lines],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in (1, 2, 3)
    }
    assert len(found) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"arch": 3}, "arch must be a name"),
        ({"shape": {"depth": 2}}, "shape must be a NetworkShape"),
        ({"builder": 7}, "builder must be callable"),
    ],
)
def test_wrong_candidates_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        Candidate(**wrong)
