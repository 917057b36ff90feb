"""The commands as people and scripts use them."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from atom_distill import __version__
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.config.distill import DistillConfig
from atom_distill.distillation.loop import Loop

DISTILL = "distill digits --ipc 1 --steps 4 --width 8 --batch-real 8 --compile off --device cpu"
EVALUATE = "--epochs 3 --repeats 2 --width 8 --device cpu"


def test_data_describes_a_set(atom):
    answer = atom("data digits --json")
    assert answer.code == 0
    facts = answer.json
    assert facts["name"] == "digits"
    assert facts["image_shape"] == [1, 8, 8]
    assert (facts["train"]["images"], facts["test"]["images"]) == (1438, 359)
    assert facts["classes"] == 10
    with Image.open(facts["contact_sheet"]) as sheet:
        assert sheet.format == "PNG"
    assert Path(facts["contact_sheet"]).name == "digits-contact-sheet.png"


def test_data_prints_a_table_and_puts_the_sheet_where_it_is_told(atom, tmp_path):
    answer = atom("data digits --sheet", tmp_path / "new" / "sheet.png")
    assert answer.code == 0
    for part in ("digits: 10 classes, 8x8, 1 channels", "1438", "359", "sheet.png"):
        assert part in answer.out
    assert (tmp_path / "new" / "sheet.png").exists()
    assert atom("data digits --sheet", tmp_path / "new" / "sheet.png").code == 0  # its own is replaced


@pytest.mark.parametrize("content", ["picture", "text"])
def test_a_file_of_the_users_does_not_become_a_contact_sheet(refused, tmp_path, content):
    path = tmp_path / "mine.png"
    Image.new("RGB", (4, 4)).save(path) if content == "picture" else path.write_text("notes")
    before = path.read_bytes()
    assert "is not a contact sheet of this tool: move it away" in refused("data digits --sheet", path)
    assert path.read_bytes() == before


def test_a_dry_run_shows_settings_and_their_origin(atom, tmp_path):
    (tmp_path / "more.yaml").write_text("steps: 77\nimage_lr: 0.5\nwidth: null\n")
    answer = atom("distill digits --ipc 60 --seed 3 --image-lr 2 --dry-run --json --config", tmp_path / "more.yaml")
    assert answer.code == 0
    settings, origin = answer.json["settings"], answer.json["origin"]
    assert (settings["ipc"], settings["steps"], settings["image_lr"], settings["preprocess"]) == (
        60,
        77,
        2.0,
        "normalize",
    )
    assert origin["ipc"] == origin["image_lr"] == "option"
    assert origin["steps"] == "file"
    assert origin["preprocess"] == "paper"
    assert origin["width"] == "architecture"
    assert not any(Path().iterdir())


def test_a_dry_run_for_people(atom):
    answer = atom("distill digits --ipc 1 --dry-run")
    assert answer.code == 0
    rows = _rows(answer.out)
    assert rows.keys() >= DistillConfig.model_fields.keys()
    assert (rows["ipc"], rows["bits"]) == (("1", "option"), ("32", "default"))
    assert (rows["budget"], rows["memory"]) == (("not used", "default"), ("no limit", "default"))


def _rows(table: str) -> dict[str, tuple[str, str]]:
    """Return value and origin of each setting that a dry run printed."""
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines()]
    return {row[0]: (row[1], row[2]) for row in cells if len(row) == 3}


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ("--ipc 1 --frequency 4 2", {"bits": ("8", "default"), "parameterization": ("frequency-4-2", "option")}),
        ("--ipc 1 --frequency 4 2 --bits 4", {"bits": ("4", "option")}),
        ("--ipc 1 --parameterization tiles-2", {"bits": ("32", "default"), "pictures": ("not used", "default")}),
        ("--ipc 1 --preset fast", {"batch_real": ("16", "preset fast"), "image_lr": ("0.02", "default")}),
        (
            "--bytes 300",
            {
                "pictures": ("28", "data set and size"),
                "parameterization": ("frequency-6-3", "data set and size"),
                "preprocess": ("normalize", "data set and size"),
                "bits": ("as many as fit", "data set and size"),
                "ipc": ("not used", "default"),
            },
        ),
        ("--bytes 3000 --pictures 9 --preprocess zca", {"pictures": ("9", "option"), "preprocess": ("zca", "option")}),
    ],
)
def test_a_dry_run_tells_derived_settings_and_their_origin(atom, options, want):
    answer = atom(f"distill digits {options} --dry-run")
    assert answer.code == 0, answer.err
    rows = _rows(answer.out)
    assert {name: rows[name] for name in want} == want


def test_a_dry_run_for_scripts_has_the_precision_that_will_be_used(atom):
    settings = {
        size: atom(f"distill digits {size} --dry-run --json").json["settings"]
        for size in ("--ipc 1", "--ipc 1 --frequency 4", "--bytes 300")
    }
    assert [each["bits"] for each in settings.values()] == [32, 8, None]


def test_a_dry_run_tells_what_the_method_has_no_use_for(atom):
    answer = atom("distill digits --ipc 1 --method dm --spatial-power 2 --dry-run")
    assert answer.err.count("dm has no use for spatial_power") == 1


def test_distill_writes_a_folder_with_a_name_of_its_own(atom):
    answer = atom(DISTILL)
    assert answer.code == 0, answer.err
    assert "10 images after 4 steps" in answer.out
    assert "atom evaluate runs/digits-atom-ipc1" in answer.out
    assert load_file("runs/digits-atom-ipc1/distilled.safetensors")["images"].shape == (10, 1, 8, 8)


def test_distill_for_scripts(atom, tmp_path):
    answer = atom(f"{DISTILL} --json --out", tmp_path / "run")
    assert answer.code == 0
    facts = answer.json
    assert facts["folder"] == str(tmp_path / "run")
    assert (facts["images"], facts["ipc"], facts["steps"]) == (10, 1, 4)
    assert Path(facts["picture"]).exists()
    assert facts["loss"] > 0
    assert atom(f"{DISTILL} --json --resume --out", tmp_path / "run").json["steps"] == 4


def test_a_run_can_be_repeated_from_its_own_config(atom, finished, tmp_path):
    again = tmp_path / "again"
    assert atom(f"distill digits --config {finished}/config.yaml --out", again).code == 0
    first, second = (load_file(folder / "distilled.safetensors")["images"] for folder in (finished, again))
    assert torch.equal(first, second)


@pytest.mark.parametrize(("size", "unused"), [(5000, True), (60, False)])
def test_bytes_that_a_set_does_not_fill_are_told(atom, tmp_path, size, unused):
    answer = atom(f"distill digits --method random --bytes {size} --pictures 5 --out", tmp_path / "run")
    stored = DistilledDataset.load(tmp_path / "run").stored_bytes
    told = f"{10 * size - stored:,} of {10 * size:,} bytes; more --pictures would use them, fewer --bytes suffice"
    assert (told in answer.out) == unused


def test_a_size_that_is_given_takes_the_place_of_that_in_a_file(atom, tmp_path):
    file = tmp_path / "best.yaml"
    file.write_text("preset: best\nbytes: 300\npictures: 5\n")
    found = [
        atom(f"distill digits --dry-run --json {size} --config", file).json["settings"]
        for size in ("", "--bytes 400", "--ipc 2")
    ]
    assert [(each["bytes"], each["pictures"]) for each in found] == [(300, 5), (400, 5), (128, 15)]
    file.write_text("budget: 20\n")
    assert atom("distill digits --dry-run --json --ipc 3 --config", file).json["images"] == 30


def test_resume_takes_more_steps_and_no_other_setting(atom, run_folder):
    answer = atom("distill digits --resume --steps 6 --json --out", run_folder)
    assert answer.json["steps"] == 6
    assert yaml.safe_load((run_folder / "config.yaml").read_text())["settings"]["width"] == 8


def test_ctrl_c_saves_and_says_how_to_go_on(atom, tmp_path, monkeypatch):
    checkpoint = Loop._checkpoint

    def press(self, state, *, now):
        checkpoint(self, state, now=now)
        if state.step == 1:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_checkpoint", press)
        answer = atom(f"{DISTILL} --json --out", tmp_path / "cut")
    assert answer.code == 130
    assert answer.out == ""
    assert answer.err.startswith("atom distill: ")
    assert answer.err.count("\n") == 1
    for told in ("step 2", f"{tmp_path}/cut", "--resume", f"--out {tmp_path}/cut"):
        assert told in answer.err
    assert atom(f"{DISTILL} --resume --out", tmp_path / "cut").code == 0
    assert atom(f"{DISTILL} --out", tmp_path / "whole").code == 0
    resumed, whole = (load_file(tmp_path / name / "distilled.safetensors")["images"] for name in ("cut", "whole"))
    assert torch.equal(resumed, whole)


def test_the_whole_set(atom):
    answer = atom("evaluate digits --whole --epochs 1 --repeats 1 --width 8 --device cpu --json")
    assert (answer.json["subject"], answer.json["images"], answer.json["ipc"]) == ("whole", 1438, None)


def test_the_best_set_can_be_scored(atom, tmp_path):
    out = tmp_path / "run"
    line = f"{DISTILL} --eval-every 2 --eval-epochs 2 --out {out}"
    assert atom(line).code == 0
    assert any("held_out_accuracy" in json.loads(entry) for entry in (out / "metrics.jsonl").read_text().splitlines())
    answer = atom(f"evaluate {EVALUATE} --which best --json", out)
    assert answer.json["which"] == "best"
    assert answer.json["steps"] in (2, 4)


def picture(path: Path, mode: str, size: int, label: int, index: int, **options) -> None:
    """A bright half, left or right by class, in any mode and size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(100 * label + index).integers(0, 90, (size, size, 3), dtype=np.uint8)
    half = slice(0, size // 2) if label == 0 else slice(size // 2, None)
    pixels[:, half] += 140
    Image.fromarray(pixels).convert(mode).save(path, **options)


@pytest.fixture
def mixed_folder(tmp_path: Path) -> Path:
    """Two classes as PNG and JPEG, gray, RGB and RGBA, in three sizes."""
    root = tmp_path / "my images"
    kinds = [("png", "RGB"), ("jpg", "RGB"), ("png", "L"), ("jpeg", "L"), ("png", "RGBA"), ("png", "P")]
    for split, count in (("train", 12), ("test", 6)):
        for label, name in enumerate(("left side", "right")):
            for index in range(count):
                suffix, mode = kinds[index % len(kinds)]
                size = (12, 16, 24)[index % 3]
                picture(root / split / name / f"{index}.{suffix}", mode, size, label, index)
    return root


def test_class_folders_of_any_kind_distil_and_evaluate(atom, mixed_folder, tmp_path):
    out = tmp_path / "run"
    line = "distill --ipc 2 --steps 5 --width 8 --image-size 16 --compile off --device cpu --json --out"
    answer = atom(line, out, mixed_folder)
    assert answer.code == 0, answer.err
    assert answer.json["images"] == 4
    assert load_file(out / "distilled.safetensors")["images"].shape == (4, 3, 16, 16)
    assert sorted(path.name for path in (out / "images").iterdir()) == ["left_side", "right"]
    answer = atom("evaluate --epochs 40 --lr 0.05 --repeats 1 --width 8 --device cpu --json", out)
    assert answer.code == 0, answer.err  # the size is remembered
    assert answer.json["mean"] > 80


def test_what_the_run_skipped_stays_skipped(atom, mixed_folder, tmp_path):
    (mixed_folder / "train" / "right" / "0.png").write_bytes(b"no picture")
    line = "distill --ipc 1 --steps 1 --width 8 --image-size 16 --compile off --device cpu --skip-unreadable --out"
    assert atom(line, tmp_path / "run", mixed_folder).code == 0
    (tmp_path / "atom-data").rename(tmp_path / "emptied")  # without the cache the files are read again
    answer = atom("evaluate --epochs 1 --repeats 1 --width 8 --device cpu --json", tmp_path / "run")
    assert answer.code == 0, answer.err


@pytest.mark.parametrize("command", ["data", "distill", "evaluate"])
def test_help_explains_every_option_with_its_default(atom, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")  # wider, the boxes would stand side by side
    answer = atom(f"{command} --help")
    assert answer.code == 0
    options: list[str] = []
    for line in (framed.strip("│ ") for framed in answer.out.splitlines()):
        if line.startswith("-"):
            options.append(line)
        elif options:
            options[-1] += f" {line}"  # a long option has its explanation below it
    assert len(options) >= {"data": 6, "distill": 35, "evaluate": 20}[command]
    for option in options[1:]:  # after --help itself
        assert re.search(r"[A-Za-z].{8,}[.:].*\(default: .+?\)", option), option


@pytest.mark.parametrize("line", ["", "-h", "--help"])
def test_the_overview(atom, line):
    answer = atom(line)
    assert answer.code == 0
    for name in ("data", "distill", "evaluate", "atom COMMAND --help"):
        assert name in answer.out


def test_the_version(atom):
    assert atom("--version").out == f"atom-distill {__version__}\n"


def test_the_matching_network_has_a_name_of_its_own(atom):
    for name in ("--matching-arch", "--arch"):
        settings = atom(f"distill digits --ipc 1 --image-size 16 --dry-run --json {name} vit").json["settings"]
        assert settings["arch"] == "vit"


@pytest.mark.parametrize(
    ("line", "arch"),
    [
        ("digits --matching-arch convnet vit", "convnet+vit"),
        ("digits --arch convnet+vit --seed 1", "convnet+vit"),
        ("--arch vit digits", "vit"),
        ("--arch=convnet+vit digits", "convnet+vit"),
    ],
)
def test_several_matching_networks_and_a_data_set_that_follows(atom, line, arch):
    pool = "--pool 2 --networks snapshot --pool-epochs 1"
    answer = atom(f"distill {line} --ipc 1 --image-size 16 --dry-run --json {pool}")
    assert answer.json["settings"]["arch"] == arch
    assert answer.json["pool"] == {"networks": 4 if "+" in arch else 2, "cached": 0}
    assert answer.json["settings"]["depth"] == ("3 (convnet), 6 (vit)" if "+" in arch else 6)


def test_a_run_on_some_classes_is_scored_on_them(atom, tmp_path):
    made = atom("distill digits --classes 3 8 --ipc 1 --method random --out", tmp_path / "run")
    assert made.code == 0, made.err
    scored = atom("evaluate --epochs 2 --repeats 1 --width 8 --json --device cpu", tmp_path / "run")
    assert scored.json["images"] == 2
    assert atom("distill digits --classes 4 --ipc 1 --dry-run").code == 0


def test_duplicates_and_dark_images_are_shown(atom, tmp_path):
    for split, shades in (("train", (10, 20)), ("test", (10, 30))):
        for name, shade in zip(("cat[bold]", "dog"), shades, strict=True):
            (tmp_path / "set" / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8), (shade, 0, 0)).save(tmp_path / "set" / split / name / "1.png")
    Image.new("RGB", (8, 8), (10, 0, 0)).save(tmp_path / "set" / "train" / "dog" / "2.png")
    shown = atom("data", tmp_path / "set").out
    assert "1 image is both in the training and in the test split" in shown
    assert "1 image is in more than one class" in shown
    assert "train 0 (cat[bold]) = train 2 (dog) = test 0 (cat[bold])" in shown
    assert "no pixel is above 20 of 255" in shown
    facts = atom("data --json", tmp_path / "set").json
    assert facts["duplicates"]["across_splits"]["images"] == 1
    assert facts["duplicates"]["across_classes"]["examples"][0][1] == {"split": "train", "index": 2, "class": "dog"}


def test_a_dry_run_tells_how_much_of_the_pool_is_cached(atom):
    line = "distill digits --ipc 1 --networks snapshot --pool 2 --pool-epochs 1 --width 8"
    assert "0 of 2 networks of the pool are cached" in atom(f"{line} --dry-run").out
    assert atom(f"{line} --dry-run --json").json["pool"] == {"networks": 2, "cached": 0}
    assert atom(f"{line} --pool 1 --steps 1 --compile off --out run").code == 0
    assert atom(f"{line} --dry-run --json").json["pool"] == {"networks": 2, "cached": 1}
    assert "pool" not in atom("distill digits --ipc 1 --pool 2 --dry-run --json").json


def test_what_a_pool_is_needed_for_is_refused_without_one(atom):
    for option in ("--networks snapshot", "--networks interpolated", "--label-weight 100"):
        answer = atom(f"distill digits --ipc 1 {option}")
        assert answer.code == 2
        assert f"{option.split()[0]}" in answer.err
        assert "--pool 2" in answer.err
        assert len(answer.err.splitlines()) == 1
