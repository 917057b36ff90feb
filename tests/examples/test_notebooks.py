"""The notebooks run from top to bottom in few steps and without network; what is stored in them is presentable."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from atom_distill.artifact.distilled import DistilledDataset

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
RUNNER = runpy.run_path(str(EXAMPLES / "run_notebooks.py"))
MOST_BYTES = 300_000
ON_A_MACHINE = re.compile(r"/(home|root|tmp|Users|usr|opt|var|work|mnt|private)/|\b[A-Z]:\\\\|0x[0-9a-f]{6,}|\.venv")
NO_NETWORK = """
import socket
def no_network(host, *rest, **options):
    raise OSError(f"a notebook asked for {host}")
socket.getaddrinfo = no_network
"""


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def stored(request):
    return nbformat.read(request.param, as_version=4)


def outputs(notebook, name: str) -> list[Any]:
    (cell,) = (cell for cell in notebook.cells if cell.id == name)
    return cell.outputs


def printed(notebook, name: str) -> str:
    return "".join(one.text for one in outputs(notebook, name) if one.get("name") == "stdout")


def has_picture(cell) -> bool:
    return any("image/png" in one.get("data", {}) for one in cell.get("outputs", []))


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Run a notebook with other parameters, and give it with its outputs and some of the values it leaves."""

    def run(name: str, parameters: Mapping[str, Any], values: Mapping[str, str]):
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        notebook = nbformat.read(EXAMPLES / name, as_version=4)
        drawn = {cell.id for cell in notebook.cells if has_picture(cell)}
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = []  # what is found later was made here
        RUNNER["with_parameters"](notebook, parameters)
        listed = ", ".join(f"{value!r}: {code}" for value, code in values.items())
        notebook.cells.insert(0, nbformat.v4.new_code_cell(NO_NETWORK))
        notebook.cells.append(nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({{{listed}}}))"))
        RUNNER["execute"](notebook, tmp_path)
        assert drawn, "the stored notebook has no pictures"
        assert drawn == {cell.id for cell in notebook.cells if has_picture(cell)}
        return notebook, json.loads(notebook.cells[-1].outputs[0].text)

    return run


@pytest.mark.slow
def test_your_own_folder_becomes_a_set_that_is_trained_on_exported_and_reported(execute, tmp_path):
    pytest.importorskip("altair")
    notebook, values = execute(
        "distill_your_own_folder.ipynb",
        {"IMAGE_SIZE": 8, "STEPS": 3, "EPOCHS": 2, "NETWORKS": 2},
        {"plain": "plain_accuracy", "random": "random", "distilled": "distilled", "moments": "len(taken.steps)"},
    )
    pictures = list((tmp_path / "demo" / "handwriting").rglob("*.png"))
    assert len(pictures) == 1797
    assert len({path.parent.name for path in pictures}) == 10

    tiny = DistilledDataset.load(tmp_path / "runs" / "handwriting")
    assert tiny.images.shape == (10, 3, 8, 8)
    assert tiny.steps == 3
    assert values["moments"] == 4  # before the first step, and after each
    exported = np.load(tmp_path / "runs" / "handwriting.npz")
    assert torch.equal(torch.from_numpy(exported["images"]), tiny.images)
    assert printed(notebook, "load-back").count("True") == 2
    assert "nothing is missing" in printed(notebook, "report")
    assert (tmp_path / "runs" / "handwriting.html").stat().st_size > 100_000

    assert len(values["random"]) == len(values["distilled"]) == 2
    of_359 = [accuracy * 3.59 for accuracy in [values["plain"], *values["random"], *values["distilled"]]]
    assert of_359 == pytest.approx([round(right) for right in of_359], abs=1e-3)  # shares of the 359 test images
    assert tiny.scores[0].runs == pytest.approx(values["distilled"])


