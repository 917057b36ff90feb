"""Sets of plain intensities, with one picture or a grid of them in each image, as IDC, DREAM and NCFM save them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.errors import ConfigError
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.importing.import_distilled import import_distilled
from distillation.toys import toy_dataset
from oracles.bilinear import tiles


def normalized(values: np.ndarray, data) -> np.ndarray:
    """Subtract the mean and divide by the deviation of each channel over the training pixels, in float64."""
    train = data.train.images.numpy().astype(np.float64) / 255
    mean, std = (getattr(train, name)((0, 2, 3))[:, None, None] for name in ("mean", "std"))
    return (values - mean) / std


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8])
def test_intensities_are_normalized(write, data, pixels, labels, dtype):
    values = pixels if dtype == torch.uint8 else pixels.to(dtype) / 255
    tiny = import_distilled(write("data.pt", [values, labels]), data, "none")
    assert torch.equal(tiny.images, fit_preprocessing("normalize", data).apply(pixels))
    np.testing.assert_allclose(tiny.images, normalized(pixels.numpy() / 255, data), atol=1e-5)
    assert torch.equal(tiny.pixels(), pixels)
    assert tiny.settings["preprocess"] == tiny.preprocessing.kind == "normalize"


def test_a_last_step_may_lead_out_of_the_range(write, data, pixels, labels):
    """IDC and NCFM clip before each step, and not after the last."""
    random = torch.Generator().manual_seed(0)
    values = (pixels / 255).clamp(0, 1) + 0.01 * torch.randn(pixels.shape, generator=random)
    assert values.min() < 0
    tiny = import_distilled(write("data.pt", [values, labels]), data, "none")
    np.testing.assert_allclose(tiny.images, normalized(values.double().numpy(), data), atol=1e-5)


def test_images_in_model_space_are_not_filled_up(write, data, pixels, labels):
    images = fit_preprocessing("normalize", data).apply(pixels)
    with pytest.raises(ConfigError, match="8x8 values in model space have no 3x3 tiles of one size"):
        import_distilled(write("data.pt", [images, labels]), data, "normalize", factor=3)


@pytest.mark.parametrize("preprocess", [None, "normalize", "zca"])
def test_intensities_are_not_taken_for_a_model_space(write, data, pixels, labels, preprocess):
    path = write("data.pt", [pixels / 255, labels])
    with pytest.raises(ConfigError, match=r'`preprocess="none"` .*`factor=2`.*normalize') as caught:
        import_distilled(path, data, preprocess)
    assert "\n" not in str(caught.value)


def test_a_model_space_is_not_taken_for_intensities(write, data, images, labels):
    path = write("data.pt", [images, labels])
    with pytest.raises(ConfigError, match=r"outside 0\.\.1.*give the model space"):
        import_distilled(path, data, "none")
    with pytest.raises(ConfigError, match=r"in which model space are the images\? Give `preprocess`: zca, normalize"):
        import_distilled(path, data)


@pytest.mark.parametrize(("factor", "side", "fill"), [(2, 8, 0), (3, 8, 1), (4, 8, 0), (2, 9, 1)])
def test_grids_are_divided_and_enlarged(tmp_path, write, factor, side, fill):
    """As IDC decodes them: filled up with 0.5 at the right and bottom where the factor does not divide the side."""
    data = toy_dataset((9, 9, 9), shape=(3, side, side))
    random = torch.Generator().manual_seed(1)
    values = torch.rand(6, 3, side, side, generator=random)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    tiny = import_distilled(write("data.pt", [values, labels]), data, "none", factor=factor)
    in_order = values[torch.tensor([0, 3, 1, 4, 2, 5])].double().numpy()
    grids = np.pad(in_order, ((0, 0), (0, 0), (0, fill), (0, fill)), constant_values=0.5)
    wanted = np.stack([tile for grid in grids for tile in tiles(grid, factor, side, side)])
    assert tiny.settings["ipc"] == 2
    assert tiny.settings["parameterization"] == f"tiles-{factor}"
    assert tiny.ipc == 2 * factor**2
    np.testing.assert_allclose(tiny.images, normalized(wanted, data), atol=1e-5)
    assert tiny.labels.tolist() == [label for label in range(3) for _ in range(2 * factor**2)]
    tiny.save(tmp_path / "run")
    again = DistilledDataset.load(tmp_path / "run")
    assert torch.equal(again.images, tiny.images)
    assert torch.equal(again.labels, tiny.labels)
    assert "tiles" in (tmp_path / "run" / "README.md").read_text("utf-8")


def test_soft_labels_are_those_of_every_tile(write, data, pixels):
    soft = torch.softmax(4 * torch.eye(3).repeat_interleave(2, 0) + torch.rand(6, 3), 1)
    tiny = import_distilled(write("data.pt", [pixels / 255, soft]), data, "none", factor=2)
    assert tiny.soft_labels.shape == (24, 3)
    torch.testing.assert_close(tiny.soft_labels, soft.repeat_interleave(4, 0))


def test_grids_of_a_model_space_and_of_pixels(write, data, images, pixels, labels):
    path = write("images.pt", [images, labels])
    tiny = import_distilled(path, data, "normalize", factor=2)
    assert torch.equal(tiny.stored["images"], images)
    of_pixels = import_distilled(write("pixels.pt", [pixels, labels]), data, "none", factor=2)
    assert torch.equal(of_pixels.images, tiny.images)
    with pytest.raises(ConfigError, match="cannot be whitened before their grids are divided"):
        import_distilled(write("pixels.pt", [pixels, labels]), data, "zca", factor=2)
    for factor in (0, 5):
        with pytest.raises(ConfigError, match="`factor` must be 1, 2, 3 or 4"):
            import_distilled(path, data, "normalize", factor=factor)


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_grids_are_noticed(write, labels, capfd, factor):
    """Smooth pictures side by side: large steps where they meet."""
    data = toy_dataset((9, 9, 9), shape=(3, 24, 24))
    random = torch.Generator().manual_seed(2)
    smooth = torch.rand(6, 3, factor, factor, generator=random).repeat_interleave(24 // factor, 2)
    smooth = smooth.repeat_interleave(24 // factor, 3)
    values = (0.8 * smooth + 0.2 * torch.rand(6, 3, 24, 24, generator=random)).clamp(0, 1)
    import_distilled(write("data.pt", [values, labels]), data, "none")
    told = capfd.readouterr().err
    assert ("warning" in told) is (factor > 1)
    assert factor == 1 or f"grids of {factor}x{factor} smaller ones" in told
    if factor > 1:
        import_distilled(write("data.pt", [values, labels]), data, "none", factor=factor)
        assert "warning" not in capfd.readouterr().err
