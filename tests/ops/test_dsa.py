"""Each DSA operation against an oracle for one image; draws, rows and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import oracles.dsa as oracle
from atom_distill.ops import dsa
from atom_distill.ops.dsa import OPERATIONS, Draw, augment, draw_per_class, draw_per_image

LAST = 1 - 2.0**-24
"""The largest float32 below 1, and the largest that torch.rand gives."""
EDGES = torch.tensor([[0.0, 0.0, 0.0], [0.999999] * 3, [LAST] * 3, [0.0, 0.999999, 0.5], [0.5, 0.0, 0.999999]])
SHAPES = [(1, 8, 8), (3, 8, 8), (3, 7, 10), (1, 32, 32), (3, 32, 32)]
EXACT = {"crop", "cutout", "flip"}


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def only(operation: str, uniforms: torch.Tensor) -> Draw:
    index = OPERATIONS.index(operation)
    return Draw(torch.full((len(uniforms),), index), uniforms)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_matches_the_oracle(operation, shape, dtype, device, randn, near):
    uniforms = torch.cat([EDGES, torch.rand(5, 3, generator=generator(1))])
    if shape[1] == 32:
        uniforms = uniforms[[0, 1, 3, 5, 6]]  # the oracle walks every pixel
    images = randn(0, len(uniforms), *shape).to(dtype)
    got = augment(images.to(device), only(operation, uniforms))
    pairs = zip(images.double().numpy(), uniforms.double().numpy(), strict=True)
    want = np.stack([oracle.apply(operation, image, row) for image, row in pairs])
    assert got.dtype == dtype
    if operation in EXACT:
        assert torch.equal(got.cpu(), torch.from_numpy(want).to(dtype))
    else:
        near(got, want, **({"atol": 2e-5} if dtype == torch.float32 else {}))


def test_an_oblong_image_is_rotated_and_not_sheared():
    """Pixel values are column numbers, so that a rotated image shows the column that it was sampled from."""
    height, width, turned = 9, 33, 0.9
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    picture = x.double().expand(1, 1, height, width)
    got = augment(picture, only("rotate", torch.tensor([[turned, 0.0, 0.0]])))[0, 0]
    angle = torch.deg2rad(torch.tensor((turned - 0.5) * 30.0, dtype=torch.float64))
    seen_x = 16 + torch.cos(angle) * (x - 16) - torch.sin(angle) * (y - 4)
    seen_y = 4 + torch.sin(angle) * (x - 16) + torch.cos(angle) * (y - 4)
    inside = (seen_x >= 0) & (seen_x <= width - 1) & (seen_y >= 0) & (seen_y <= height - 1)
    assert int(inside.sum()) > 150
    torch.testing.assert_close(got[inside], seen_x[inside], rtol=0, atol=1e-5)


def test_brightness_saturation_and_contrast_reach_the_papers_ranges():
    gray = torch.zeros(2, 3, 4, 4, dtype=torch.float64)
    lit = augment(gray, only("color", torch.tensor([[0.0, 0.5, 0.5], [1.0, 0.5, 0.5]])))
    assert lit.amin((1, 2, 3)).tolist() == [-0.5, 0.5]
    pixel = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    saturated = augment(pixel, only("color", torch.tensor([[0.5, 0.0, 0.5], [0.5, 1.0, 0.5]])))
    assert saturated[:, 0, 0, 0].tolist() == [0.0, 2.0]
    checks = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(8).view(1, 1, 4, 4).expand(2, 3, 4, 4)
    contrasted = augment(checks, only("color", torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 1.0]])))
    assert contrasted[:, 0, 0, 0].tolist() == [0.5, 1.5]


def test_crop_shifts_by_every_amount_up_to_four_and_no_other():
    image = torch.arange(1.0, 1 + 32 * 32).view(1, 1, 32, 32)
    uniforms = torch.linspace(0, LAST, 200).view(-1, 1).expand(-1, 3)
    out = augment(image.expand(200, 1, 32, 32), only("crop", uniforms))
    shifts = {int(center) - int(image[0, 0, 16, 16]) for center in out[:, 0, 16, 16]}
    assert shifts == {33 * step for step in range(-4, 5)}  # down and right by the same number


def test_cutout_centers_lie_on_every_pixel_edge():
    uniforms = torch.stack([torch.linspace(0, LAST, 400), torch.full((400,), 0.5), torch.zeros(400)], dim=1)
    erased = augment(torch.ones(400, 1, 32, 32), only("cutout", uniforms)) == 0
    rows = erased.any(3).squeeze(1).sum(1)
    assert erased.any(2).squeeze(1).sum(1).unique().tolist() == [16]
    assert sorted(rows.unique().tolist()) == list(range(8, 17))  # clipped at the border, half of it at worst


def test_flip_has_probability_one_half():
    image = torch.tensor([1.0, 2.0]).view(1, 1, 1, 2)
    uniforms = torch.rand(2000, 3, generator=generator(3))
    flipped = augment(image.expand(2000, 1, 1, 2), only("flip", uniforms))[:, 0, 0, 0] == 2
    assert 0.45 < flipped.double().mean() < 0.55


def test_scale_stretches_both_ways_by_one_fifth():
    ramp = torch.linspace(-1, 1, 33, dtype=torch.float64).view(1, 1, 1, 33).expand(2, 1, 33, 33)
    out = augment(ramp, only("scale", torch.tensor([[0.0, 0.5, 0.0], [1.0, 0.5, 0.0]])))
    slopes = (out[:, 0, 16, 20] - out[:, 0, 16, 12]) / (ramp[:, 0, 16, 20] - ramp[:, 0, 16, 12])
    torch.testing.assert_close(slopes, torch.tensor([1 / 1.2, 1.2], dtype=torch.float64))


def test_rotation_turns_by_fifteen_degrees_either_way():
    ramp = torch.linspace(-1, 1, 33, dtype=torch.float64).view(1, 1, 1, 33).expand(3, 1, 33, 33)
    out = augment(ramp, only("rotate", torch.tensor([[0.0] * 3, [1.0] * 3, [0.5] * 3])))
    across, down = out[:, 0, 16, 17] - out[:, 0, 16, 15], out[:, 0, 17, 16] - out[:, 0, 15, 16]
    torch.testing.assert_close(torch.rad2deg(torch.atan2(-down, across)).tolist(), [-15.0, 15.0, 0.0])


def mixed_draw() -> Draw:
    operations = torch.tensor([3, 0, 5, 2, 4, 1, 0, 5])
    return Draw(operations, torch.rand(8, 3, generator=generator(4)))


@pytest.mark.parametrize("rows", [[5, 0, 7, 2, 2, 4, 1, 3, 6, 0, 5], [7, 3, 3]], ids=["more", "fewer"])
def test_a_mixed_batch_equals_each_image_alone(rows, device, randn):
    draw, rows = mixed_draw(), torch.tensor(rows)
    images = randn(5, len(rows), 3, 8, 8).to(device)
    together = augment(images, draw, rows)
    for i, row in enumerate(rows.tolist()):
        alone = augment(images[i : i + 1], Draw(draw.operation[row : row + 1], draw.uniforms[row : row + 1]))
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kinds", [("flip",), ("color", "crop", "rotate"), OPERATIONS])
def test_all_operations_at_once_give_what_each_alone_does(kinds, randn):
    """As on a GPU, with their gradients."""
    draw = draw_per_class(12, kinds, generator(3))
    found = []
    for apply in (augment, dsa.by_all_operations):
        images = randn(0, 12, 3, 8, 8).double().requires_grad_()
        out = apply(images, draw)
        (out * randn(1, 12, 3, 8, 8)).sum().backward()
        found.append((out.detach(), images.grad))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-12, atol=1e-12)


def test_each_output_comes_from_the_image_in_its_place(randn):
    draw, rows = mixed_draw(), torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 3, 2])
    images = randn(6, 10, 1, 8, 8).requires_grad_()
    out = augment(images, draw, rows)
    assert out.shape == images.shape
    for i in range(10):
        (gradient,) = torch.autograd.grad(out[i].sum(), images, retain_graph=True)
        assert gradient.flatten(1).abs().sum(1).nonzero().flatten().tolist() == [i]


@pytest.mark.parametrize("operation", [*OPERATIONS, "mixed"])
def test_gradcheck(operation, randn):
    draw = mixed_draw()
    if operation != "mixed":
        draw = only(operation, draw.uniforms[:2])
    images = randn(7, len(draw.operation), 2, 4, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment(x, draw), images)


def test_the_input_is_not_modified(randn):
    images = randn(8, 8, 3, 8, 8)
    before = images.clone()
    augment(images, mixed_draw())
    assert torch.equal(images, before)


@pytest.mark.parametrize("operation", [*OPERATIONS, "mixed"])
def test_bfloat16_images_are_augmented_as_float32_and_rounded(operation, randn):
    draw = mixed_draw() if operation == "mixed" else only(operation, torch.rand(8, 3, generator=generator(9)))
    images = randn(9, 8, 3, 8, 8).bfloat16()
    out = augment(images, draw)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, augment(images.float(), draw).bfloat16(), rtol=2**-7, atol=1e-3)


def test_real_and_synthetic_images_of_a_class_share_their_augmentation(randn):
    for seed in range(20):
        draw = draw_per_class(4, OPERATIONS, generator(seed))
        pictures = randn(seed, 4, 3, 8, 8)
        labels_real, labels_syn = torch.tensor([2, 0, 3, 1, 1, 0, 2, 3, 3]), torch.tensor([3, 1, 0, 2])
        real = augment(pictures[labels_real], draw, labels_real)
        syn = augment(pictures[labels_syn], draw, labels_syn)
        torch.testing.assert_close(real, syn[torch.argsort(labels_syn)[labels_real]], rtol=0, atol=1e-14)


def test_every_class_gets_every_operation_about_equally_often():
    classes, draws = 5, 1200
    picked = torch.stack([draw_per_class(classes, OPERATIONS, generator(seed)).operation for seed in range(draws)])
    for k in range(classes):
        share = torch.bincount(picked[:, k], minlength=6) / draws
        assert share.shape == (6,)
        assert ((share > 0.12) & (share < 0.22)).all()  # 1/6, give or take 4 standard deviations
    together = (picked[:, 0] == picked[:, 1]).double().mean()
    assert 0.12 < together < 0.22  # classes are independent of each other


def test_uniforms_are_uniform_and_independent_of_the_operation():
    draw = draw_per_class(6000, OPERATIONS, generator(0))
    assert draw.uniforms.shape == (6000, 3)
    assert draw.uniforms.dtype == torch.float32
    assert 0 <= draw.uniforms.min() < 0.01
    assert 0.99 < draw.uniforms.max() < 1
    for index in range(6):
        assert draw.uniforms[draw.operation == index].mean(0).sub(0.5).abs().max() < 0.04


def test_draws_are_repeatable_and_follow_the_seed():
    first, again, other = (draw_per_class(20, OPERATIONS, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.operation, again.operation)
    assert torch.equal(first.uniforms, again.uniforms)
    assert not torch.equal(first.uniforms, other.uniforms)


@pytest.mark.parametrize("operations", [("flip",), ("rotate", "crop"), ("cutout", "color", "scale")])
def test_only_the_operations_asked_for_are_drawn(operations):
    wanted = {OPERATIONS.index(name) for name in operations}
    assert set(draw_per_class(200, operations, generator(0)).operation.tolist()) == wanted
    per_image = {draw_per_image(2, operations, generator(seed)).operation[0].item() for seed in range(50)}
    assert per_image == wanted


def test_draw_per_image_has_one_operation_and_parameters_of_each_image(randn):
    seen = set()
    for seed in range(60):
        draw = draw_per_image(7, OPERATIONS, generator(seed))
        assert draw.operation.shape == (7,)
        assert draw.uniforms.shape == (7, 3)
        assert draw.operation.unique().numel() == 1
        assert len(draw.uniforms.unique(dim=0)) == 7
        seen.add(draw.operation[0].item())
    assert seen == set(range(6))
    picture = randn(0, 1, 3, 8, 8).expand(7, 3, 8, 8)
    out = augment(picture, draw_per_image(7, ["color"], generator(0)))
    assert len(out.unique(dim=0)) == 7


def test_the_constants_are_the_papers():
    assert OPERATIONS == ("color", "crop", "cutout", "flip", "scale", "rotate")
    assert (dsa.BRIGHTNESS, dsa.SATURATION, dsa.CONTRAST) == (1.0, 2.0, 0.5)
    assert (dsa.CROP_PAD_RATIO, dsa.CUTOUT_RATIO, dsa.FLIP_PROBABILITY) == (0.125, 0.5, 0.5)
    assert (dsa.SCALE_RATIO, dsa.ROTATE_DEGREES) == (1.2, 15.0)


def test_images_in_any_order_are_augmented_as_in_order(randn):
    """Few runs of one operation are augmented as views, many are sorted first; results must be equal."""
    draw = draw_per_class(6, OPERATIONS, generator(4))
    rows = torch.arange(6).repeat_interleave(10)
    images = randn(1, 60, 3, 8, 8)
    shuffled = torch.randperm(60, generator=generator(5))
    assert len(torch.unique_consecutive(draw.operation[rows[shuffled]])) > dsa._MAX_RUNS
    mixed = augment(images[shuffled], draw, rows[shuffled])
    assert torch.equal(mixed, augment(images, draw, rows)[shuffled])
