"""Tables run on small sets: what is kept, what is found again, and how it is laid out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import load_scores, save_scores
from atom_distill.base.errors import ArtifactError, AtomError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.evaluation import evaluate as scoring
from atom_distill.reproduce import cell_runner as module
from atom_distill.reproduce import cells_at_once
from atom_distill.reproduce.cell import Cell, Effort, Result
from atom_distill.reproduce.cell_runner import CellRunner
from atom_distill.reproduce.cells_at_once import Task, run_here, tasks_of
from atom_distill.reproduce.cost import Cost
from atom_distill.reproduce.plot import plot
from atom_distill.reproduce.results import Results, load_results
from atom_distill.reproduce.table_layout import grid, markdown
from distillation.toys import SETTINGS, go, toy_dataset
from reproduce.results_made_up import result

ROOT = Path(__file__).parents[2]
DATA = toy_dataset()
QUICK = {name: value for name, value in SETTINGS.items() if name != "checkpoint_every"}


def cell(method: str = "dm", column: str = "toy", **more) -> Cell:
    return Cell(method, column, "toy", {**QUICK, "method": method, **more})


@pytest.fixture
def runner(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "load_dataset", lambda _name: DATA)

    def make(**effort) -> CellRunner:
        spent = Effort(**{"repeats": 2, "epochs": 3, **effort})
        return CellRunner(tmp_path, spent, shape=NetworkShape(width=8), device="cpu")

    return make


@pytest.fixture
def nothing_is_computed(monkeypatch):
    def forbid():
        for name in ("of_distilled", "of_random"):
            monkeypatch.setattr(module.Evaluation, name, lambda *_: pytest.fail("evaluated again"))

    return forbid


@pytest.mark.parametrize("method", ["random", "herding", "dm"])
def test_a_cell_is_found_again_and_not_computed_twice(runner, nothing_is_computed, method):
    first = runner().run(cell(method), None)
    nothing_is_computed()
    again = runner().run(cell(method), first)
    assert again == first
    assert len(first.runs) == 2
    assert first.steps == (8 if method == "dm" else 0)
    assert first.protocol == "dm(epochs=3)"


def test_another_effort_is_another_score_of_the_same_set(runner):
    first, second = runner().run(cell(), None), runner(epochs=4).run(cell(), None)
    assert (first.protocol, second.protocol) == ("dm(epochs=3)", "dm(epochs=4)")
    assert second.distill_seconds is None  # the set was there
    assert first.distill_seconds > 0


def test_the_time_of_another_distillation_is_not_taken_for_the_sets(runner):
    """Neither row nor column names the steps, so a longer run is in the same place of the table."""
    short, long = cell(steps=3), cell(steps=8)
    of_short, of_long = (runner().run(one, None) for one in (short, long))
    assert runner().run(long, of_short).distill_seconds is None
    assert runner().run(long, of_long).distill_seconds == of_long.distill_seconds


def test_scores_that_come_while_random_images_are_scored_are_kept(runner, monkeypatch, tmp_path):
    real = module.Evaluation.of_random

    def meanwhile(*asked):
        monkeypatch.setattr(module.Evaluation, "of_random", real)
        runner(epochs=4).run(cell("random"), None)
        return real(*asked)

    monkeypatch.setattr(module.Evaluation, "of_random", meanwhile)
    runner().run(cell("random"), None)
    (folder,) = (tmp_path / "sets").iterdir()
    assert {score.protocol.name for score in load_scores(folder)} == {"dm(epochs=3)", "dm(epochs=4)"}


def test_norm_and_protocol_are_those_of_the_cell(runner):
    batch = runner().run(replace(cell(norm="batch"), protocol="dm(lr=0.5)"), None)
    assert batch.protocol == "dm(epochs=3,lr=0.5)"
    assert batch.runs != runner().run(replace(cell(), protocol="dm(lr=0.5)"), None).runs
    longer = runner().run(replace(cell(), protocol="dm(epochs=4)"), None)
    assert longer.protocol == "dm(epochs=4)"
    assert runner()._evaluation(cell(norm="batch")).shape == NetworkShape(width=8, norm="batch")
    with pytest.raises(AtomError, match="unknown protocol 'dn'"):
        runner().check([replace(cell(), protocol="dn")])


def test_the_set_is_that_of_a_run_alone(runner, tmp_path):
    runner().run(cell(), None)
    (folder,) = (tmp_path / "sets").iterdir()
    assert torch.equal(DistilledDataset.load(folder).images, go(method="dm").images)


def test_the_best_images_are_scored_where_the_cell_asks_for_them(runner, nothing_is_computed, tmp_path):
    judged = {"eval_every": 2, "eval_epochs": 1, "holdout": 0.3}
    last = runner().run(cell(**judged), None)
    best = runner().run(replace(cell(**judged), which="best"), None)
    (folder,) = (tmp_path / "sets").iterdir()
    assert [score.which for score in load_scores(folder)] == ["last", "best"]
    assert best.steps == last.steps == 8
    nothing_is_computed()
    assert runner().run(replace(cell(**judged), which="best"), best).runs == best.runs


def test_a_later_point_of_a_curve_equals_a_longer_run(runner, tmp_path):
    short = cell(steps=3)
    long = Cell("dm", "later", "toy", {**QUICK, "method": "dm", "steps": 8}, continues=short)
    first = runner().run(short, None)
    second = runner().run(long, None)
    assert (first.steps, second.steps) == (3, 8)
    sets = {DistilledDataset.load(path).steps: DistilledDataset.load(path) for path in (tmp_path / "sets").iterdir()}
    assert torch.equal(sets[8].images, go(method="dm").images)
    assert [len(one.scores) for one in sets.values()] == [1, 1]


def test_a_later_point_alone_starts_from_the_beginning(runner):
    never_run = cell(steps=3)
    long = Cell("dm", "later", "toy", {**QUICK, "method": "dm", "steps": 8}, continues=never_run)
    assert runner().run(long, None).steps == 8


@pytest.mark.parametrize("method", ["random", "dm"])
def test_changed_images_are_scored_anew(runner, monkeypatch, method):
    """Those of another set of the same name, even if the table has a result of its row and column."""
    scored = []
    train = scoring.train_all
    monkeypatch.setattr(scoring, "train_all", lambda trainings: scored.append(len(trainings)) or train(trainings))
    first = runner().run(cell(method), None)
    runner().run(cell(method), first)
    assert scored == [1]
    monkeypatch.setattr(module, "load_dataset", lambda _name: toy_dataset((30, 30, 30)))
    runner().run(cell(method), first)
    assert scored == [1, 1]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (cell("dam"), "unknown method 'dam'"),
        (cell(batch_real=0), "batch_real"),
        (replace(cell(), arch="vgg11"), "vgg11 needs images of at least 32x32"),
    ],
)
def test_a_wrong_cell_is_told_before_the_first_is_run(runner, wrong, told):
    with pytest.raises(AtomError, match=told):
        runner().check([cell(), wrong])


def test_a_damaged_set_says_that_the_table_can_make_it_again(runner, tmp_path):
    runner().run(cell(), None)
    (folder,) = (tmp_path / "sets").iterdir()
    (folder / "config.yaml").unlink()
    with pytest.raises(ArtifactError, match=f"Or remove {folder}: the table then makes that set again"):
        runner().run(cell(), None)


def test_cells_with_a_folder_in_common_stay_in_turn(runner):
    """A curve's later points continue earlier ones, and another network is trained on the same set."""
    first, second, other = cell(steps=3), cell(steps=5), cell("random")
    second = replace(second, column="later", continues=first)
    third = replace(cell(steps=8), column="last", continues=second)
    vit = replace(first, column="vit", arch="vit")
    tasks = [Task(str(number), one, None) for number, one in enumerate([third, other, first, vit, second])]
    found = [[task.label for task in chain] for chain in cells_at_once.chains(tasks, runner())]
    assert sorted(found) == [["0", "2", "3", "4"], ["1"]]


