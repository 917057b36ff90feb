"""The declared grids: which cells there are, what each asks for, and which share a set."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atom_distill.base.errors import ConfigError
from atom_distill.config.presets import SetFacts
from atom_distill.distillation.methods import METHODS
from atom_distill.distillation.resolve import resolve
from atom_distill.reproduce.cell import BEST_ROW, HELD_OUT_ROW, Cell, Effort
from atom_distill.reproduce.grids import TABLES, Request
from distillation.toys import toy_dataset

DATA = toy_dataset()
CIFAR10 = SetFacts((3, 32, 32), 10, 50_000)


def cells(table: str, **request) -> dict[tuple[str, str], Cell]:
    return {(cell.row, cell.column): cell for cell in TABLES.get(table)(Request(**request))}


@pytest.mark.parametrize("table", list(TABLES))
def test_every_cell_has_a_place_of_its_own_and_settings_that_hold(table):
    request = Request(ipc=(1, 10), preprocess=("zca", "normalize"), settings={"norm": "batch", "seed": 5})
    found = TABLES.get(table)(request)
    assert len({(cell.row, cell.column) for cell in found}) == len(found)
    for cell in found:
        resolved = resolve(CIFAR10, cell.settings)
        config = resolved.general
        METHODS.get(config.method).check(config, resolved.own)
        assert (config.norm, config.seed) == ("batch", 5)
        assert "norm batch seed 5" in cell.column


def test_table1_has_every_method_and_the_published_figures():
    found = cells("table1")
    assert len(found) == 9 * 3
    assert found["atom", "cifar10 ipc 50"].published == 68.8
    assert found["herding", "cifar10 ipc 1"].published == 21.5
    assert found["k-center", "cifar10 ipc 1"].published is None


def test_steps_are_for_methods_that_have_some():
    found = cells("table1", ipc=(1,), effort=Effort(steps=500))
    with_steps = {row for (row, _), cell in found.items() if "steps" in cell.settings}
    assert with_steps == {"dc", "dsa", "dm", "datadam", "atom"}
    assert found["atom", "cifar10 ipc 1"].settings["steps"] == 500


def test_both_preprocessings_are_two_columns():
    found = cells("table1", methods=("dm",), ipc=(1,), preprocess=("zca", "normalize"))
    assert {column: cell.settings["preprocess"] for (_, column), cell in found.items()} == {
        "cifar10 ipc 1 zca": "zca",
        "cifar10 ipc 1 normalize": "normalize",
    }


def test_components_are_all_combinations_and_known_ones_share_their_set_with_table1():
    found = cells("components", ipc=(1,), effort=Effort(steps=500))
    assert len(found) == 7
    table1 = cells("table1", ipc=(1,), effort=Effort(steps=500))
    for row, method in (
        ("embedding", "dm"),
        ("spatial + embedding", "datadam"),
        ("spatial + channel + embedding", "atom"),
    ):
        assert found[row, "cifar10 ipc 1"].folder(DATA) == table1[method, "cifar10 ipc 1"].folder(DATA)
    switches = found["spatial + channel", "cifar10 ipc 1"].settings
    assert (switches["spatial"], switches["channel"], switches["embedding"]) == (True, True, False)
    assert len({cell.folder(DATA) for cell in found.values()}) == 7


def test_powers_cover_the_square_and_the_papers_pair_is_atom_itself():
    found = cells("powers", ipc=(1,))
    assert len(found) == 16
    assert found["p_s 4", "cifar10 ipc 1 p_c 4"].folder(DATA) == cells("table1", ipc=(1,))[
        "atom", "cifar10 ipc 1"
    ].folder(DATA)
    cell = found["p_s 1", "cifar10 ipc 1 p_c 8"]
    assert (cell.settings["spatial_power"], cell.settings["channel_power"]) == (1.0, 8.0)


def test_architectures_share_the_set_and_carry_the_published_figure():
    found = cells("cross-arch")
    mine = [cell for (row, _), cell in found.items() if row == "atom"]
    assert [cell.arch for cell in mine] == ["convnet", "alexnet", "vgg11", "resnet18", "vit"]
    assert len({cell.folder(DATA) for cell in mine}) == 1
    assert [cell.published for cell in mine] == [68.8, 64.1, 66.4, 64.5, None]
    assert all(cell.published is None for cell in cells("cross-arch", ipc=(1,), archs=("vgg11",)).values())


def test_lambda_is_varied_and_the_papers_value_is_atom_itself():
    found = cells("lambda")
    assert [row for row, _ in found] == ["lambda 0.001", "lambda 0.005", "lambda 0.01", "lambda 0.02", "lambda 0.1"]
    atom = cells("table1", ipc=(10,))["atom", "cifar10 ipc 10"]
    assert found["lambda 0.01", "cifar10 ipc 10"] == replace(atom, row="lambda 0.01")
    assert found["lambda 0.1", "cifar10 ipc 10"].settings["task_balance"] == 0.1
    tiny = cells("lambda", datasets=("tiny-imagenet",))
    assert [row for (row, _), cell in tiny.items() if "task_balance" not in cell.settings] == ["lambda 0.02"]


def test_one_setting_is_changed_at_a_time():
    found = cells("changes", preprocess=("zca",))
    table1 = cells("table1", ipc=(10,), preprocess=("zca", "normalize"))
    for method in ("dm", "atom"):
        column = f"cifar10 ipc 10 zca {method}"
        unchanged = found["unchanged", column]
        assert unchanged.settings == table1[method, "cifar10 ipc 10 zca"].settings
        assert found["preprocess normalize", column].settings == table1[method, "cifar10 ipc 10 normalize"].settings
        others = [cell for (row, where), cell in found.items() if where == column and row != "unchanged"]
        assert len(others) == 10
        assert [cell.row for cell in others if "eval_every" in cell.settings] == [HELD_OUT_ROW, BEST_ROW]
        assert [cell.row for cell in others if cell.which == "best"] == [BEST_ROW]
        for cell in others:
            changed = {name for name in cell.settings if cell.settings[name] != unchanged.settings.get(name)}
            assert len(changed) + (cell.protocol != "dm") == 1
    batch = cells("table1", ipc=(10,), preprocess=("zca",), settings={"norm": "batch"})
    assert found["norm batch", "cifar10 ipc 10 zca atom"].folder(DATA) == batch[
        "atom", "cifar10 ipc 10 zca norm batch"
    ].folder(DATA)


def test_the_row_best_is_the_preset_with_its_own_steps_and_preprocessing():
    found = cells("cross-arch", methods=("best",), preprocess=("zca",), archs=("convnet", "vgg11"))
    (first, second) = found.values()
    assert first.settings == second.settings == {"method": "atom", "preset": "best", "ipc": 50}
    assert resolve(CIFAR10, first.settings).general.bytes == 50 * 3072
    (short,) = cells("table1", methods=("best",), ipc=(1,), effort=Effort(steps=9)).values()
    assert short.settings["steps"] == 9
    fast = cells("table1", methods=("best", "atom"), ipc=(1,), settings={"preset": "fast", "width": 64})
    assert {place: (cell.settings["preset"], cell.settings["width"]) for place, cell in fast.items()} == {
        ("best", "cifar10 ipc 1 width 64"): ("best", 64),
        ("atom", "cifar10 ipc 1 preset fast width 64"): ("fast", 64),
    }


def test_the_row_best_is_one_cell_whatever_the_preprocessing_of_the_others():
    found = cells("table1", methods=("best", "dm"), preprocess=("zca", "normalize"), ipc=(1,))
    assert [*found] == [("best", "cifar10 ipc 1"), ("dm", "cifar10 ipc 1 zca"), ("dm", "cifar10 ipc 1 normalize")]


@pytest.mark.parametrize("table", ["changes", "curve", "cost"])
def test_the_row_best_is_refused_where_it_does_not_fit(table):
    with pytest.raises(ConfigError, match="best is a row of table1 and cross-arch only: leave it out of `methods`"):
        cells(table, methods=("dm", "best"))


def test_an_architecture_has_its_own_protocol():
    found = cells("cross-arch", methods=("dm",), protocols={"vit": "vit", "alexnet": "dm(lr=0.003)"})
    assert [cell.protocol for cell in found.values()] == ["dm", "dm(lr=0.003)", "dm", "dm", "vit"]
    with pytest.raises(ConfigError, match="`protocols` names vgg11, and the columns are vit"):
        cells("cross-arch", archs=("vit",), protocols={"vgg11": "vit"})


def test_each_point_of_a_curve_continues_the_one_before():
    points = [cell for (row, _), cell in cells("curve", ipc=(1,), effort=Effort(steps=160)).items() if row == "dm"]
    assert [cell.settings["steps"] for cell in points] == [10, 20, 40, 80, 120, 160]
    assert [cell.continues for cell in points] == [None, *points[:-1]]


def test_what_is_named_twice_is_one_column_and_one_row():
    assert len(cells("table1", ipc=(1, 1), methods=("dm", "dm"), datasets=("cifar10", "cifar10"))) == 1


@pytest.mark.parametrize("table", ["cost", "curve"])
def test_a_table_about_steps_refuses_methods_without(table):
    with pytest.raises(ConfigError, match="random take none: leave them out of `methods`"):
        cells(table, methods=("dm", "random"))


def test_a_path_names_a_folder_inside_and_other_images_another():
    cell = Cell("dm", "c", "/some/where/../photos", {"method": "dm", "ipc": 1})
    folder = cell.folder(DATA)
    assert folder.startswith("toy-dm-1-")
    assert "/" not in folder
    assert cell.folder(toy_dataset((8, 8, 8))) != folder
