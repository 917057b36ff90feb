"""The program of a worker process: it loads a job once, and then does one task after another until its input ends.

It is started by `workers.py`, which has the other end of the two pipes.
"""

from __future__ import annotations

import _thread
import contextlib
import io
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from functools import partial
from typing import IO, Any

from atom_distill.base.cache_folder import compiled_code_folder
from atom_distill.base.process import tune_process

STOP = "stop"
"""Sent in place of a task: the job learns that it should stop, and what it runs as by Ctrl-C."""


class _Answers:
    """What the worker sends; any of its threads may print.

    Args:
        stream: pipe to the process that started it.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def send(self, kind: str, value: Any) -> None:
        content = pickle.dumps((kind, value))
        with self._lock:
            self._stream.write(content)
            self._stream.flush()


class _Printed(io.TextIOBase):
    """Sends printed lines as notes: several processes writing to one terminal would break its progress bar."""

    def __init__(self, answers: _Answers) -> None:
        self._answers, self._begun = answers, ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in filter(str.strip, lines):
            self._answers.send("note", line)
        return len(text)


def main() -> None:
    """Run until the input ends, which it does where the process that started this one has ended."""
    tasks, answers = _take_pipes()
    sys.stdout = sys.stderr = _Printed(answers)
    # A request to stop interrupts the main thread; a job that looks for it must not be ended by that.
    signal.signal(signal.SIGINT, lambda *_: None)
    tune_process(compiled_code=compiled_code_folder())
    threads, packed = pickle.load(tasks)
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    stop = threading.Event()
    threading.Thread(target=_read, args=(tasks, waiting, stop), daemon=True).start()
    try:
        import torch

        torch.set_num_threads(threads)
        job = pickle.loads(packed)
        while True:
            task = pickle.loads(waiting.get())
            answers.send("done", job(task, partial(answers.send, "report"), stop.is_set))
    except BaseException as error:
        with contextlib.suppress(OSError):  # nobody listens any more
            answers.send("failed", _portable(error))
        os._exit(1)


def _take_pipes() -> tuple[IO[bytes], _Answers]:
    """Return both pipes, and leave nothing of them to what prints or reads."""
    tasks, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return tasks, _Answers(answers)


def _read(tasks: IO[bytes], waiting: queue.SimpleQueue[bytes], stop: threading.Event) -> None:
    """Pass tasks and the request to stop on to the main thread, or end the process."""
    while True:
        try:
            task = pickle.load(tasks)
        except Exception:  # its end, perhaps in the middle of a task
            os._exit(0)
        if task == STOP:
            stop.set()
            _thread.interrupt_main()
        else:
            waiting.put(task)


def _portable(error: BaseException) -> BaseException:
    """Return an error that another process can raise, with the traceback of this one."""
    trace = "".join(traceback.format_exception(error))
    try:
        error = pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(trace)
    return error
