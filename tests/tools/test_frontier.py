"""Figures of runs: what is read of a folder, how files are merged, and the tables of the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import frontier
from accuracy_per_byte.entry import Entry, entries_of
from accuracy_per_byte.figures import Figures, load_figures, merged
from accuracy_per_byte.tables import tables
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.folder import load_config, save_config
from atom_distill.artifact.scores import Score
from atom_distill.base.errors import ArtifactError
from atom_distill.config.training_protocol import PROTOCOLS
from distillation.toys import go
from frontier import BEGIN, END, main, with_tables

ROOT = Path(__file__).parents[2]
SHAPE = dict.fromkeys(("depth", "width", "norm", "activation", "pooling"))
DM = PROTOCOLS.get("dm")
SMALL: dict[str, Any] = {"steps": 1, "ipc": None, "bytes": 400, "pictures": 4}


def score(**changes: Any) -> Score:
    facts = {"subject": "distilled", "dataset": "toy", "preprocess": "normalize", "images": 12, "ipc": 4}
    how = {"arch": "convnet", "shape": SHAPE, "protocol": DM, "seed": 0, "runs": (50.0, 52.0), "seconds": 9.0}
    return Score(**{**facts, **how, **changes})


def made(folder: Path, *scores: Score, command: str = "atom distill toy --out somewhere/else", **settings: Any) -> Path:
    """A finished run of three classes of 3x8x8 images, with scores, made by a command."""
    run = go(folder, **{**SMALL, **settings})
    config = load_config(folder)
    save_config(folder, **{**config, "record": {**config["record"], "command": command}})
    for each in scores:
        run.add_score(each)
    return folder


def entry(**changes: Any) -> Entry:
    facts: dict[str, Any] = {
        **{"run": "a", "dataset": "cifar10", "fingerprint": "f", "classes": 10, "image_shape": (3, 32, 32)},
        **{"method": "atom", "preset": "fast", "size": "bytes 3072", "bytes_asked": 3072, "bits": None, "pool": 2},
        **{"parameterization": "frequency-12-6", "preprocess": "normalize", "steps": 1200, "values": 3024.0},
        **{"pictures": 14.0, "stored_bytes": 30_700, "file_bytes": 31_700, "images_8_bit": 0.9993},
        **{"images_float32": 0.2498, "arch": "convnet", "shape": {}, "protocol": "dm", "epochs": 1000},
        **{"same_compute": False, "labels": "hard", "which": "last", "precision": "bfloat16", "mean": 54.44},
        **{"std": 0.31, "runs": (54.0, 54.9), "steps_seconds": 60.0, "run_seconds": 90.0, "pool_seconds": 120.0},
        **{"evaluate_seconds": 100.0, "machine": "Some Processor, 2 cores, AMX", "device": "cpu", "threads": 2},
        **{"torch": "2.13.0", "python": "3.11.7", "atom_distill": "0.1.0", "commit": "abc1234", "started": "now"},
        "commands": ("atom distill cifar10 --bytes 3072 --out runs/a", "atom evaluate runs/a --repeats 2"),
    }
    return Entry(**{**facts, **changes})


def rows_of(text: str, beginning: str) -> list[list[str]]:
    """The cells of the rows of tables that begin with a text."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {beginning}")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_an_entry_has_what_the_folder_stores_and_how_it_was_judged(tmp_path):
    folder = made(tmp_path / "small", score(), command="atom distill toy --bytes 400 --resume --out=/home/me/x")
    (found,) = entries_of(folder)
    stored = DistilledDataset.load(folder)
    assert (found.run, found.method, found.preset, found.size) == ("small", "atom", "paper", "bytes 400")
    assert (found.dataset, found.classes, found.image_shape) == ("toy", 3, (3, 8, 8))
    assert (found.bytes_asked, found.bits, found.parameterization) == (400, None, "frequency-6-3")
    assert (found.pictures, found.values) == (4, 4 * (6 * 6 + 2 * 3 * 3))
    assert found.stored_bytes == stored.stored_bytes <= 3 * 400
    files = ("distilled.safetensors", "preprocessing.safetensors")
    assert found.file_bytes == sum(len((folder / name).read_bytes()) for name in files) > found.stored_bytes
    assert found.images_8_bit == pytest.approx(stored.stored_bytes / 3 / 192, abs=1e-4)
    assert found.images_float32 == pytest.approx(stored.stored_bytes / 3 / 768, abs=1e-4)
    assert (found.mean, found.std, found.runs) == (51, pytest.approx(2**0.5, abs=1e-3), (50, 52))
    assert (found.protocol, found.epochs, found.same_compute, found.shape) == ("dm", 1000, False, {})
    record = stored.record
    times = (found.steps_seconds, found.run_seconds, found.pool_seconds, found.evaluate_seconds)
    assert times == (record["seconds"], record["run_seconds"], None, 9.0)
    assert (found.machine, found.torch, found.device) == (record["machine"], record["torch"], "cpu")
    assert found.commands == (
        "atom distill toy --bytes 400 --out runs/small",
        "atom evaluate runs/small --repeats 2",
    )