@pytest.mark.slow
def test_a_folder_of_ones_own_is_left_as_it_is(execute, tmp_path):
    pytest.importorskip("altair")
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for number in range(6):
            pixels = random.integers(0, 256, (10, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "mine" / name / f"{number}.jpg")
    before = sorted(path.stat().st_mtime_ns for path in (tmp_path / "mine").rglob("*"))
    _, values = execute(
        "distill_your_own_folder.ipynb",
        {"FOLDER": str(tmp_path / "mine"), "IMAGE_SIZE": 8, "STEPS": 2, "EPOCHS": 1, "NETWORKS": 1},
        {"classes": "data.class_names"},
    )
    assert values["classes"] == ["cat", "dog"]
    assert before == sorted(path.stat().st_mtime_ns for path in (tmp_path / "mine").rglob("*"))
    assert DistilledDataset.load(tmp_path / "runs" / "mine").images.shape == (2, 3, 8, 8)


@pytest.mark.slow
def test_what_attention_matching_sees_is_computed(execute):
    notebook, values = execute(
        "what_attention_matching_sees.ipynb",
        {"IMAGE_SIZE": 8, "WIDTH": 16, "STEPS": 3, "REAL": 4, "LOOKS": 1, "EPOCHS": 2, "NETWORKS": 1},
        {
            "table": "table.tolist()",
            "accuracy": "{name: list(runs) for name, runs in accuracy.items()}",
            "loss": "[entry['loss'] for entry in atom.history]",
            "terms": "{name: list(values) for name, values in terms.items()}",
            "spread": "spread(torch.tensor([[1.0, 0, 0, 0], [2, 2, 2, 2]])).tolist()",
            "same start": "bool((start.images - runs['spatial'].images).abs().max() < 0.2)",
        },
    )
    rows = [line.split()[-2:] for line in printed(notebook, "blind").splitlines()[1:]]
    spatial, channel = zip(*((float(one), float(other)) for one, other in rows), strict=True)
    assert spatial[0] > 0.1  # positions shuffled
    assert channel[1] > 0.1  # channels shuffled
    assert [spatial[1], spatial[2], channel[0], channel[2]] == [0, 0, 0, 0]
    assert values["spread"] == [1, 4]
    assert np.shape(values["table"]) == (5, 3)
    assert np.all(np.isfinite(values["table"]))
    assert np.all(np.array(values["table"]) > 0)
    assert len(values["accuracy"]) == 6
    assert np.sum(list(values["terms"].values()), axis=0) == pytest.approx(values["loss"], rel=1e-4)
    assert values["same start"]  # three small steps lead no further


def test_stored_outputs_are_of_the_stored_code(stored):
    assert stored.metadata["outputs_of"] == RUNNER["sources_digest"](stored), "the code has changed: `make notebooks`"
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert sum(map(has_picture, code)) >= 3
    kinds = {one.output_type for cell in code for one in cell.outputs}
    assert kinds <= {"stream", "display_data", "execute_result"}  # no error among them
    assert all(one.get("name") != "stderr" for cell in code for one in cell.outputs)


def test_stored_notebooks_say_nothing_of_the_machine(stored):
    assert set(stored.metadata) == {"kernelspec", "language_info", "outputs_of"}
    for cell in stored.cells:
        assert set(cell.metadata) <= {"tags"}
        texts = [cell.source]
        for one in cell.get("outputs", []):
            texts.append(one.get("text", ""))
            texts += [text for kind, text in one.get("data", {}).items() if kind != "image/png"]
        for text in texts:
            assert not ON_A_MACHINE.search(text), text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_small(path):
    assert path.stat().st_size < MOST_BYTES


def test_the_check_for_machines_finds_paths():
    assert ON_A_MACHINE.search("a file at /home/ann/pictures")
    assert ON_A_MACHINE.search("<object at 0x7f3a2b1c>")
    assert not ON_A_MACHINE.search("runs/handwriting.npz and https://arxiv.org/abs/2405.01373")


def test_a_parameter_that_is_not_there_is_refused(stored):
    with pytest.raises(KeyError, match="STEPPS"):
        RUNNER["with_parameters"](stored, {"STEPPS": 1})
