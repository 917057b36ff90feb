"""`atom reproduce` on digits: what it prints, what it leaves, and what it refuses."""

from __future__ import annotations

import json

import pytest

from atom_distill.reproduce import cost
from atom_distill.reproduce.cell_runner import CellRunner

QUICK = "reproduce table1 --datasets digits --ipc 1 --steps 2 --repeats 2 --epochs 2"


def test_a_table_is_printed_kept_and_added_to(atom, tmp_path):
    out = tmp_path / "tables"
    first = atom(f"{QUICK} --methods random dm --json --out", out)
    assert first.code == 0
    assert [(cell["row"], len(cell["runs"])) for cell in first.json["cells"]] == [("random", 2), ("dm", 2)]
    again = atom(f"{QUICK} --methods dm --out", out)
    assert again.code == 0
    for told in ("Accuracy by method", "digits ipc 1", "2 of the published 8000: dm", "dm(epochs=2)"):
        assert told in again.out
    assert {path.name for path in out.iterdir()} == {"sets", "table1.json", "table1.md", "table1.png"}
    stored = json.loads((out / "table1.json").read_text())
    assert stored["cells"] == first.json["cells"]


def test_cells_are_listed_and_picked(atom, tmp_path):
    listed = atom("reproduce powers --ipc 1 --dry-run --json --cells", "p_s 4/*")
    assert [cell["row"] for cell in listed.json["cells"]] == ["p_s 4"] * 4
    wrong = atom("reproduce table1 --cells atm/* --out", tmp_path)
    assert wrong.code == 2
    assert "no cell matches atm/*" in wrong.err


def test_less_effort_shrinks_steps_and_networks(atom):
    cells = atom("reproduce table1 --methods dm dsa random --ipc 1 --effort 0.05 --dry-run --json").json["cells"]
    assert [cell.get("steps") for cell in cells] == [400, 50, None]


def test_a_protocol_of_an_architecture_and_a_preset_are_passed_on(atom, tmp_path):
    quick = "reproduce cross-arch --datasets digits --ipc 1 --methods dm --archs convnet --steps 2 --repeats 2"
    made = atom(f"{quick} --epochs 2 --preset fast --protocols convnet=dm(lr=0.02) --json --out", tmp_path / "out")
    (cell,) = made.json["cells"]
    assert cell["protocol"] == "dm(epochs=2,lr=0.02)"
    assert cell["column"] == "digits ipc 1 preset fast convnet"
    assert cell["settings"]["preset"] == "fast"


@pytest.mark.slow
def test_costs_are_measured_in_a_process_of_their_own(atom, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_COMPILE_DISABLE", "1")  # compiling takes a minute, and is tested with the step
    answer = atom("reproduce cost --datasets digits --ipc 1 --methods dm --steps 10 --json --out", tmp_path / "cost")
    assert answer.code == 0
    (cell,) = answer.json["cells"]
    assert cell["seconds_per_step"] > 0
    assert 100 < cell["peak_mb"] < 8000


def test_a_wrong_method_is_told_with_the_known_ones(atom, tmp_path):
    answer = atom(f"{QUICK} --methods dam --out", tmp_path / "out")
    assert answer.code == 2
    assert "unknown method 'dam'" in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("components --methods dc", "--methods changes nothing in components: leave it out"),
        ("table1 --archs vit", "--archs changes nothing in table1"),
        ("lambda --methods dm", "--methods changes nothing in lambda"),
        ("table1 --protocols vit=vit", "--protocols changes nothing in table1"),
        ("cross-arch --protocols vit", "--protocols takes words like vit=vit, not 'vit'"),
        ("cross-arch --protocols vti=vit", "--protocols names vti"),
        ("cross-arch --datasets digits --ipc 1 --archs convnet --protocols convnet=dn", "unknown protocol 'dn'"),
        ("cross-arch --dry-run --protocols vit=dn", "unknown protocol 'dn'"),
        ("cross-arch --dry-run --archs convnte", "unknown architecture 'convnte'"),
        ("table1 --dry-run --datasets cifr10", "unknown data set 'cifr10'"),
        ("table1 --steps 0", "--steps must be greater than or equal to 1, got 0"),
        ("cost --epochs 3", "--epochs changes nothing in cost"),
        ("cross-arch --datasets digits --ipc 1 --norm batch --archs vit", "vit does not support norm"),
        ("table1 --datasets digits --ipc 500 --methods herding", "ipc 500 is more than the 139"),
        ("table1 --datasets nope", "unknown data set 'nope'"),
        ("cost --methods herding --ipc 1", "herding take none"),
        ("cost --on ray", "cost is measured on this machine"),
        ("table1 --gpus-per-task 0.5", "--gpus-per-task is for Ray: add --on ray"),
        ("table1 --threads 2", "--threads is for cells on Ray; on this machine, OMP_NUM_THREADS"),
    ],
)
def test_what_cannot_be_run_is_told_before_anything_is(atom, tmp_path, line, told):
    answer = atom(f"reproduce {line} --out", tmp_path / "out")
    assert answer.code == 2
    assert told in answer.err
    assert not (tmp_path / "out").exists()


def test_files_that_are_not_of_a_table_are_left_alone(atom, tmp_path):
    (tmp_path / "table1.md").write_text("mine")
    answer = atom(f"{QUICK} --methods random --out", tmp_path)
    assert answer.code == 2
    assert "table1.md is not of a table that was begun here" in answer.err
    assert (tmp_path / "table1.md").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    assert "is a file; give a folder" in atom(f"{QUICK} --methods random --out", tmp_path / "file").err


def test_what_is_added_to_a_table_while_a_command_runs_is_kept(atom, tmp_path, monkeypatch):
    """By another command on the same table, or a remark by hand."""
    real, path = CellRunner.run, tmp_path / "out" / "table1.json"

    def meanwhile(*asked):
        monkeypatch.setattr(CellRunner, "run", real)
        atom(f"{QUICK} --methods herding --out", path.parent)
        path.write_text(path.read_text().replace('"remark": ""', '"remark": "by hand"'))
        return real(*asked)

    monkeypatch.setattr(CellRunner, "run", meanwhile)
    found = atom(f"{QUICK} --methods random --json --out", path.parent).json
    assert {cell["row"] for cell in found["cells"]} == {"random", "herding"}
    assert found["remark"] == "by hand"
    assert json.loads(path.read_text())["cells"] == found["cells"]


def test_a_stopped_measurement_of_costs_says_that_it_begins_anew(atom, tmp_path, monkeypatch):
    def press(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cost, "measure", press)
    answer = atom("reproduce cost --datasets digits --ipc 1 --methods dm --out", tmp_path)
    assert answer.code == 130
    assert "The same command measures all anew" in answer.err


def test_another_seed_or_norm_is_another_column(atom, tmp_path):
    atom(f"{QUICK} --methods dm --out", tmp_path / "out")
    both = atom(f"{QUICK} --methods dm --norm batch --seed 3 --json --out", tmp_path / "out").json
    assert [cell["column"] for cell in both["cells"]] == ["digits ipc 1", "digits ipc 1 norm batch seed 3"]
    assert "Steps: 2 of the published 8000." in both["notes"]
