"""What each export's printed example loads is the set itself, and a network learns from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.errors import ConfigError, DataError
from atom_distill.exporting.export_distilled import export_distilled
from atom_distill.exporting.formats import FORMATS
from atom_distill.importing.import_distilled import import_distilled
from atom_distill.ops.preprocessing import ChannelNormalization
from distillation.toys import go, toy_dataset

EXACT = ["pt", "npz", "parquet", "hf"]
FORMS = {
    "bytes": {"ipc": None, "bytes": 150, "pictures": 6},
    "frequency": {"parameterization": "frequency-4-2"},
    "frequency in float32": {"parameterization": "frequency-5", "bits": 32},
    "tiles": {"parameterization": "tiles-2"},
    "tiles of 6 bits": {"parameterization": "tiles-3", "bits": 6},
    "pixels of 16 bits": {"bits": 16},
    "pixels": {},
}
"""Forms of what is stored."""


def ran(example: str) -> dict:
    """Run an example as it is printed."""
    names: dict = {}
    exec(compile(example, "example", "exec"), names)
    return names


def intensities(tiny) -> np.ndarray:
    """Undo the preprocessing in float64."""
    images, stored = tiny.images.double().numpy(), tiny.preprocessing.tensors()
    if tiny.preprocessing.kind == "normalize":
        mean, std = (stored[name].double().numpy()[:, None, None] for name in ("mean", "std"))
        return images * std + mean
    side = len(stored["mean"])
    transform = np.zeros((side, side))
    transform[np.triu_indices(side)] = stored["transform_upper"].double().numpy()
    transform = transform + transform.T - np.diag(np.diag(transform))
    flat = images.reshape(len(images), -1) @ np.linalg.inv(transform) + stored["mean"].double().numpy()
    return flat.reshape(images.shape)


def learns(loader) -> tuple[float, float]:
    """Train a small network on all batches of a loader; give the loss before and after."""
    images, _ = next(iter(loader))
    classes = 5
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), 32), nn.ReLU(), nn.Linear(32, classes))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        for batch, labels in loader:
            loss = F.cross_entropy(network(batch), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    return losses[0], losses[-1]


@pytest.mark.parametrize("form", FORMATS.names())
@pytest.mark.parametrize(("kind", "soft"), [("zca", False), ("normalize", True)])
def test_the_printed_example_loads_the_set_and_trains(tmp_path, data, gray, distill, form, kind, soft):
    tiny = distill(data if kind == "zca" else gray, kind, soft=soft)
    suffix = FORMATS.get(form).suffix
    export = export_distilled(tiny, form, tmp_path / f"set{suffix}")
    assert len(export.example.splitlines()) == 4 or form == "safetensors"
    found = ran(export.example)
    assert found["images"].dtype == torch.float32
    assert torch.equal(found["labels"], tiny.soft_labels if soft else tiny.labels)
    if form != "imagefolder":
        assert torch.equal(found["images"], tiny.images)
        assert export.clipping is None
    else:
        lost = np.abs(found["images"].double().numpy() - intensities(tiny).clip(0, 1)).max()
        assert 0 < lost < 0.51 / 255
        assert found["images"].min() == 0
    first, last = learns(found["loader"])
    floor = float(-(tiny.soft_labels * tiny.soft_labels.log()).sum(1).mean()) if soft else 0.0
    assert last - floor < 0.2 * (first - floor)


def compact(name, tmp_path, *, soft=False):
    """Make a run of some form; the images of 9 x 12 pixels are no multiples of any tiles."""
    tiny = go(tmp_path / "run", data=toy_dataset((20, 20, 20), shape=(3, 9, 12)), method="random", **FORMS[name])
    if soft:
        labels = torch.randn(len(tiny), 3).softmax(1).half().float()
        tiny = replace(tiny, soft_labels=labels, folder=None)
    return tiny


@pytest.mark.parametrize("form", FORMATS.names())
@pytest.mark.parametrize("name", FORMS)
def test_exports_of_every_form_hold_the_decoded_images(name, form, tmp_path):
    tiny = compact(name, tmp_path)
    found = ran(export_distilled(tiny, form, tmp_path / f"set{FORMATS.get(form).suffix}").example)
    assert torch.equal(found["labels"], tiny.labels)
    if form == "imagefolder":
        wanted = torch.from_numpy(intensities(tiny).clip(0, 1)).float()
        torch.testing.assert_close(found["images"], wanted, atol=0.51 / 255, rtol=0)
    elif form == "safetensors":
        torch.testing.assert_close(found["images"], tiny.images, atol=1e-5, rtol=1e-5)
    else:
        assert torch.equal(found["images"], tiny.images)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("form", ["hf", "safetensors"])
def test_the_decoder_on_a_card_works_as_it_stands(name, form, soft, tmp_path, monkeypatch):
    tiny = compact(name, tmp_path, soft=soft)
    export_distilled(tiny, form, tmp_path / "set")
    card = (tmp_path / "set" / "README.md").read_text("utf-8")
    codes = [part.split("```")[0] for part in card.split("```python\n")[1:] if "safe_open" in part.split("```")[0]]
    assert len(codes) == (form == "safetensors" or name != "pixels")
    monkeypatch.chdir(tmp_path / "set")
    for code in codes:
        assert "atom_distill" not in code
        assert len(code.splitlines()) <= 80
        found = ran(code)
        torch.testing.assert_close(found["images"], tiny.images, atol=1e-5, rtol=1e-5)
        assert torch.equal(found["labels"], tiny.targets)


@pytest.mark.parametrize("name", FORMS)
def test_a_compact_export_is_as_small_as_the_run_and_loads(name, tmp_path):
    tiny = compact(name, tmp_path)
    folder = export_distilled(tiny, "safetensors").path
    same = ("distilled.safetensors", "preprocessing.safetensors")
    assert all((folder / file).read_bytes() == (tiny.folder / file).read_bytes() for file in same)
    assert f"{tiny.stored_bytes:,} bytes" in (folder / "README.md").read_text("utf-8")
    again = DistilledDataset.load(folder)
    assert torch.equal(again.images, tiny.images)
    assert again.stored_bytes == tiny.stored_bytes


def test_a_form_of_the_users_own_is_loaded_with_this_package(tmp_path):
    tiny = go(tmp_path / "run", method="random", parameterization="distillation.seams:HalfResolution")
    export = export_distilled(tiny, "safetensors")
    found = ran(export.example)
    assert torch.equal(found["images"], tiny.images)
    assert "atom_distill" in export.example


@pytest.mark.parametrize("form", ["imagefolder"])
def test_what_pictures_lose_is_told(tmp_path, data, distill, form):
    tiny = distill(data)
    clipping = export_distilled(tiny, form, tmp_path / "set").clipping
    real = intensities(tiny)
    outside = ((real < -0.5 / 255) | (real > 1 + 0.5 / 255)).mean()
    assert outside > 0.2
    assert clipping.share == pytest.approx(outside, abs=1e-3)
    assert (clipping.low, clipping.high) == (pytest.approx(real.min(), abs=1e-4), pytest.approx(real.max(), abs=1e-4))
    card = (tmp_path / "set" / "README.md").read_text("utf-8")
    assert f"{100 * outside:.1f} % of the values lie outside the range of a pixel" in card
    real_images = tiny.preprocessing.apply(data.train.images[:10])
    inside = export_distilled(distill(data, images=real_images), form, tmp_path / "real")
    assert inside.clipping.share == 0
    assert "every value fits" in str(inside.clipping)


def test_the_scripts_of_dc_and_dm_load_it(tmp_path, data, distill):
    """As their evaluation does it: the pairs under "data", labels made long."""
    tiny = distill(data, soft=True)
    path = export_distilled(tiny, "pt", tmp_path / "set.pt").path
    stored = torch.load(path, map_location="cpu", weights_only=True)
    pairs = stored["data"]
    images = torch.cat([pair[0] for pair in pairs])
    labels = torch.cat([pair[1] for pair in pairs]).long()
    assert torch.equal(images, tiny.images)
    assert torch.equal(labels, tiny.labels)  # soft ones made long would all be 0
    assert torch.equal(stored["soft_labels"], tiny.soft_labels)
    assert stored["class_names"] == list(tiny.class_names)
    assert isinstance(stored["accs_all_exps"], dict)


@pytest.mark.parametrize("sizes", [(2, 2, 2, 2, 2), (3, 1, 2, 1, 4)])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("kind", ["zca", "normalize"])
@pytest.mark.parametrize("form", EXACT)
def test_import_reads_back_what_is_exact(tmp_path, data, distill, form, kind, sizes, soft):
    settings = {**distill(data, kind, sizes).settings, "network_lr": 0.03}
    tiny = distill(data, kind, sizes, soft=soft, settings=settings)
    path = export_distilled(tiny, form, tmp_path / f"set{FORMATS.get(form).suffix}").path
    again = import_distilled(path, data, kind if soft else None)
    assert torch.equal(again.images, tiny.images)
    assert torch.equal(again.labels, tiny.labels)
    assert again.soft_labels is None if not soft else torch.equal(again.soft_labels, tiny.soft_labels)
    assert again.settings["network_lr"] == 0.03
    assert again.preprocessing.kind == again.settings["preprocess"] == kind
    stored = tiny.preprocessing.tensors()
    assert all(torch.equal(values, stored[name]) for name, values in again.preprocessing.tensors().items())
    assert {name: again.settings.get(name) for name in ("ipc", "budget")} == {
        name: tiny.settings.get(name) for name in ("ipc", "budget")
    }


@pytest.mark.parametrize("form", EXACT)
def test_import_keeps_the_transform_of_the_file_and_checks_its_classes(tmp_path, data, distill, form):
    """The transform may have been fitted on other images: of another split, or without those held out."""
    tiny = distill(data, "normalize")
    mean, std = tiny.preprocessing.mean, tiny.preprocessing.std
    tiny.preprocessing = ChannelNormalization(mean + 0.125, std * 2)
    path = export_distilled(tiny, form, tmp_path / f"set{FORMATS.get(form).suffix}").path
    again = import_distilled(path, data)
    assert torch.equal(again.preprocessing.mean, mean + 0.125)
    assert torch.equal(again.preprocessing.std, std * 2)
    with pytest.raises(ConfigError, match="model space of normalize, not of `preprocess=zca`; leave out `preprocess`"):
        import_distilled(path, data, "zca")
    other = replace(data, class_names=data.class_names[::-1])
    with pytest.raises(DataError, match=r"has 5 classes .*not those of toy in their order; is `dataset` the one"):
        import_distilled(path, other)


def test_what_is_no_table_of_ours(tmp_path, data, distill):
    folder = export_distilled(distill(data), "parquet", tmp_path / "set").path
    with pytest.raises(ConfigError, match="has tables, which give the labels; leave out `labels` and `experiment`"):
        import_distilled(folder, data, experiment=0)
    other = toy_dataset((9,) * 5, shape=(1, 8, 8), names=data.class_names)
    with pytest.raises(
        DataError, match=r"train\.parquet cannot be read as a table with tensors of 64 values \(1x8x8\)"
    ):
        import_distilled(folder, other)
    table = (folder / "train.parquet").read_bytes()
    for content in (b"", b"rubbish", table[:-40]):
        (folder / "train.parquet").write_bytes(content)
        with pytest.raises(DataError, match=r"train\.parquet cannot be read as a table"):
            import_distilled(folder, data)
    (folder / "train.parquet").write_bytes(table)
    np.savez(folder / "preprocessing.npz", kind=np.array("zca"), mean=np.zeros(3, np.float32))
    with pytest.raises(DataError, match=r"preprocessing\.npz holds a damaged transform.*; export the set again"):
        import_distilled(folder, data)
    pq.write_table(pa.table({"image": [1, 2], "label": [0, 1]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match=r"lacks the columns `model_space` and `label`.*; save images and labels as"):
        import_distilled(tmp_path / "other.parquet", data, "normalize")


def test_import_reads_back_the_pictures(tmp_path, data, distill):
    tiny = distill(data, sizes=(3, 1, 2, 1, 4))
    folder = export_distilled(tiny, "imagefolder", tmp_path / "set").path
    again = import_distilled(folder, data, "zca")
    assert torch.equal(again.labels, tiny.labels)
    assert torch.equal(again.pixels(), tiny.pixels())


@pytest.mark.parametrize("kind", ["zca", "normalize"])
@pytest.mark.parametrize("form", ["pt", "npz", "parquet"])
def test_one_line_applies_the_stored_transform_and_one_undoes_it(tmp_path, data, distill, form, kind):
    tiny = distill(data, kind)
    path = export_distilled(tiny, form, tmp_path / f"set{FORMATS.get(form).suffix}").path
    if form == "pt":
        stored = torch.load(path)
        transform = {name: np.asarray(value) for name, value in stored["preprocessing"].items()}
        pixels = stored["pixels"].numpy()
    else:
        stored = np.load(path if form == "npz" else path / "preprocessing.npz")
        transform = {name.removeprefix("preprocessing_"): stored[name] for name in stored.files}
        pixels = stored["pixels"] if form == "npz" else tiny.pixels().numpy()
    assert str(transform["kind"]) == kind
    real = data.test.images.numpy() / 255
    if kind == "zca":
        applied = ((real.reshape(len(real), -1) - transform["mean"]) @ transform["transform"]).reshape(real.shape)
        undone = tiny.images.flatten(1).numpy() @ np.linalg.inv(transform["transform"]) + transform["mean"]
    else:
        mean, std = transform["mean"][:, None, None], transform["std"][:, None, None]
        applied, undone = (real - mean) / std, tiny.images.numpy() * std + mean
    assert applied == pytest.approx(tiny.preprocessing.apply(data.test.images).numpy(), abs=1e-4)
    undone = undone.reshape(tiny.images.shape)
    assert undone == pytest.approx(intensities(tiny), abs=1e-4)
    assert np.abs(pixels - (255 * undone).clip(0, 255)).max() < 0.51


def test_npz_holds_names_and_no_pickle(tmp_path, data, distill):
    path = export_distilled(distill(data, soft=True), "npz", tmp_path / "set.npz").path
    with np.load(path, allow_pickle=False) as stored:
        assert stored["class_names"].tolist() == list(data.class_names)
        assert stored["soft_labels"].dtype == np.float32
        assert stored["labels"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("form", ["parquet", "hf", "imagefolder"])
def test_datasets_reads_the_folder_with_names_and_pictures(tmp_path, gray, distill, form):
    import datasets

    tiny = distill(gray, soft=True)
    folder = export_distilled(tiny, form, tmp_path / "set").path
    table = datasets.load_dataset(str(folder))["train"]
    assert table.features["label"].names == list(tiny.class_names)
    assert table["label"] == tiny.labels.tolist()
    assert np.array_equal(np.array(table["soft_label"], np.float32), tiny.soft_labels.numpy())
    pictures = np.stack([np.asarray(picture) for picture in table["image"]])
    assert np.array_equal(pictures, tiny.pixels()[:, 0].numpy())


def test_the_loader_of_image_folders_reads_it_without_our_card(tmp_path, data, distill):
    import datasets

    tiny = distill(data)
    folder = export_distilled(tiny, "imagefolder", tmp_path / "set").path
    (folder / "README.md").unlink()
    (folder / "grid.png").unlink()
    table = datasets.load_dataset("imagefolder", data_dir=str(folder), split="train")
    assert table["label"] == tiny.labels.tolist()
    assert np.array_equal(np.asarray(table[3]["image"]), tiny.pixels()[3].permute(1, 2, 0).numpy())
