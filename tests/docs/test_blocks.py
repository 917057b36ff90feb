"""Every command and every piece of Python in README and docs runs, in the order of its page."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import atom_distill
from atom_distill.artifact import bundled
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.distillation.methods import METHODS
from atom_distill.models.registry import MODELS
from command_page import command_names
from docs.pages import PAGES, Block, blocks_of, code_in_lines
from docs.running import NOT_RUN, check_make, check_options, check_pip, options_of, run_python, run_shell, smaller

SHOWN = ("text", "math", "bibtex")
"""Blocks that are there to be read."""
NETWORK = {"width": 8, "compile": "off"}


def runs(page: Path) -> bool:
    return any(block.language not in SHOWN for block in blocks_of(page.read_text("utf-8")))


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what readers have: pictures of theirs, somebody's distilled set, a bundled set; no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    atom_distill.build_model("convnet", (1, 8, 8), 10)  # with the first, all architectures register themselves
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    monkeypatch.setattr(MODELS, "_entries", dict(MODELS._entries))
    monkeypatch.setattr(bundled, "SETS_FOLDER", tmp_path / "sets")
    stand_in = atom_distill.distill(atom_distill.load_dataset("digits"), 1, "random", show_progress=False, device="cpu")
    stand_in.save(tmp_path / "sets" / "cifar10-3072")
    draw = np.random.default_rng(0)
    for number, name in enumerate(("bird", "cat", "dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(12):
            pixels = draw.integers(60 * number, 60 * number + 100, (20, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{index}.png")
    published = torch.randn(100, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(10).repeat_interleave(10)
    torch.save({"data": [[published, labels]]}, tmp_path / "res_DM_CIFAR10_ConvNet_10ipc.pt")
    return tmp_path


@pytest.fixture
def in_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the Python names do little: two steps, one network, one epoch."""
    distill, evaluate = atom_distill.distill, atom_distill.evaluate

    def little(data: Any, *arguments: Any, **given: Any) -> Any:
        network = NETWORK if given.get("arch", "convnet") == "convnet" else {"compile": "off"}
        less = {"steps": 2, "batch_real": 8, "device": "cpu", "show_progress": False}
        return distill(data, *arguments, **{**given, **network, **less})

    def briefly(*arguments: Any, **given: Any) -> Any:
        return evaluate(*arguments, **{**given, "repeats": 1, "protocol": PROTOCOLS.get("dm").changed(epochs=1)})

    monkeypatch.setattr(atom_distill, "distill", little)
    monkeypatch.setattr(atom_distill, "evaluate", briefly)


@pytest.mark.slow
@pytest.mark.parametrize("page", [*filter(runs, PAGES)], ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(page: Path, at_home: Path, in_small: None) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks_of(page.read_text("utf-8")):
        if block.language in SHOWN:
            continue
        if block.language == "bash" and "atom report" in block.text and importlib.util.find_spec("altair") is None:
            pytest.skip("reports need the extra [report]")
        try:
            run_block(block, names, at_home / f"line_{block.line}.py")
        except BaseException as error:
            error.add_note(f"in the block at {page.name}:{block.line}")
            raise


def run_block(block: Block, names: dict[str, Any], path: Path) -> None:
    if block.language == "python":
        run_python(block.text, names, path)
    elif block.language == "bash":
        run_shell(block.text)
    else:
        raise AssertionError(f"a block of {block.language or 'no language'}: is it to be run (bash, python) or read?")


def test_what_is_not_run_is_still_in_the_pages() -> None:
    shell = "\n".join(block.text for page in PAGES for block in blocks_of(page.read_text("utf-8")))
    assert [command for command in NOT_RUN if f"{command} " not in shell] == []


def test_many_blocks_are_found() -> None:
    found = [block.language for page in PAGES for block in blocks_of(page.read_text("utf-8"))]
    assert found.count("bash") > 20
    assert found.count("python") > 7


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_options_and_commands_in_lines_exist(page: Path) -> None:
    everything = {option for command in command_names() for option in options_of(command)}
    for code in code_in_lines(page.read_text("utf-8")):
        match code.split():
            case ["atom", command, *rest] if command.islower() and not command.startswith("--"):
                assert command in command_names(), code
                check_options([command, *rest])
            case ["make", *targets]:
                check_make(targets)
            case ["pip", "install", *rest]:
                check_pip([word.strip("'") for word in rest])
            case [option, *_] if option.startswith("--"):
                assert option in everything | {"--help", "--version"}, code
            case ["python", script, *_] if script.endswith(".py"):
                assert (page.parents[page.parent.name == "docs"] / script).is_file(), code


@pytest.mark.parametrize(
    ("doubtful", "told"),
    [
        ("rm -rf runs", "nothing here knows"),
        ("make dinner", "make dinner"),
        ("make demo COLOUR=red", "COLOUR"),
        ("pip install -e '.[moon]'", "moon"),
        ("pip install torchvision", "torchvision"),
        ("atom export runs/a --to hf --push A/B --publicly", "publicly"),
        ("atom distill digits --ipc 1 --method atim", "exit code 2"),
    ],
)
def test_what_does_not_work_is_found(doubtful: str, told: str, at_home: Path) -> None:
    with pytest.raises(AssertionError, match=told):
        run_shell(doubtful)


def test_python_that_does_not_work_is_found(at_home: Path) -> None:
    with pytest.raises(AttributeError, match="destill"):
        run_python("import atom_distill as ad\nad.destill", {}, at_home / "block.py")


@pytest.mark.parametrize("language", ["", "sh", "yaml"])
def test_a_block_of_another_language_is_refused(language: str, at_home: Path) -> None:
    with pytest.raises(AssertionError, match="to be run"):
        run_block(Block(language, "atom data digits\n", 1), {}, at_home / "block.py")


def test_the_tables_change_this_and_no_more() -> None:
    given = "distill cifar10 --ipc 1 --steps 500 --out runs/cifar10"
    small = "distill digits --ipc 1 --steps 5 --out runs/cifar10"
    added = "--width 8 --batch-real 8 --compile off --device cpu"
    assert " ".join(smaller(given.split())) == f"{small} {added}"


def test_a_comment_is_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr("docs.running.run_command", ran.append)
    run_shell("# make dinner\nmake demo   # and more\natom data digits \\\n  --json && make test\n")
    assert ran == [["make", "demo"], ["atom", "data", "digits", "--json"], ["make", "test"]]