@pytest.mark.parametrize(
    ("settings", "bytes_asked", "bits"),
    [
        ({"ipc": 2}, 2 * 192 * 4, 32),
        ({"ipc": 2, "bits": 8}, 2 * 192, 8),
        ({"ipc": 1, "parameterization": "frequency-4-2"}, 192, 8),
        ({"ipc": None, "budget": 7}, 7 * 192 * 4 / 3, 32),
    ],
)
def test_a_number_of_images_is_a_size_in_bytes_at_the_precision_of_the_values(tmp_path, settings, bytes_asked, bits):
    folder = made(tmp_path / "run", score(), **{"bytes": None, "pictures": None, **settings})
    (found,) = entries_of(folder)
    assert (found.bytes_asked, found.bits) == (bytes_asked, bits)


def test_pixels_count_as_one_image_of_float32_and_four_of_8_bits(tmp_path):
    (found,) = entries_of(made(tmp_path / "run", score(), bytes=None, pictures=None, ipc=1))
    transform = 2 * 3 * 4 / 3 / 192
    assert found.images_8_bit == pytest.approx(4 + transform, abs=1e-4)
    assert found.images_float32 == pytest.approx(1 + transform / 4, abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"protocol": PROTOCOLS.get("quick")}, "--protocol quick"),
        ({"protocol": DM.same_compute(4)}, "--same-compute"),
        (
            {"protocol": DM.changed(epochs=300, augment_always="flip").same_compute(4)},
            "--epochs 300 --augment-always flip --same-compute",
        ),
        ({"arch": "resnet18", "shape": {**SHAPE, "norm": "batch"}}, "--arch resnet18 --norm batch"),
        ({"seed": 3}, "--seed 3"),
    ],
)
def test_the_command_of_a_score_has_its_options(tmp_path, changes, options):
    (found,) = entries_of(made(tmp_path / "run", score(**changes)))
    assert found.commands[1] == f"atom evaluate runs/run --repeats 2 {options}"
    assert found.same_compute == ("--same-compute" in options)


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("atom distill /data/sets/toy --ipc 1", "atom distill toy --ipc 1 --out runs/run"),
        ("atom distill toy --data-dir /data/toy --ipc 1 --resume", "atom distill toy --ipc 1 --out runs/run"),
        ("atom distill toy --data-dir=/data/toy --ipc 1", "atom distill toy --ipc 1 --out runs/run"),
        ("atom distill toy --ipc 1 --extend=/home/me/a", "atom distill toy --ipc 1 --extend=a --out runs/run"),
        ("python make.py --fast --of=/home/me/a", "python make.py --fast --of=a"),
    ],
)
def test_commands_name_no_place_of_a_machine(tmp_path, command, shown):
    (found,) = entries_of(made(tmp_path / "run", score(), command=command))
    assert found.commands[0] == shown


def test_each_protocol_and_network_has_an_entry_of_the_most_networks(tmp_path):
    others = [score(arch="vgg11"), score(protocol=PROTOCOLS.get("quick")), score(subject="random"), score(dataset="x")]
    folder = made(tmp_path / "run", score(runs=(1.0, 2.0, 3.0)), score(runs=(9.0, 9.0)), *others)
    found = {(entry.protocol, entry.arch): entry.runs for entry in entries_of(folder)}
    assert found == {("dm", "convnet"): (1, 2, 3), ("dm", "vgg11"): (50, 52), ("quick", "convnet"): (50, 52)}


def test_a_pool_and_labels_are_told(tmp_path):
    pool = {"pool": 1, "pool_epochs": 1, "label_weight": 1.0, "soft_labels": True}
    scores = (score(labels="soft"), score())
    soft, hard = entries_of(made(tmp_path / "run", *scores, **pool))
    assert (soft.pool, soft.labels, hard.labels) == (1, "soft", "hard")
    assert soft.pool_seconds is not None
    assert "--hard-labels" not in soft.commands[1]
    assert hard.commands[1].endswith("--hard-labels")


