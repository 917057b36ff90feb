"""The first signal sets a flag, the second interrupts, and the previous handlers are restored."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading

import pytest

from atom_distill.base.interrupt import StopRequest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_sets_a_flag_and_the_second_interrupts(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop.received
        signal.raise_signal(number)
        assert stop.received
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_the_handlers_are_restored_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError), StopRequest():
        raise RuntimeError
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_are_left_alone():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with StopRequest() as stop:
            seen.extend([stop.received, signal.getsignal(signal.SIGINT)])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False, before]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_a_closed_terminal_sets_the_flag_however_often_it_is_told():
    outside = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGHUP)  # by the shell, and by the system
            assert stop.received
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, outside)


def test_a_hang_up_that_the_caller_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.received
    finally:
        signal.signal(signal.SIGHUP, before)


ON_A_TERMINAL = """
import os, signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever the tests run under
from atom_distill.base.interrupt import StopRequest
with StopRequest() as stop:
    os.write(2, b"ready")  # at once: print writes the end of the line on its own, perhaps to a terminal closed by then
    while not stop.received:
        time.sleep(0.01)
    for stream in (sys.stdout, sys.stderr):
        print("saving", file=stream, flush=True)
    open(sys.argv[1], "w").write("saved")
"""


def test_outputs_to_a_closed_terminal_do_not_fail(tmp_path):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", ON_A_TERMINAL, str(tmp_path / "state")]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
        os.close(theirs)
        assert b"ready" in os.read(ours, 100)
        os.close(ours)
        process.send_signal(signal.SIGHUP)  # by the system only if it is the terminal's foreground process
    assert process.returncode == 0
    assert (tmp_path / "state").read_text() == "saved"
