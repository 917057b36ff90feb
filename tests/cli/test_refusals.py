"""What a user can get wrong: one clear line that says what to do, exit code 2, no traceback."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from atom_distill.distillation.run_state import checkpoints

QUICK = "--steps 1 --width 8 --compile off --device cpu"


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Two classes of four images, and two to test on."""
    for blue, (split, count) in enumerate((("train", 4), ("test", 2))):
        for shade, name in ((40, "cat"), (200, "dog")):
            for index in range(count):
                path = tmp_path / "pets" / split / name / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), (shade, index, blue)).save(path)
    return tmp_path / "pets"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "destill digits --ipc 1",
            "^atom: .*'destill'.*'distill'.*: data, distill, evaluate, export, import",
        ),
        ("data digit", "^atom data: .*data set 'digit'.*'digits'"),
        ("distill cifar --ipc 1", "'cifar10' or 'cifar100'"),
        ("distill digits --ipc 1 --method atim", "method 'atim'.*'atom'"),
        ("distill digits --ipc 1 --arch confnet", "architecture 'confnet'.*'convnet'"),
        ("distill digits", "images.*--ipc"),
        ("distill digits --ipc 1 --budget 30", "--ipc.*--budget"),
        (
            "distill digits --budget 9",
            r"--budget 9\b.*\b10\b.*1438",
        ),
        (
            "distill digits --budget 30 --method dsa",
            "--ipc.*--budget",
        ),
        ("distill digits --ipc 0", r"--ipc must .*\b1, got 0"),
        ("distill digits --ipc 0 --steps 0", "--ipc must .*got 0; --steps must "),
        (
            "distill digits --ipc 200",
            "ipc 200 .*139 .*'8'.*--ipc 139",
        ),
        ("distill digits --ipc 1 --image-lr 0", "--image-lr must .*0"),
        ("distill digits --ipc 1 --augment blur", "'blur'.*color, crop"),
        ("distill digits --ipc 1 --depth 9", r"depth 9 .*8x8.*\b3\b"),
        ("distill digits --ipc 1 --device nonsense", "device 'nonsense'.*auto.*cpu"),
        ("distill digits --ipc 1 --device nonsense --dry-run", "device 'nonsense'"),
        ("distill digits --ipc 1 --config nowhere.yaml", "--config nowhere.yaml"),
        ("distill digits --resume", "images.*--ipc"),
        ("distill digits --resume --out nowhere", "nowhere .*no run"),
        ("distill digits --ipc 1 --test-fraction 0.5", "digits .*test split"),
        ("evaluate nowhere", "nowhere .*config.yaml.*`atom distill`"),
        ("evaluate digits", "digits .*data set.*--random --ipc.*--whole"),
        ("evaluate digits --random", "random.*--ipc"),
        ("evaluate digits --random --whole", "--random.*--whole"),
        ("evaluate digits --random --ipc 0", "ipc .*1, got 0"),
        (
            "evaluate digits --random --ipc 500",
            "ipc 500 .*139 .*'8'.*--ipc 139",
        ),
        ("evaluate digits --random --ipc 1 --arch resnt", "architecture 'resnt'"),
        (
            "evaluate digits --random --ipc 1 --arch convnet resnet18",
            "resnet18 .*9x9, got 8x8.*convnet",
        ),
        (
            "evaluate digits --random --ipc 1 --arch convnet vit --norm batch",
            "vit .*norm.*depth and width",
        ),
        ("distill digits --ipc 1 --arch vgg11", "vgg11 .*28x28, got 8x8"),
        ("distill digits --ipc 1 --arch alexnet --width 8", "alexnet .*width"),
        ("distill digits --ipc 1 --arch timm:resnet10t --norm none", "timm:resnet10t .*norm"),
        ("evaluate digits --random --ipc 1 --protocol dn", "protocol 'dn'.*'dm'"),
        ("evaluate digits --random --ipc 1 --repeats 0", "repeats .*1, got 0"),
        ("evaluate digits --random --ipc 1 --epochs 0", "--epochs must .*1, got 0"),
        ("evaluate digits --random --ipc 1 --width 0", "width .*1, got 0"),
        ("evaluate digits --random --ipc 1 --depth -1", "depth .*1, got -1"),
        ("evaluate digits --random --ipc 1 --augment blur", "operation 'blur'"),
        ("evaluate digits --random --ipc 1 --device cuda:77", "device 'cuda:77'"),
        ("evaluate digits --whole --dataset digit", "data set 'digit'"),
    ],
)
def test_wrong_lines(refused, line, told):
    assert re.search(told, refused(line))
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "line",
    [
        "distill digits --ipc one",
        "distill digits --ipcs 1",
        "distill digits --init photo --ipc 1",
        "distill --ipc 1",
        "evaluate",
        "evaluate x --which worst",
        "data digits --bogus",
    ],
)
def test_options_that_do_not_parse(atom, line):
    answer = atom(line)
    assert answer.code == 2
    assert answer.out == ""
    assert "--help" in answer.err
    assert "Traceback" not in answer.err


