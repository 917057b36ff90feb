"""Progress on standard error, as lines if there is no terminal."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from atom_distill.base import progress
from atom_distill.base.progress import Progress, duration, note


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that the test sets."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (42.4, "42 s"),
        (59.7, "1 min 00 s"),
        (60, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (100_000, "27 h 46 min"),
    ],
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


def test_a_note_goes_to_standard_error(capsys):
    note("hello")
    assert capsys.readouterr() == ("", "hello\n")


def test_a_note_is_one_line_and_no_command_to_the_terminal(capsys):
    note("a\nb \x1b[31m")
    assert capsys.readouterr() == ("", "a\\nb \\x1b[31m\n")


def test_lines_come_at_intervals_with_values_rate_and_time_left(clock, capsys):
    with Progress("distill", total=100) as bar:
        for step in range(50):
            clock.seconds += 0.5
            bar.advance(loss=f"{step}")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "distill: 20/100  loss 19  2 steps/s  40 s left",
        "distill: 40/100  loss 39  2 steps/s  30 s left",
        "distill: 50/100 steps in 25 s",
    ]


def test_a_resumed_run_counts_its_own_speed(clock, capsys):
    with Progress("train", total=1000, done=900, unit="epochs") as bar:
        clock.seconds += 20
        bar.advance(10)
        assert bar.rate == 0  # the first unit is left out, as it may include compilation
        clock.seconds += 20
        bar.advance(10)
        assert bar.rate == 0.5
        assert bar.elapsed == 40
    assert "train: 920/1000  0.5 epochs/s  2 min 40 s left" in capsys.readouterr().err


def test_a_short_task_prints_nothing(clock, capsys):
    with Progress("quick", total=2) as bar:
        clock.seconds += 1
        bar.advance(2)
    assert capsys.readouterr() == ("", "")


def test_no_time_passed_is_no_division_by_zero(clock):
    bar = Progress("x", total=5)
    assert bar.rate == 0.0
    assert "? left" in bar._describe({})


def test_disabled_prints_nothing(clock, capsys):
    with Progress("x", total=5, enabled=False) as bar:
        clock.seconds += 100
        bar.advance(5)
    assert bar.done == 5
    assert capsys.readouterr() == ("", "")


def test_a_failure_is_not_reported_as_finished(clock, capsys):
    def fail() -> None:
        with Progress("x", total=5):
            clock.seconds += 9
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_on_standard_error(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with Progress("distill", total=4) as bar:
        bar.advance(4, loss="0.5")
    out, err = capsys.readouterr()
    assert out == ""
    assert "distill" in err
    assert "4/4" in err
    assert "loss 0.5" in err
