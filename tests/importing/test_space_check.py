"""Images that do not look like images of the model space they are said to be in."""

from __future__ import annotations

import pytest
import torch

from atom_distill.base.errors import ConfigError
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.importing.import_distilled import import_distilled
from atom_distill.importing.space_check import are_pixel_values, share_of_intensities, space_mismatch
from atom_distill.ops.preprocessing import ChannelNormalization
from distillation.toys import toy_dataset

# Smooth pictures, as photographs are: whitening then shrinks what varies most, and its inverse stretches it.
DATA = toy_dataset((60, 60), shape=(3, 8, 8))
RAMP = torch.linspace(0, 1, 8)
SMOOTH = (255 * torch.rand(120, 3, 1, 1, generator=torch.Generator().manual_seed(0)) * RAMP).round().to(torch.uint8)
DATA.train.images[:] = SMOOTH.expand(-1, -1, 8, -1)
REAL = DATA.train.images[:40]
SPACES = {kind: fit_preprocessing(kind, DATA) for kind in ("normalize", "zca")}
NARROW = ChannelNormalization(SPACES["normalize"].mean, SPACES["normalize"].std * 0.8, "legacy-normalize")


@pytest.mark.parametrize("kind", ["normalize", "zca"])
def test_the_right_space_raises_none(kind):
    others = {other: space for other, space in SPACES.items() if other != kind}
    assert space_mismatch(SPACES[kind].apply(REAL), SPACES[kind], others) is None


def test_images_that_fit_another_space_exactly():
    images = NARROW.apply(REAL)
    told = space_mismatch(images, SPACES["normalize"], {"legacy-normalize": NARROW})
    assert "outside 0..1 after the inverse of normalize, and none after that of legacy-normalize" in told
    assert space_mismatch(images, NARROW, {"normalize": SPACES["normalize"]}) is None


def test_far_outside_and_nearly_flat():
    assert "far outside 0..1" in space_mismatch(SPACES["normalize"].apply(REAL) * 20, SPACES["normalize"], {})
    assert "nearly flat" in space_mismatch(SPACES["normalize"].apply(REAL) / 20, SPACES["normalize"], {})


def test_how_much_lies_where_intensities_do():
    stepped = REAL / 255 + 0.01 * torch.randn(REAL.shape, generator=torch.Generator().manual_seed(0))
    assert share_of_intensities(REAL / 255) == 1
    assert share_of_intensities(stepped) > 0.99
    for space in SPACES.values():
        assert share_of_intensities(space.apply(REAL)) < 0.8


def test_an_import_warns_of_it(tmp_path, capfd):
    path = tmp_path / "set.pt"
    order = torch.argsort(DATA.train.labels, stable=True)
    torch.save((SPACES["normalize"].apply(DATA.train.images)[order] * 30, DATA.train.labels[order]), path)
    import_distilled(path, DATA, "normalize")
    assert "warning: after the inverse of normalize most intensities range from" in capfd.readouterr().err
    recorded = {"kind": "normalize", **SPACES["normalize"].tensors()}
    torch.save({"data": [torch.load(path)], "preprocessing": recorded}, path)
    import_distilled(path, DATA)
    assert "warning" not in capfd.readouterr().err


def test_images_of_mean_and_deviation_one_half():
    told = space_mismatch(REAL / 127.5 - 1, SPACES["normalize"], {})
    assert "lie in -1..1" in told
    assert '(images + 1) / 2 and give `preprocess="none"`' in told
    noise = torch.randn(REAL.shape, generator=torch.Generator().manual_seed(0))
    for images in (noise, 0.3 * noise, SPACES["normalize"].apply(REAL)):
        assert "lie in -1..1" not in (space_mismatch(images, SPACES["normalize"], {}) or "")


def test_a_space_that_is_minus_one_to_one_itself():
    """Of pictures in black and white: their mean and deviation are one half."""
    half = ChannelNormalization(torch.full((3,), 0.5), torch.full((3,), 0.5))
    assert space_mismatch(half.apply(255 * (REAL > 127)), half, {}) is None


@pytest.mark.parametrize("preprocess", [None, "none", "normalize", "zca"])
@pytest.mark.parametrize("step", [0.0, 0.5])
def test_floats_that_are_pixels_are_refused(tmp_path, preprocess, step):
    path = tmp_path / "set.pt"
    order = torch.argsort(DATA.train.labels, stable=True)
    noise = torch.randn(DATA.train.images.shape, generator=torch.Generator().manual_seed(0))
    torch.save((DATA.train.images[order] + step * noise, DATA.train.labels[order]), path)
    with pytest.raises(ConfigError, match=r"pixel values: save them as uint8 .* divide them by 255 and give `prepr"):
        import_distilled(path, DATA, preprocess)


def test_no_space_looks_like_pixels():
    for images in (REAL / 255, *(space.apply(REAL) for space in (*SPACES.values(), NARROW))):
        assert not are_pixel_values(images.float())
        assert not are_pixel_values(20 * (images.float() - images.float().mean()))
    assert are_pixel_values(REAL.float())