def test_a_config_file_with_an_unknown_setting(refused, tmp_path):
    for text, told in (
        ("imagelr: 1", "unknown setting 'imagelr'. Did you mean 'image_lr'"),
        ("7: 1", "unknown setting '7'"),
        ("- 1", "must hold settings as 'name: value' lines"),
        ("a: [", "cannot be read"),
    ):
        (tmp_path / "config.yaml").write_text(text)
        assert told in refused("distill digits --ipc 1 --config", tmp_path / "config.yaml")


def test_an_empty_class(refused, pets):
    (pets / "train" / "cow").mkdir()
    assert "class 'cow' has no training images" in refused(f"distill --ipc 1 {QUICK}", pets)
    assert "--classes" in refused(f"distill --ipc 1 {QUICK}", pets)


def test_one_class(refused, pets):
    for split in ("train", "test"):
        shutil.rmtree(pets / split / "dog")
    assert "has 1 class; distillation separates classes and needs at least 2" in refused(
        f"distill --ipc 1 {QUICK}", pets
    )


def test_an_unreadable_image_is_named_and_may_be_skipped(refused, atom, pets):
    broken = pets / "train" / "cat" / "2.png"
    broken.write_bytes(broken.read_bytes()[:20])
    told = refused(f"distill --ipc 1 {QUICK}", pets)
    assert str(broken) in told
    assert "--skip-unreadable" in told
    answer = atom("data --skip-unreadable --json", pets)
    assert answer.code == 0
    assert answer.json["skipped"] == 1
    assert answer.json["train"]["images"] == 7
    assert atom(f"distill --ipc 3 --skip-unreadable {QUICK}", pets).code == 0


def test_a_folder_without_a_test_split(refused, pets):
    shutil.rmtree(pets / "test")
    assert "--test-fraction 0.2" in refused(f"distill --ipc 1 {QUICK}", pets)


def test_more_images_than_a_class_has(refused, atom, pets):
    assert "use --ipc 4 or less, or --init noise" in refused(f"distill --ipc 5 {QUICK}", pets)
    assert atom(f"distill --ipc 5 --init noise {QUICK}", pets).code == 0


def test_a_truncated_cache(refused, atom, pets, tmp_path):
    assert atom("data --json", pets).code == 0
    array = max((tmp_path / "atom-data").rglob("*.npy"), key=lambda path: path.stat().st_size)
    array.write_bytes(array.read_bytes()[:-5])
    told = refused(f"distill --ipc 1 {QUICK}", pets)
    assert str(array.parent) in told
    assert "it is made again" in told
    assert atom("data --refresh --json", pets).code == 0


@pytest.mark.parametrize("name", ["distilled.safetensors", "preprocessing.safetensors", "config.yaml", "scores.json"])
def test_a_truncated_artifact(refused, run_folder, name):
    content = (run_folder / name).read_bytes()
    (run_folder / name).write_bytes(content[: len(content) // 3])
    assert str(run_folder / name) in refused("evaluate", run_folder)


def test_an_unfinished_run(refused, run_folder):
    (run_folder / "distilled.safetensors").unlink()
    assert re.search("not finished .*resume", refused("evaluate", run_folder))


def test_a_set_that_was_never_judged_has_no_best(refused, run_folder):
    assert re.search("no best set: .*eval.every", refused("evaluate --which best", run_folder))


def test_a_folder_that_holds_another_run(refused, run_folder, tmp_path):
    line = f"distill digits --ipc 1 {QUICK}"
    assert re.search("holds a run.*--resume.*--out", refused(f"{line} --out", run_folder))
    assert "holds another run (seed 0, not 9)" in refused("distill digits --seed 9 --resume --out", run_folder)
    assert "has done 4 steps already" in refused("distill digits --steps 3 --resume --out", run_folder)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("...")
    assert "is not empty and holds no run" in refused(f"{line} --out", tmp_path / "full")


def test_no_readable_checkpoint(atom, run_folder):
    for path in checkpoints(run_folder):
        path.write_bytes(b"")
    answer = atom("distill digits --steps 9 --resume --out", run_folder)
    assert answer.code == 2
    first, last = answer.err.splitlines()
    assert "checkpoint-000004.safetensors is damaged" in first
    assert last.startswith(f"atom distill: no checkpoint in {run_folder} can be read")


def test_a_hub_set_without_network(refused):
    told = refused("data cifar100")
    for part in ("cifar100 was not found", "Hugging Face hub", "cifar-100-python.tar.gz", "--data-dir", "ATOM_DATA"):
        assert part in told


def test_a_loss_that_is_not_finite(refused, tmp_path):
    out = tmp_path / "run"
    line = "distill digits --ipc 1 --steps 20 --width 8 --compile off --device cpu --image-lr 1e38 --out"
    told = refused(line, out)
    assert "at step " in told
    assert "there is no checkpoint yet" in told
    assert "--image-lr" in told


def test_an_evaluation_on_another_set(refused, run_folder, pets):
    assert "evaluate on the data set it was distilled from" in refused("evaluate --dataset", pets, run_folder)


def test_a_folder_that_cannot_be_made(refused, tmp_path):
    (tmp_path / "file").write_text("...")
    assert str(tmp_path / "file") in refused(f"distill digits --ipc 1 {QUICK} --out", tmp_path / "file" / "run")