@pytest.mark.slow
def test_cells_at_once_find_what_they_do_in_turn(tmp_path, capsys):
    """On digits, which workers load themselves; with one thread, to the last bit."""
    settings = {"ipc": 1, "steps": 2, "batch_real": 8, "depth": 1, "width": 8}
    cells = [Cell(name, "digits", "digits", {**settings, "method": name}) for name in ("dm", "datadam", "atom")]
    found: dict[int, list[Result]] = {}
    for cores in (1, 2):
        made = CellRunner(tmp_path / str(cores), Effort(repeats=1, epochs=2), shape=NetworkShape(1, 8), device="cpu")
        made.check(cells)
        found[cores] = []
        run_here(made, tasks_of(cells, lambda _: None), found[cores].append, cores)
    told = capsys.readouterr().err
    assert told.count("cell 1 of 3: dm/digits") == 2
    in_turn, at_once = (sorted((one.row, one.steps, one.runs) for one in results) for results in (found[1], found[2]))
    assert in_turn == at_once
    assert len(in_turn) == 3


def test_results_are_kept_after_each_cell_and_added_to(tmp_path):
    path = tmp_path / "table1.json"
    first = load_results(path, "table1")
    first.add(result("dm"))
    first.save(path)
    more = load_results(path, "table1")
    more.add(result("atom"))
    more.add(result("dm", mean=40.0))
    more.save(path)
    found = load_results(path)
    assert [(cell.row, cell.mean) for cell in found.cells] == [("dm", 40.0), ("atom", 30.0)]
    assert found.accuracy("dm", "cifar10 ipc 1").mean == 40.0
    assert found.accuracy("dm", "elsewhere") is None
    with pytest.raises(ArtifactError, match="holds the table table1; give another `out`"):
        load_results(path, "powers")
    path.write_text(path.read_text()[:100])
    with pytest.raises(ArtifactError, match="is damaged"):
        load_results(path, "table1")


