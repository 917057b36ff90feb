"""What a launcher of several processes says, and what of it is missing."""

from __future__ import annotations

import pytest

from atom_distill.base.errors import ConfigError
from atom_distill.base.progress import is_main_process
from atom_distill.processes.launcher import Launched, launched

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
}


@pytest.fixture
def told(monkeypatch):
    """Set the environment to what is given, and nothing else of its kind."""

    def tell(**environment: str) -> None:
        for name in TORCHRUN:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return tell


def test_without_a_launcher_a_process_is_alone_and_speaks(told):
    told()
    assert launched() == Launched(0, 1, 0, 1)
    assert is_main_process()


def test_torchruns_words_are_understood(told):
    told(**TORCHRUN)
    assert launched() == Launched(rank=3, size=4, local_rank=1, local_size=2)
    assert not is_main_process()


def test_a_rank_without_others_is_alone_and_speaks(told):
    told(RANK="1")
    assert launched() == Launched()
    assert is_main_process()


@pytest.mark.parametrize("missing", [name for name in TORCHRUN if name != "WORLD_SIZE"])
def test_what_is_missing_is_asked_for_aloud(told, missing):
    told(**{name: value for name, value in TORCHRUN.items() if name != missing})
    with pytest.raises(ConfigError, match="start it with torchrun, or unset WORLD_SIZE"):
        launched()
    assert is_main_process()


def test_a_size_that_is_no_number_is_refused(told):
    told(**{**TORCHRUN, "WORLD_SIZE": "x"})
    with pytest.raises(ConfigError, match="WORLD_SIZE is 'x'"):
        launched()


def test_only_ascii_digits_are_numbers(told):
    told(**{**TORCHRUN, "RANK": "\N{ARABIC-INDIC DIGIT THREE}"})
    with pytest.raises(ConfigError, match="missing or wrong"):
        launched()
    assert is_main_process()