def test_a_selection_has_no_pool_whatever_its_preset(tmp_path):
    folder = made(tmp_path / "run", score(), method="random", preset="best")
    assert DistilledDataset.load(folder).settings["pool"] == 1
    (found,) = entries_of(folder)
    assert (found.pool, found.pool_seconds) == (0, None)


def test_collecting_again_replaces_and_keeps_the_rest(tmp_path, capsys):
    file, small, other = tmp_path / "figures.json", tmp_path / "small", tmp_path / "other"
    made(small, score(), score(arch="vgg11"))
    made(other, score(), method="random")
    assert main(["collect", str(small), str(other), "--json", str(file)]) == 0
    assert "small: 51.0 +- 1.4 % (convnet, dm, 2)" in capsys.readouterr().out
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "remark": "by hand"}))
    DistilledDataset.load(small).add_score(score(runs=(60.0, 60.0, 60.0)))
    assert main(["collect", str(small), "--json", str(file)]) == 0
    again = json.loads(file.read_text())
    assert again["remark"] == "by hand"
    found = {(each["run"], each["arch"]): each["mean"] for each in again["entries"]}
    assert found == {("other", "convnet"): 51, ("small", "convnet"): 60, ("small", "vgg11"): 51}
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["figures.json"]


def test_runs_of_one_name_are_refused():
    with pytest.raises(ArtifactError, match="named a"):
        merged(Figures(), [entry(), entry(mean=1.0)])


def _not_scored(folder: Path) -> None:
    made(folder)


def _imported(folder: Path) -> None:
    made(folder, score())
    config = load_config(folder)
    save_config(folder, **{**config, "settings": {"method": "imported"}})


def _unfinished(folder: Path) -> None:
    made(folder, score())
    (folder / "distilled.safetensors").unlink()


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (lambda folder: None, "is not a run folder"),
        (_not_scored, "has no scores; make some with: atom evaluate"),
        (_imported, "was not distilled here"),
        (_unfinished, "not finished"),
    ],
)
def test_what_cannot_be_collected_is_refused_in_one_line(tmp_path, capsys, prepare, told):
    prepare(tmp_path / "run")
    file = tmp_path / "figures.json"
    assert main(["collect", str(tmp_path / "run"), "--json", str(file)]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.startswith("frontier collect: ")
    assert error.count("\n") == 1
    assert not file.exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"entries": [{"run": 1}]}'])
def test_a_damaged_file_is_refused_and_kept(tmp_path, capsys, content):
    file = tmp_path / "figures.json"
    file.write_text(content)
    (tmp_path / "page.md").write_text(f"{BEGIN}\n{END}\n")
    assert main(["table", "--json", str(file), "--page", str(tmp_path / "page.md")]) == 2
    error = capsys.readouterr().err
    assert "damaged" in error
    assert error.count("\n") == 1
    made(tmp_path / "run", score())
    assert main(["collect", str(tmp_path / "run"), "--json", str(file)]) == 2
    assert "damaged" in capsys.readouterr().err
    assert file.read_text() == content


def test_a_row_has_size_accuracies_and_minutes():
    halved = entry(protocol="dm(same-compute,epochs=71)", same_compute=True, epochs=71, mean=50.26)
    quick = entry(protocol="quick(epochs=100)", epochs=100, mean=53.0, runs=(53.0,))
    random = entry(run="b", method="random", mean=33.4, std=0.8, pool=0, steps=0)
    text = tables([entry(), halved, quick, random])
    assert rows_of(text, "a: ") == [
        [
            *("a: atom, preset fast, 1,200 steps", "14 pictures, `frequency-12-6`", "3,070", "1.00", "0.25"),
            *("54.4 ± 0.3 (2)", "50.3 ± 0.3 (2; 71 epochs)", "53.0 (1; 100 epochs)", "1.5 + 2.0"),
        ]
    ]
    assert rows_of(text, "b: ")[0][5:] == ["33.4 ± 0.8 (2)", "-", "-", "1.5"]
    made_by = (
        "- a: `atom distill cifar10 --bytes 3072 --out runs/a`, `atom evaluate runs/a --repeats 2` at commit abc1234"
    )
    assert f"{made_by}, torch 2.13.0, Some Processor, 2 cores, AMX, 2 threads" in text
    assert "\n- b: `atom" in text


