"""The notes under a table: what departs from the papers, and what its figures add up to."""

from __future__ import annotations

import statistics

import pytest

from atom_distill.reproduce.cell import BEST_ROW, HELD_OUT_ROW
from atom_distill.reproduce.comparisons import difference
from atom_distill.reproduce.cost import Cost
from atom_distill.reproduce.table_layout import markdown
from atom_distill.reproduce.table_notes import notes
from reproduce.results_made_up import result


def test_every_departure_is_told_by_row():
    text = "\n".join(
        notes(
            [
                result("random", steps=0),
                result("dsa", steps=50),
                result("atom", published=34.8, steps=8000, protocol="dm(epochs=9)"),
            ]
        )
    )
    assert "none (real images): random" in text
    assert "50 of the published 1000: dsa" in text
    assert "8000: atom" in text
    assert "dm: random, dsa; dm(epochs=9): atom" in text
    assert "best evaluation on the test split" in text
    assert "a random subset of its own" in text


def test_the_steps_of_a_preset_are_told_with_its_name():
    preset = result("best", steps=280, settings={"method": "atom", "preset": "best", "ipc": 1})
    told = "\n".join(notes([preset, result("atom", steps=8000)]))
    assert "280, with the preset best: best; 8000: atom" in told
    assert "Its sets take one byte per value of an uncompressed image, a quarter of float32." in told


def test_a_step_of_gradient_matching_is_explained_where_it_is_several_updates():
    told = "A step of dc and dsa is a network with as many updates"
    assert told in "\n".join(notes([result("dsa", settings={"method": "dsa", "ipc": 10})]))
    assert told not in "\n".join(notes([result("dsa", settings={"method": "dsa", "ipc": 1})]))
    cost = Cost(row="dc", column="c", seconds_per_step=1, peak_mb=1, steps=1, settings={"method": "dc", "ipc": 10})
    assert told in markdown("cost", [cost])


def test_a_departure_is_told_by_column_where_columns_differ():
    found = [result(row, column, preprocess=column) for row in ("dm", "atom") for column in ("zca", "normalize")]
    assert "Preprocessing: zca: zca; normalize: normalize." in notes(found)
    mixed = [result("dm", "a", precision="float32"), result("dm", "b"), result("atom", "a"), result("atom", "b")]
    assert "float32: dm/a; bfloat16: dm/b, atom/a, atom/b." in "\n".join(notes(mixed))


def test_what_attention_and_whitening_add_is_worked_out():
    found = [
        result("dm", "a zca", mean=30.0),
        result("atom", "a zca", mean=40.0),
        result("dm", "a normalize", mean=20.0, preprocess="normalize"),
        result("atom", "a normalize", mean=21.0, preprocess="normalize"),
    ]
    told = "\n".join(notes(found))
    error = statistics.stdev((29.0, 31.0)) / 2**0.5 * 2**0.5  # of a mean of two, and of a difference of two means
    assert (
        f"(atom minus dm, points, standard error): a zca +10.0 ± {error:.1f}; a normalize +1.0 ± {error:.1f}, which"
        in told
    )
    assert "(zca minus normalize, points, standard error): dm +10.0 ± 1.4; atom +19.0 ± 1.4." in told


def test_two_networks_prove_little_and_one_nothing():
    pair = [result("dm", mean=30.0), result("atom", mean=34.0)]  # t = 2.8 with 2 degrees of freedom: p = 0.11
    assert "+4.0 ± 1.4, which may be chance" in "\n".join(notes(pair))
    assert difference(pair[1], pair[0]).p_value == pytest.approx(0.1056, abs=1e-4)
    single = [one.model_copy(update={"runs": (one.mean,)}) for one in pair]
    assert "+4.0 ± 0.0, which may be chance" in "\n".join(notes(single))


def test_what_batch_normalization_adds_is_worked_out():
    own = {"method": "atom", "ipc": 1}
    found = [
        result("atom", "a", mean=40.0),
        result("atom", "a norm batch", mean=30.0, settings={**own, "norm": "batch"}),
    ]
    told = "What batch normalization adds (batch minus instance, points, standard error): atom -10.0 ± 1.4."
    assert told in notes(found)
    more = [one.model_copy(update={"column": f"b {one.column}", "steps": 900}) for one in found]
    assert "atom/a norm batch -10.0 ± 1.4; atom/b a norm batch -10.0 ± 1.4." in "\n".join(notes([*found, *more]))


def test_best_images_are_compared_with_best_images_and_the_last_with_the_last():
    found = [
        result(row, f"cifar10 ipc 1 {method}", mean=mean, settings={"method": method, "ipc": 1, "eval_every": 9})
        for method, mean_last, mean_best in (("dm", 30.0, 31.0), ("atom", 40.0, 45.0))
        for row, mean in ((HELD_OUT_ROW, mean_last), (BEST_ROW, mean_best))
    ]
    (told,) = (note for note in notes(found) if "atom minus dm" in note)
    assert "best instead of last +14.0" in told
    assert "images held out +10.0" in told
    assert told.count("±") == 2


def test_only_what_differs_in_one_thing_is_compared():
    other_length = [result("dm", steps=400), result("atom", steps=500)]
    other_norm = [result("dm"), result("atom", settings={"method": "atom", "ipc": 1, "norm": "batch"})]
    other_power = [result("dm"), result("p", settings={"method": "atom", "ipc": 1, "spatial_power": 2.0})]
    other_data = [result("dm"), result("atom", "cifar100 ipc 1")]
    for found in (other_length, other_norm, other_power, other_data):
        assert "minus" not in "\n".join(notes(found))


def test_published_figures_of_another_preprocessing_are_told():
    told = "Published with channel normalization: random, herding, dc, dsa and dm"
    same = [result("atom", published=34.8), result("dm", published=26.0, preprocess="normalize")]
    assert told not in "\n".join(notes(same))
    assert told in "\n".join(notes([*same, result("dm", "b", published=26.0)]))
