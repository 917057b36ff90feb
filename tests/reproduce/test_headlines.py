"""What is said above a table follows from its figures."""

from __future__ import annotations

import pytest
from scipy import stats

from atom_distill.reproduce.cost import Cost
from atom_distill.reproduce.headlines import headline
from atom_distill.reproduce.table_layout import markdown
from reproduce.results_made_up import result

CLEAR = (-0.2, -0.1, 0.0, 0.1, 0.2)
"""Five networks that are nearly equal."""


def near(row: str, mean: float, column: str = "cifar10 ipc 1", **more):
    made = result(row, column, mean=mean, **more)
    return made.model_copy(update={"runs": tuple(mean + one for one in CLEAR)})


def test_atom_is_compared_with_dm_in_every_column():
    other = "cifar100 ipc 1"
    found = [near("dm", 30.0), near("atom", 31.0), near("dm", 50.0, other), near("atom", 50.01, other)]
    told = headline("table1", found)
    assert "ATOM is more accurate than DM in 1 of 2 columns; in the other 1 the difference may be chance" in told
    assert "On average it is +0.5 points" in told
    worse = headline("cross-arch", [near("dm", 30.0), near("atom", 29.0)])
    assert "ATOM is less accurate than DM in the column. On average it is -1.0 points." in worse
    both = headline(
        "table1", [near("dm", 30.0), near("atom", 31.0), near("dm", 50.0, other), near("atom", 49.0, other)]
    )
    assert "more accurate than DM in 1 of 2 columns and less accurate than DM in 1 of 2 columns. On average" in both
    equal = headline("table1", [near("dm", 30.0), near("atom", 30.01)])
    assert "ATOM does not differ from DM by more than chance in the column; on average +0.0 points." in equal
    assert "ATOM" not in headline("table1", [near("dm", 30.0), near("random", 29.0)])


def test_the_highest_of_a_column_is_named_with_those_that_may_equal_it():
    found = [near("random", 20.0), near("dm", 30.0), near("datadam", 30.05), near("atom", 40.0, "other")]
    told = headline("table1", found)
    assert "cifar10 ipc 1: datadam 30.1 (not distinguishable: dm); other: atom 40.0." in told
    single = [one.model_copy(update={"runs": (one.mean,)}) for one in found[:2]]
    told = headline("table1", single)
    assert "dm 30.0. Columns of fewer than 3 networks per cell are too uncertain to compare." in told
    assert "not distinguishable" not in told
    mixed = headline("table1", [*found[:3], near("atom", 40.0, "other").model_copy(update={"runs": (40.0,)})])
    assert "datadam 30.1 (not distinguishable: dm); other: atom 40.0. Columns of fewer than 3" in mixed


def test_an_ablation_is_compared_with_the_papers_settings_at_a_level_for_all_comparisons():
    own = {"method": "atom", "ipc": 1}
    found = [
        near("p_s 4", 33.0, "c p_c 4", settings=own),
        near("p_s 8", 31.0, "c p_c 8", settings={**own, "spatial_power": 8.0}),
        near("p_s 1", 33.05, "c p_c 1", settings={**own, "spatial_power": 1.0}),
        near("p_s 2", 33.26, "c p_c 1", settings={**own, "spatial_power": 2.0}),
    ]
    by_itself = stats.ttest_ind(found[3].runs, found[0].runs, equal_var=False).pvalue
    assert 0.05 / 3 < by_itself < 0.05
    told = headline("powers", found)
    assert told.startswith("c, compared with p_s 4 p_c 4 (33.0 %): 1 of 3 differ")
    assert told.endswith("divided by 3): p_s 8 p_c 8 by -2.0 ± 0.1 points.")
    assert "0 of 2 differ" in headline("powers", [found[0], *found[2:]])
    assert headline("powers", found[:1]) == ""


def test_a_longer_protocol_is_a_change_and_methods_have_columns_of_their_own():
    found = [
        near("unchanged", 30.0, "c dm", settings={"method": "dm", "ipc": 1}),
        near("protocol dm(epochs=3)", 20.0, "c dm", settings={"method": "dm", "ipc": 1}, protocol="dm(epochs=3)"),
    ]
    told = headline("changes", found)
    assert "c dm, compared with unchanged (30.0 %)" in told
    assert "protocol dm(epochs=3) by -10.0" in told


def test_a_curve_says_from_where_on_it_is_flat():
    found = [
        near("dm", mean, f"c after {steps}", steps=steps)
        for steps, mean in ((800, 33.01), (100, 20.0), (200, 30.0), (400, 33.0))
    ]
    told = headline("curve", found)
    assert told == "dm, c: +13.0 ± 0.1 points from 100 to 800 steps, of which the part after 400 may be chance."
    assert headline("curve", found[:1]) == ""


def test_steps_are_compared_with_the_fastest():
    facts = {"column": "c", "peak_mb": 1, "steps": 1, "settings": {"method": "dm", "ipc": 1}}
    costs = [Cost(row=row, seconds_per_step=seconds, **facts) for row, seconds in (("dc", 1.4), ("dm", 0.2))]
    assert headline("cost", costs) == "c: dm has the fastest step; times as long: dc 7.0."


@pytest.mark.parametrize("table", ["table1", "powers", "curve", "cost"])
def test_an_empty_table_says_nothing(table):
    assert headline(table, []) == ""


def test_the_sentence_stands_above_the_table():
    text = markdown("table1", [near("dm", 30.0)])
    assert text.index("Highest accuracy, %: cifar10 ipc 1: dm 30.0.") < text.index("| dm |")