def test_every_score_is_in_one_of_the_tables():
    scores = {
        "plain": entry(mean=11.11),
        "vit": entry(arch="vit", mean=22.22),
        "batch": entry(shape={"norm": "batch"}, mean=33.33),
        "quick": entry(protocol="quick", epochs=200, mean=44.44),
        "fewer epochs": entry(protocol="quick(epochs=50)", epochs=50, mean=43.21),
        "changed": entry(protocol="quick(lr=0.1)", epochs=200, mean=12.34),
        "soft": entry(labels="soft", mean=55.55),
        "vit same compute": entry(arch="vit", protocol="dm(same-compute,epochs=9)", same_compute=True, mean=66.66),
        "best": entry(which="best", mean=77.77),
        "elsewhere": entry(dataset="digits", mean=88.88),
        "fewer classes": entry(dataset="cifar100", mean=99.99),
    }
    text = tables([*scores.values()])
    for name, each in scores.items():
        assert f"{each.mean:.1f} ± 0.3" in text, name
    first, second = rows_of(text.split("Other architectures")[1].split("\n\n")[1], "a:")
    assert first[1:] == ["`dm`", "11.1 ± 0.3", "33.3 ± 0.3", "22.2 ± 0.3"]
    assert second[1:] == ["`dm(same-compute,epochs=9)`", "-", "-", "66.7 ± 0.3"]
    assert "44.4 ± 0.3 (2)" in rows_of(text, "a:")[0]
    others = rows_of(text.split("Other protocols")[1].split("\n\n")[1], "a:")
    assert {row[2] for row in others} == {"`quick(epochs=50)`", "`quick(lr=0.1)`", "`dm`"}
    assert text.count("### CIFAR-100\n") == 1
    assert "### CIFAR-100, 10 classes\n" in text


def test_other_architectures_have_the_convnet_of_their_protocol_beside_them():
    scores = [("convnet", 62.5), ("vgg11", 55.0), ("resnet18", 51.5)]
    of_each = [entry(arch=arch, protocol="quick(epochs=50)", epochs=50, mean=mean) for arch, mean in scores]
    text = tables([entry(protocol="quick", epochs=200, mean=70.0), *of_each])
    (row,) = rows_of(text.split("Other architectures")[1], "a:")
    assert row[1:] == ["`quick(epochs=50)`", "62.5 ± 0.3", "51.5 ± 0.3", "55.0 ± 0.3"]
    assert "Other protocols" not in text


def test_unknown_seconds_are_not_shown_as_none():
    known = rows_of(tables([entry(run_seconds=None)]), "a:")[0][-1]
    unknown = rows_of(tables([entry(run_seconds=None, steps_seconds=None, pool_seconds=None)]), "a:")[0][-1]
    assert (known, unknown) == ("1.0 + 2.0", "unknown + unknown")


def test_published_figures_stand_below():
    text = tables([])
    assert rows_of(text, "NCFM")[0][:5] == ["NCFM", "49.5", "71.8", "77.4", "2x2 tiles"]
    assert [row[1:4] for row in rows_of(text, "ATOM")] == [
        ["34.8", "57.9", "68.8"],
        ["18.1", "35.7", "50.2"],
        ["9.1", "19.5", "29.1"],
    ]
    assert len(rows_of(text, "FreD")) == 2  # nothing of Tiny ImageNet
    assert "quantisation" not in text


def test_only_what_is_between_the_marks_changes():
    page = f"# Title\n\n{BEGIN}\n\nold\n\n{END}\n\nafter\n"
    assert with_tables(page, "new") == f"# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\nafter\n"
    for broken in ("# Title\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n", f"{page}{END}\n", f"{page}{BEGIN}\n"):
        with pytest.raises(ArtifactError, match="once each"):
            with_tables(broken, "new")


def test_the_page_shows_the_committed_figures():
    page = (ROOT / "docs" / "frontier.md").read_text("utf-8")
    figures = load_figures(ROOT / "results" / "frontier.json")
    assert page == with_tables(page, tables(figures.entries)), "run `make results`"


def test_a_page_that_is_not_there_is_named(tmp_path, capsys):
    assert main(["table", "--page", str(tmp_path / "no.md")]) == 2
    assert "there is no page" in capsys.readouterr().err


def test_the_tables_are_written_into_a_page(tmp_path):
    page, file = tmp_path / "page.md", tmp_path / "figures.json"
    page.write_text(f"{BEGIN}\n{END}\n")
    frontier.save_figures(file, merged(Figures(), [entry()]))
    assert main(["table", "--json", str(file), "--page", str(page)]) == 0
    assert rows_of(page.read_text("utf-8"), "a: ")