def test_each_way_of_making_is_recorded_once(monkeypatch):
    results = Results(table="table1")
    for mean, command in enumerate(("one", "one", "two")):
        monkeypatch.setattr("sys.argv", ["/bin/atom", command])
        results.add(result("dm", mean=mean))
    assert [record.command for record in results.records] == ["atom one", "atom two"]
    monkeypatch.setattr("sys.argv", ["/bin/atom", "three"])
    results.add(result("dm", mean=mean))  # found again, not made
    assert len(results.records) == 2


def test_each_cell_is_recorded_with_the_command_that_made_it_last(monkeypatch):
    results = Results(table="table1")
    for command, row, mean in (("one", "dm", 1.0), ("one", "atom", 1.0), ("two", "dm", 2.0), ("three", "dm", 2.0)):
        monkeypatch.setattr("sys.argv", ["/bin/atom", command])
        results.add(result(row, mean=mean))
    assert [(record.command, record.cells) for record in results.records] == [
        ("atom one", ("atom/cifar10 ipc 1",)),
        ("atom two", ("dm/cifar10 ipc 1",)),
    ]


def test_costs_and_accuracies_come_back_as_what_they_were(tmp_path):
    path = tmp_path / "cost.json"
    cost = Cost(row="dm", column="c", seconds_per_step=0.2, peak_mb=500, steps=10, settings={"method": "dm", "ipc": 1})
    results = Results(table="cost")
    results.add(cost)
    results.save(path)
    assert load_results(path).cells == [cost]
    assert "0.2 s, 500 MB" in markdown("cost", results.cells)


def test_the_grid_has_a_dash_where_nothing_was_run():
    header, rows = grid([result("dm", published=26.0), result("atom", "cifar10 ipc 10")])
    assert header == ["", "cifar10 ipc 1", "cifar10 ipc 10"]
    assert rows == [["dm", "30.0 ± 1.4 (26.0)", "-"], ["atom", "-", "30.0 ± 1.4"]]


def test_rows_and_columns_are_in_order_however_they_were_found():
    found = [result("atom", "p 10"), result("random", "p 2"), result("dm", "p 1")]
    header, rows = grid(found)
    assert header == ["", "p 1", "p 2", "p 10"]
    assert [row[0] for row in rows] == ["random", "dm", "atom"]
    assert [row[0] for row in grid([result("best"), result("atom"), result("dm")])[1]] == ["dm", "atom", "best"]
    assert [row[0] for row in grid([result(f"lambda {x}") for x in (0.1, 0.02, 0.001, 0.01)])[1]] == [
        "lambda 0.001",
        "lambda 0.01",
        "lambda 0.02",
        "lambda 0.1",
    ]
    assert [row[0] for row in grid([result("spatial"), result("atom")])[1]] == ["spatial", "atom"]


def test_points_of_a_curve_stand_in_order_whenever_they_were_found():
    found = [result("dm", f"toy after {steps}", steps=steps) for steps in (8, 2, 100)]
    assert grid(found)[0] == ["", "toy after 2", "toy after 8", "toy after 100"]


def test_a_plot_is_written_for_bars_and_curves(tmp_path):
    found = [result("dm", published=26.0), result("atom"), result("atom", "cifar10 ipc 10", steps=900)]
    for table in ("table1", "curve"):
        plot(table, found, tmp_path / f"{table}.png")
        assert (tmp_path / f"{table}.png").read_bytes().startswith(b"\x89PNG")


def test_a_score_of_random_images_is_not_taken_for_the_sets(runner, nothing_is_computed, tmp_path):
    made = runner().run(cell(), None)
    (folder,) = (tmp_path / "sets").iterdir()
    scores = load_scores(folder)
    save_scores(folder, [scores[0].model_copy(update={"subject": "random", "runs": (1.0, 2.0)}), *scores])
    nothing_is_computed()
    assert runner().run(cell(), None).runs == made.runs


def test_another_precision_is_another_score(runner):
    assert runner(precision="bfloat16").run(cell(), None).precision == "bfloat16"
    assert runner(precision="float32").run(cell(), None).precision == "float32"


def test_a_network_that_only_the_evaluation_uses_is_not_called_useless(runner, capsys):
    runner().check([cell("random", norm="batch")])
    assert capsys.readouterr().err == ""


def test_results_of_version_0_1_are_read():
    """They spelled a key in another way."""
    facts = {"row": "atom", "column": "c", "published": None, "runs": [50.0], "steps": 3, "settings": {}}
    how = {"preprocess": "zca", "arch": "convnet", "protocol": "dm", "precision": "float32", "evaluate_seconds": 1.0}
    assert Result.model_validate({**facts, **how, "distil_seconds": 2.5}).distill_seconds == 2.5
