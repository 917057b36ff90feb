"""The parts of a page against what they are made from: sheets, neighbors, attention, curves, tables."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from atom_distill.api import distill
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.data.sources.digits import load_digits
from atom_distill.ops.attention import attention_to_places, channel_attention, spatial_attention
from atom_distill.report import neighbors
from atom_distill.report.charts import curve_charts
from atom_distill.report.comparison import Column, comparison
from atom_distill.report.curves import Point, loss_points, size_points, term_points
from atom_distill.report.fixed_network import FixedNetwork, class_means, concatenated
from atom_distill.report.gallery import gallery, images_to_show, shrink_of
from atom_distill.report.neighbors import nearest
from atom_distill.report.network_analysis import Analyzer
from atom_distill.report.reading import RunView, read_run
from atom_distill.report.real_images import RealDatasets
from atom_distill.report.settings_table import settings_lines
from atom_distill.report.sprites import Sprite, sprite
from distillation.toys import go, toy_dataset


def opened(sheet: Sprite) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet.uri.split(",")[1]))).convert("RGB"))


def tile(sheet: Sprite, index: int) -> np.ndarray:
    top, left = index // sheet.columns * sheet.down, index % sheet.columns * sheet.across
    return opened(sheet)[top : top + sheet.height, left : left + sheet.width]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_tiles_are_cut_where_they_were_laid(channels, count):
    images = noise(count, channels, 5, 9)
    sheet = sprite(images, "exact")
    assert (sheet.width, sheet.height, sheet.tiles) == (9, 5, count)
    for index, image in enumerate(images):
        assert (tile(sheet, index) == image.expand(3, -1, -1).permute(1, 2, 0).numpy()).all()


@pytest.mark.parametrize(("coding", "error"), [("photo", 4), ("sketch", 10)])
def test_lossy_tiles_stay_near_and_do_not_bleed(coding, error):
    """Flat tiles beside their opposites, of a size that no block of the coding fits."""
    images = torch.tensor([0, 255, 30, 220], dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, 10, 10).contiguous()
    sheet = sprite(images, coding)
    assert sheet.across % 16 == sheet.down % 16 == 0
    for index, value in enumerate([0, 255, 30, 220]):
        assert abs(tile(sheet, index).astype(int) - value).max() <= error


def test_the_nearest_image_of_a_training_image_is_itself():
    data = load_digits()
    preprocessing = fit_preprocessing("normalize", data)
    network = FixedNetwork({"width": 8}, (1, 8, 8), 10)
    chosen = torch.tensor([3, 500, 77])
    images = preprocessing.apply(data.train.images[chosen])
    seen = network.responses(images)
    dimmed = preprocessing.invert(images) * 0.3 + 0.2  # contrast and brightness play no part in the shortlist
    found = nearest(dimmed, seen.embedding, data.train.labels[chosen], data, network, preprocessing)
    assert found[:, 0].tolist() == chosen.tolist()
    assert (data.train.labels[found] == data.train.labels[chosen][:, None]).all()
    assert all(len(set(row)) == 3 for row in found.tolist())


def test_the_nearest_are_the_same_however_many_are_compared_at_once(monkeypatch):
    data = load_digits()
    preprocessing = fit_preprocessing("normalize", data)
    network, labels = FixedNetwork({"width": 8}, (1, 8, 8), 10), torch.tensor([0, 0, 7])
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    asked = images, network.responses(images).embedding, labels, data, network, preprocessing
    whole, most = nearest(*asked), []
    standardized = neighbors._standardized
    monkeypatch.setattr(neighbors, "_standardized", lambda x: (most.append(len(x)), standardized(x))[1])
    monkeypatch.setattr(neighbors, "_PART_BYTES", 4 * 64 * 20)
    assert torch.equal(nearest(*asked), whole)
    assert max(most) == 20


def test_a_class_with_fewer_images_gives_none_for_the_rest():
    data = load_digits()
    few = torch.cat([indices[: 2 if label == 4 else 5] for label, indices in enumerate(data.class_indices())])
    data = replace(data, train=data.train.subset(few))
    preprocessing = fit_preprocessing("normalize", data)
    network = FixedNetwork({"width": 8}, (1, 8, 8), 10)
    pixels = data.train.images[data.class_indices()[4][:1]]
    images = preprocessing.apply(pixels)
    found = nearest(images, network.responses(images).embedding, torch.tensor([4]), data, network, preprocessing)
    assert found[0, 0] == data.class_indices()[4][0]
    assert found[0, 2] == -1


def test_the_network_shows_the_attention_that_is_matched():
    network, images = FixedNetwork({"width": 8, "spatial_power": 2.0}, (3, 8, 8), 4), torch.randn(70, 3, 8, 8)
    seen = network.responses(images)
    maps = network._network.features(images).maps
    for layer, spatial, channel in zip(maps, seen.spatial, seen.channel, strict=False):
        torch.testing.assert_close(spatial.flatten(1), spatial_attention(layer, power=2.0))
        torch.testing.assert_close(channel, channel_attention(layer, power=4.0))
    assert torch.equal(
        FixedNetwork({"width": 8}, (3, 8, 8), 4).responses(images).embedding, seen.embedding
    )  # the same each time


def test_of_a_transformer_it_shows_the_attention_that_tokens_pay():
    network, images = FixedNetwork({"arch": "vit", "width": 64, "depth": 2}, (3, 8, 8), 4), torch.randn(3, 3, 8, 8)
    seen, features = network.responses(images), network._network.features(images)
    torch.testing.assert_close(seen.spatial[1].flatten(1), attention_to_places(features.of_kind("attention")[1]))
    assert seen.spatial[0].shape == (3, 8, 8)
    torch.testing.assert_close(seen.channel[1], channel_attention(features.maps[1]))


def test_class_means_over_batches_are_means():
    network, images = FixedNetwork({"width": 8}, (1, 8, 8), 4), torch.randn(9, 1, 8, 8)
    labels = torch.tensor([0, 1, 0, 2, 2, 2, 1, 0, 2])
    seen = network.responses(images)
    means = class_means(concatenated([network.responses(part) for part in images.split(4)]), labels, 4)
    for label in range(3):
        torch.testing.assert_close(means.channel[0][label], seen.channel[0][labels == label].mean(0))
        torch.testing.assert_close(means.spatial[1][label], seen.spatial[1][labels == label].mean(0))
    assert not means.channel[0][3].any()
    assert means.counts.tolist() == [3, 2, 4, 0]


def test_real_images_are_seen_as_the_same_pixels_in_one_batch():
    data, network = load_digits(), FixedNetwork({"width": 8}, (1, 8, 8), 10)
    preprocessing, chosen = fit_preprocessing("normalize", data), torch.arange(3, 75)  # more than two batches
    seen = concatenated(list(network.real_batches(data, chosen, preprocessing, "test")))
    maps = network._network.features(preprocessing.apply(data.train.images[chosen])).maps
    torch.testing.assert_close(seen.channel[0], channel_attention(maps[0], power=4.0))
    assert len(seen.embedding) == 72


def test_a_gallery_holds_the_images_and_their_way(made):
    view = read_run(made / "atom", RealDatasets())
    shown = gallery(view, Analyzer(), count=20)
    assert [frame.step for frame in shown.frames] == [0, 2, 4, 6, 8, 10, 12]
    assert [frame.sheet is None for frame in shown.frames] == [False] * 6 + [True]  # which is the result
    for index in range(20):
        assert (tile(shown.tiles, index)[..., 0] == view.pictures[index, 0].numpy()).all()
    assert shown.labels == sorted(list(range(10)) * 2)
    assert len(shown.neighbor_ids) == 60
    assert len(shown.layers) == 3
    assert all(len(layer.channels_real) == len(layer.channels_syn) == 11 for layer in shown.layers)


def test_the_nearest_other_is_not_the_image_that_it_began_as(made):
    shown = gallery(read_run(made / "dm", RealDatasets()), Analyzer(), count=20)
    begun = DistilledDataset.load(made / "random").record["selection"]["indices"]  # of one seed, so the same
    for index, place in enumerate(shown.nearest_other):
        mine = shown.neighbor_ids[3 * index : 3 * index + 3]
        assert shown.neighbor_ids[place] == next(one for one in mine if one != begun[index])
    assert any(shown.neighbor_ids[3 * index] == begun[index] for index in range(20))  # else the test shows nothing


def test_few_images_are_the_first_of_each_class(made):
    view = read_run(made / "atom", RealDatasets())
    shown = gallery(view, None, count=10)
    assert shown.labels == list(range(10))
    assert shown.total == 20
    assert (tile(shown.tiles, 3)[..., 0] == view.pictures[6, 0].numpy()).all()
    assert shown.layers is None


def test_both_means_of_attention_are_over_the_classes_of_the_images_shown(made):
    (layer, *_) = gallery(read_run(made / "atom", RealDatasets()), Analyzer(), count=3).layers
    for means in (layer.channels_real, layer.channels_syn):
        assert np.array(means[0]) == pytest.approx(np.array(means[1:4]).mean(0), rel=1e-3)


@pytest.mark.parametrize(
    ("side", "classes", "runs", "most", "want"),
    [
        (32, 10, 1, None, 800),
        (32, 10, 4, None, 200),
        (8, 10, 1, None, 1000),
        (64, 200, 1, None, 200),
        (64, 200, 2, 100, 50),
        (224, 10, 1, None, 16),
    ],
)
def test_how_many_images_a_page_takes(tmp_path, side, classes, runs, most, want):
    names = tuple(map(str, range(classes)))
    view = RunView(tmp_path, class_names=names, pictures=torch.zeros(1, 3, side, side, dtype=torch.uint8))
    assert images_to_show([view] * runs, most) == want


@pytest.mark.parametrize(
    ("side", "classes", "runs", "shrink"),
    [
        *((32, 10, 4, 1), (64, 200, 1, 1), (64, 200, 2, 2)),
        *((128, 100, 1, 2), (128, 200, 1, 2), (224, 20, 1, 1), (224, 100, 1, 3)),
    ],
)
def test_many_classes_are_shown_smaller(tmp_path, side, classes, runs, shrink):
    """Until the pixels of all runs, divided by the square of the factor, are a thousand images of 32x32 at most."""
    names, labels = tuple(map(str, range(classes))), torch.arange(classes).repeat_interleave(10)
    pictures = torch.zeros(1, 3, side, side, dtype=torch.uint8)
    views = [RunView(tmp_path, class_names=names, labels=labels, pictures=pictures)] * runs
    count = images_to_show(views, None)
    assert count >= classes
    assert shrink_of(views, count) == shrink


def test_a_smaller_picture_has_the_means_of_squares(made):
    view = read_run(made / "atom", RealDatasets())
    shown = gallery(view, Analyzer(), 10, shrink=2)
    assert (shown.tiles.width, shown.frames[0].sheet.height, shown.neighbors.width) == (4, 4, 4)
    picture = view.pictures[6, 0].numpy().astype(float)
    means = (picture[::2, ::2] + picture[1::2, ::2] + picture[::2, 1::2] + picture[1::2, 1::2]) / 4
    assert np.abs(tile(shown.tiles, 3)[..., 0] - means).max() <= 0.5
    assert [layer.maps.width for layer in shown.layers] == [4, 4, 2]
    assert "sides of the pictures are divided by 2" in view.missing[-1]


def test_a_long_curve_is_averaged_over_equal_parts(tmp_path):
    history = [{"step": step, "loss": float(step), "terms": {"a": 1.0, "b": float(step % 2)}} for step in range(1, 901)]
    view = RunView(tmp_path, history=history)
    points = loss_points([view])
    assert len(points) == 300
    assert (points[0].step, points[0].value) == (3, 2.0)
    assert (points[-1].step, points[-1].value) == (900, 899.0)
    history[5]["terms"]["b"] = float("nan")  # which JSON does not have
    terms = term_points(view)
    assert all(math.isfinite(point.value) for point in terms)
    assert {point.series for point in terms} == {"a", "b"}
    assert {point.value for point in terms if point.series == "a"} == {1.0}


def test_a_curve_by_size_has_comparable_scores(made):
    view = read_run(made / "atom", RealDatasets())
    score = view.scores[0]
    assert size_points([view]) == []  # one size is no curve
    first = score.model_copy(update={"first": 1, "runs": (30.0, 31.0)})
    view.scores = [
        score,
        first,
        first.model_copy(update={"runs": (40.0, 41.0)}),  # evaluated again
        first.model_copy(update={"runs": (1.0,)}),
        first.model_copy(update={"subject": "random", "runs": (2.0, 2.0, 2.0)}),
        first.model_copy(update={"which": "best", "runs": (3.0, 3.0, 3.0)}),
    ]
    assert size_points([view]) == [Point("atom", 1, 40.5), Point("atom", 2, round(score.mean, 2))]
    view.scores += [score.model_copy(update={"arch": "vit", "first": first}) for first in (1, None)]
    assert {point.series for point in size_points([view])} == {"atom, convnet, dm(epochs=2)", "atom, vit, dm(epochs=2)"}
    axis = curve_charts([view])["sizes"]["layer"][0]["encoding"]["x"]
    assert (axis["title"], axis["axis"]["values"], axis["scale"]["type"]) == ("images per class", [1, 2], "log")


@pytest.mark.parametrize(
    ("settings", "scored", "sizes"),
    [
        ({"ipc": 4}, [], None),
        ({"ipc": 4}, [3], [3, 4]),
        ({"ipc": 4, "nested": True}, [3], [1, 2, 3, 4]),
        ({"ipc": 2, "parameterization": "tiles-2"}, [1], [2, 4]),
        ({"ipc": None, "bytes": 100, "pictures": 4}, [3], [3, 4]),
        ({"ipc": None, "budget": 12, "nested": True}, [], None),
    ],
)
def test_sizes_are_those_of_a_nested_run_and_of_scores(made, settings, scored, sizes):
    score = read_run(made / "atom", RealDatasets()).scores[0]
    view = RunView(
        made,
        settings=settings,
        class_names=("a", "b", "c"),
        labels=torch.arange(3).repeat_interleave(4),
        pictures=noise(12, 1, 4, 4),
        scores=[score.model_copy(update={"first": first}) for first in scored],
    )
    assert gallery(view, None, count=12).sizes == sizes


@pytest.mark.parametrize("settings", [{"ipc": 3}, {"ipc": 3, "parameterization": "tiles-2", "bits": 4}])
def test_sizes_are_told_in_bytes(settings, tmp_path):
    data = toy_dataset((20, 20, 20))
    run = go(tmp_path / "run", data=data, steps=1, nested=True, **settings)
    shown = gallery(read_run(tmp_path / "run", lambda _: data), None, count=100)
    per_stored = run.parameterization.images_per_row
    assert shown.per_row == per_stored
    assert shown.sizes == [count * per_stored for count in (1, 2, 3)]
    assert shown.size_bytes == [-(-run.head(count).stored_bytes // 3) for count in (1, 2, 3)]


def test_scores_of_two_protocols_or_networks_never_share_a_column(made):
    views = [read_run(made / name, RealDatasets()) for name in ("atom", "dm", "random")]
    table = comparison(views)
    assert table.columns == [
        Column("digits", "convnet", "dm(epochs=2)"),
        Column("digits", "convnet", "dm(epochs=3)"),
        Column("digits", "vit", "dm(epochs=2)"),
    ]
    rows = {row[0].text: row for row in table.rows}
    assert list(rows) == ["atom", "dm", "random"]
    width = len(table.heads) + 3
    assert all(len(row) == width for row in table.rows)
    values = {name: [cell.key for cell in row[-3:]] for name, row in rows.items()}
    assert values["atom"] == [views[0].scores[0].mean, views[0].scores[1].mean, views[0].scores[2].mean]
    assert values["dm"] == [None, views[1].scores[0].mean, None]
    assert values["random"] == [None, None, None]
    facts = dict(zip(table.heads, rows["atom"], strict=False))
    assert (facts["images"].key, facts["ipc"].key, facts["steps"].key) == (20, 2, 12)
    assert facts["bytes"].key == 20 * 64 * 4 + 8  # float32, a mean and a deviation
    assert facts["compression"].key == pytest.approx(len(load_digits().train) * 64 / facts["bytes"].key)
    assert facts["seconds"].key == views[0].record["seconds"] > 0


@pytest.mark.parametrize(
    ("form", "images", "stored"),
    [
        ({"ipc": 2, "parameterization": "tiles-2"}, 80, 20),
        ({"bytes": 128, "pictures": 8}, 80, 20),  # two images of 64 values
        ({"ipc": 2, "bits": 4}, 20, 20),
    ],
)
def test_compression_is_in_bytes_as_the_card_has_it(form, images, stored, tmp_path):
    digits = load_digits()
    made = distill(digits, out=tmp_path, method="random", show_progress=False, device="cpu", **form)
    table = comparison([read_run(tmp_path, RealDatasets())])
    facts = dict(zip(table.heads, table.rows[0], strict=False))
    assert facts["images"].key == images
    assert facts["images"].hint == ("" if images == stored else "4 for each stored one")
    assert facts["compression"].key == pytest.approx(len(digits.train) * 64 / made.stored_bytes)
    assert f"{facts['compression'].text.removesuffix(' : 1')} times smaller" in made.card_content().size


def test_scores_of_soft_labels_have_a_column_of_their_own(made):
    view = read_run(made / "atom", RealDatasets())
    score = view.scores[0]
    view.scores = [score, score.model_copy(update={"labels": "soft", "runs": (70.0, 72.0)})]
    table = comparison([view])
    assert [column.labels for column in table.columns] == ["hard", "soft"]
    assert [cell.key for cell in table.rows[0][-2:]] == [score.mean, 71]


def test_the_best_images_and_references_have_rows_of_their_own(made):
    view = read_run(made / "atom", RealDatasets())
    score = view.scores[0]
    view.scores = [
        score,
        score.model_copy(update={"which": "best", "runs": (50.0, 52.0)}),
        score.model_copy(update={"subject": "random", "runs": (40.0,)}),
        score.model_copy(update={"subject": "random", "form": "tiles-2", "runs": (45.0,)}),
        score.model_copy(update={"seed": 9, "runs": (1.0, 2.0, 3.0)}),
    ]
    rows = {row[0].text: row[-1] for row in comparison([view]).rows}
    assert rows["atom"].text == "2.0 ± 1.0"  # of the most networks
    assert f"{score.mean:.1f}" in rows["atom"].hint  # the other is named as well
    assert rows["atom (best on held-out images)"].key == 51
    assert rows["random real images"].text == "40.0"
    assert rows["random real images, tiles-2"].text == "45.0"


def test_references_of_other_data_sets_and_preprocessings_have_rows_of_their_own(made):
    view = read_run(made / "atom", RealDatasets())
    score = view.scores[0].model_copy(update={"subject": "random"})
    view.scores = [score, other := score.model_copy(update={"dataset": "mine", "runs": (40.0,)})]
    _, *rows = comparison([view]).rows
    assert [(row[0].text, row[2].text) for row in rows] == [
        ("random real images", "digits"),
        ("random real images", "mine"),
    ]
    assert [row[-1].text for row in rows] == ["-", "40.0"]
    view.scores = [score, other.model_copy(update={"dataset": score.dataset, "preprocess": "zca"})]
    _, *rows = comparison([view]).rows
    assert [row[0].text for row in rows] == ["random real images, normalize", "random real images, zca"]


def test_settings_that_differ_are_marked(made):
    views = [read_run(made / name, RealDatasets()) for name in ("atom", "dm")]
    lines = {(line.group, line.name): line for line in settings_lines(views)}
    assert lines["settings", "method"].differs
    assert lines["settings", "method"].values == ["atom", "dm"]
    assert lines["settings", "steps"].values == ["12", "8"]
    assert not lines["settings", "ipc"].differs
    assert lines["settings", "depth"].values == ["not set"] * 2
    assert not lines["data set", "fingerprint"].differs
    assert lines["made with", "seconds"].values[0] != "-"
