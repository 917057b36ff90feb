"""The `atom` command in this process, away from the network, with every output captured."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from atom_distill.cli.main import main


@pytest.fixture(autouse=True)
def _own_folder_and_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_DATASETS_OFFLINE", raising=False)
    which = shutil.which
    monkeypatch.setattr(
        shutil, "which", lambda name, *rest, **more: None if name == "npm" else which(name, *rest, **more)
    )


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON object and nothing else."""
        return json.loads(self.out)


@pytest.fixture
def atom(capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run a command line: `atom("distill digits --ipc 1", "--out", folder)`; the first text is split at blanks."""

    def run(line: str, *more: str | Path) -> Answer:
        capfd.readouterr()
        try:
            code = main([*line.split(), *map(str, more)])
        except SystemExit as left:  # how the option parser ends
            code = int(left.code or 0)
        captured = capfd.readouterr()
        return Answer(code, captured.out, captured.err)

    return run


@pytest.fixture
def refused(atom: Callable[..., Answer]) -> Callable[..., str]:
    """Run a command line that must end with exit code 2 and one clear line on standard error; returns the line."""

    def run(line: str, *more: str | Path) -> str:
        answer = atom(line, *more)
        assert answer.code == 2, answer
        assert answer.out == ""
        assert answer.err.startswith("atom"), answer.err
        assert answer.err.count("\n") == 1, answer.err
        assert "Traceback" not in answer.err
        return answer.err

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run on digits; copy it before you change it."""
    out = tmp_path_factory.mktemp("finished") / "run"
    arguments = f"distill digits --ipc 1 --steps 4 --width 8 --batch-real 8 --compile off --device cpu --out {out}"
    assert main(arguments.split()) == 0
    return out


@pytest.fixture
def run_folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of the small run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))
