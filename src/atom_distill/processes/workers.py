"""Worker processes of a CPU: independent tasks of one job, each in a process with a core (or some) of its own.

One network uses two cores badly: at every operation its threads wait for the slowest of them. Two networks in two
processes of one thread wait for nothing.
"""

from __future__ import annotations

import os
import pickle
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from atom_distill.base.cache_folder import writable_cache
from atom_distill.base.errors import LostWorkerError
from atom_distill.base.folder_lock import locked
from atom_distill.base.progress import note
from atom_distill.processes.neighbors import host
from atom_distill.processes.packed import pack
from atom_distill.processes.worker import STOP

Task_contra = TypeVar("Task_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)
Task = TypeVar("Task")
Result = TypeVar("Result")

_PROGRAM = "import sys; sys.path[:] = {path!r}; from atom_distill.processes.worker import main; main()"
"""Not a fork, which hangs after this process has used threads, and not `multiprocessing`, whose processes run the
user's script again on some systems."""
_SECONDS_BETWEEN_LOOKS = 0.2
"""How often a request to stop is looked for."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TORCHINDUCTOR_COMPILE_THREADS")
"""Variables that say how many threads a process may have."""
_FOLDERS = "workers-"
"""How the names of folders for large tensors begin; machine and process follow."""
_HELD = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Job(Protocol[Task_contra, Result_co]):
    """What is done with each task; it can be pickled, as tasks and results can, and its module can be imported."""

    def __call__(
        self, task: Task_contra, report: Callable[[Any], None], stop_requested: Callable[[], bool], /
    ) -> Result_co:
        """Return the result of a task.

        Args:
            task: to be done.
            report: what is passed to it meanwhile reaches `on_report`.
            stop_requested: whether the job should save its work and raise an error that says so.
        """


def run_tasks(
    job: Job[Task, Result],
    tasks: Iterable[Task],
    count: int,
    *,
    cores: int,
    on_report: Callable[[int, Any], None] = lambda _number, _value: None,
    stop_requested: Callable[[], bool] | None = None,
) -> Generator[tuple[int, Result], None, None]:
    """Yield the number of each task and its result as soon as it is finished.

    With one core or one task they are done in this process. Otherwise in as many worker processes as there are cores
    or tasks, which share the cores: each has one thread if there are enough tasks.

    Args:
        job: what is done.
        tasks: what it is done with; each is taken when its turn has come.
        count: how many they are.
        cores: how many of the processor are used.
        on_report: takes the number of a task and what it reports.
        stop_requested: whether the job should stop, for one that saves its work then. Workers are told so when
            another task fails, too. Without it, they end at once on a failure and on Ctrl-C.

    Raises:
        LostWorkerError: a worker died.
        Exception: what the first failing task raised.
    """
    size = min(cores, count)
    if size <= 1 or not sys.executable:
        for number, task in enumerate(tasks):
            yield number, job(task, partial(on_report, number), stop_requested or _never)
        return
    cache = writable_cache()
    cache.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(cache)
    prefix = f"{_FOLDERS}{host()}-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=cache) as folder, locked(Path(folder)):
        team = _Team(pack(job, Path(folder)), size, cores // size)
        try:
            packed = (pack(task, Path(folder)) for task in tasks)
            yield from team.run(packed, count, on_report, stop_requested)
        finally:
            team.end()


class _Worker:
    """One worker process, from the side that started it.

    Args:
        threads: that it computes with.
        messages: where what it sends arrives, with the worker itself; None is its end.
    """

    def __init__(self, threads: int, messages: queue.SimpleQueue[Any]) -> None:
        environment = {**os.environ, **dict.fromkeys(_THREADS, str(threads))}
        with _signals_held():
            self.process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM.format(path=sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        self._messages = messages
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, content: object) -> None:
        assert self.process.stdin is not None
        with suppress(OSError):  # it is dead, and its reader says so
            pickle.dump(content, self.process.stdin)
            self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        try:
            while True:
                self._messages.put((self, *pickle.load(self.process.stdout)))
        except Exception:  # its end, or a message that cannot be read
            self.process.kill()
            self._messages.put((self, "lost", None))


class _Team:
    """Workers that share the tasks of a job, each taking the next when it is free.

    Args:
        job: packed.
        size: number of workers.
        threads: of each.
    """

    def __init__(self, job: bytes, size: int, threads: int) -> None:
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._workers: list[_Worker] = []
        self._busy: dict[_Worker, int] = {}
        self._waiting: deque[int] = deque()
        self._notes: set[str] = set()
        self._stopped = False
        try:
            for _ in range(size):
                self._workers.append(_Worker(threads, self._messages))
            for worker in self._workers:
                worker.send((threads, job))
        except BaseException:
            self.end()
            raise

    def run(
        self,
        tasks: Iterator[bytes],
        count: int,
        on_report: Callable[[int, Any], None],
        stop_requested: Callable[[], bool] | None,
    ) -> Generator[tuple[int, Any], None, None]:
        """See `run_tasks`; the tasks are packed."""
        error: BaseException | None = None
        self._waiting.extend(range(count))
        for worker in self._workers:
            self._give(worker, tasks)
        while self._busy:
            worker, kind, value = self._message(stop_requested)
            if kind == "report":
                on_report(self._busy[worker], value)
                continue
            number = self._busy.pop(worker)
            if kind == "done":
                self._give(worker, tasks)
                yield number, value
                continue
            if error is None or isinstance(error, KeyboardInterrupt):  # which says less than what saved its work
                error = _lost(worker) if kind == "lost" else value
            if stop_requested is None:
                break
            self._stop()
        if error is not None:
            raise error
        if self._waiting:  # all were finished just when they were told to stop
            raise KeyboardInterrupt

    def _message(self, stop_requested: Callable[[], bool] | None) -> tuple[_Worker, str, Any]:
        """Return the next message of a busy worker."""
        while True:
            if stop_requested is not None and stop_requested():
                self._stop()
            with suppress(queue.Empty):
                worker, kind, value = self._messages.get(timeout=_SECONDS_BETWEEN_LOOKS)
                if kind == "note":
                    self._note(value)
                elif worker in self._busy:
                    return worker, kind, value

    def end(self) -> None:
        for worker in self._workers:
            worker.end()

    def _give(self, worker: _Worker, tasks: Iterator[bytes]) -> None:
        """Give a worker the next task; tasks are packed in their order, one by one."""
        if self._waiting and not self._stopped:
            self._busy[worker] = self._waiting.popleft()
            worker.send(next(tasks))

    def _note(self, text: str) -> None:
        """Print what a worker printed, once if several did."""
        if text not in self._notes:
            self._notes.add(text)
            note(text)

    def _stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            for worker in self._busy:
                worker.send(STOP)


def _remove_leftovers(cache: Path) -> None:
    """Remove the tensors that processes of this machine left which were killed."""
    for folder in cache.glob(f"{_FOLDERS}{host()}-*") if os.name == "posix" else ():
        try:
            os.kill(int(folder.name.rsplit("-", 2)[1]), 0)  # nothing is sent
        except ProcessLookupError:  # it ended, or is in another container
            with locked(folder) as abandoned:
                if abandoned:
                    shutil.rmtree(folder, ignore_errors=True)
        except (ValueError, OSError):  # it lives, as another user's process
            continue


def _never() -> bool:
    return False


def _lost(worker: _Worker) -> LostWorkerError:
    code = worker.process.wait()
    reason = f"signal {-code}" if code < 0 else f"exit code {code}"
    return LostWorkerError(
        f"a worker process died ({reason}), perhaps because memory ran out: free some memory, or use fewer cores at "
        "once, e.g. with OMP_NUM_THREADS=1. What was finished is kept: the same command continues"
    )


@contextmanager
def _signals_held() -> Iterator[None]:
    """Start processes that Ctrl-C and the like, which reach all of a terminal, do not stop: this one stops them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
