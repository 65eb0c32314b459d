"""How do many tasks run at a time, with results that do not depend on how many?

Workers are spawned, never forked, and have one PyTorch thread each. The kernel kills them when
their parent dies (Linux ``PR_SET_PDEATHSIG``), so a killed command leaves nothing behind that still
writes. A task that fails does not lose the others. What a worker logs, its parent logs.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from specialists.errors import InputError, TrainingError
from specialists.files import Trust, trusting, vouched
from specialists.runtime.progress import Progress, progress, report_progress
from specialists.runtime.torch_environment import torch_environment

Task = TypeVar("Task")
Returned = TypeVar("Returned")

PR_SET_PDEATHSIG = 1
REPORT_SECONDS = 0.5  # between two reports of how far a worker is
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
LIBRARY = logging.getLogger("specialists")
WORKER = "specialists-worker"
UNGUARDED = 97  # exit code of a worker whose main script starts workers as it is imported


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process as soon as its parent, process ``parent``, is dead."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel was asked
        os._exit(1)


def map_processes(
    function: Callable[[Task], Returned],
    tasks: Sequence[Task],
    jobs: int = 1,
    description: str = "",
) -> list[Returned]:
    """``[function(task) for task in tasks]``, ``jobs`` tasks at a time.

    Parameters
    ----------
    function : callable
        Importable by name.
    tasks : sequence
        Each can be pickled, as can each result; the results are in their order.
    jobs : int
        Number of worker processes; with 1, or one task, everything runs in this process. PyTorch
        has one thread in either case, so that no result depends on ``jobs``.
    description : str
        Label of the progress bar.

    Raises
    ------
    Exception
        The error of the first task that failed, once all others have ended.
    TrainingError
        If a worker was killed; the others' results are what they made on disk.
    InputError
        If the main script starts workers also where a worker imports it.
    """
    jobs = min(jobs, len(tasks))
    with progress(description, len(tasks), counted=True) as bar:
        if jobs <= 1:
            outcomes = []
            with one_torch_thread():
                for task in tasks:
                    outcomes.append(_outcome(function, task))
                    bar.advance()
        else:
            check_guarded()
            with _one_thread_each():
                outcomes = _Pool(function).run(tasks, jobs, bar)
    for _, error in outcomes:
        if error is not None:
            raise error
    return [result for result, _ in outcomes]


def check_guarded() -> None:
    """Refuse to start workers where a worker only imports the main script.

    A worker of ours ends without a word: its parent tells what is wrong, once.
    """
    process = multiprocessing.current_process()
    if getattr(process, "_inheriting", False):
        if process.name == WORKER:
            raise SystemExit(UNGUARDED)
        raise _unguarded()


def _unguarded() -> InputError:
    return InputError(
        "worker processes import the main script, and this one would start workers there again",
        where=getattr(sys.modules["__main__"], "__file__", None),
        expected='the work of the script below `if __name__ == "__main__":`',
        fix="put it there, or use one job (n_jobs=1, jobs = 1)",
    )


_Outcome = tuple[Any, Exception | None]


def _outcome(function: Callable[[Any], Any], task: Any) -> _Outcome:
    try:
        return function(task), None
    except Exception as error:
        return None, error


class _Pool:
    """Spawned workers with a pipe each: the death of one is seen, and loses its task alone."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._arguments = (os.getpid(), LIBRARY.getEffectiveLevel(), vouched(), function)
        self._workers: dict[Connection, BaseProcess] = {}
        self._tasks: dict[Connection, int] = {}
        self._fractions: dict[Connection, float] = {}

    def run(self, tasks: Sequence[Any], jobs: int, bar: Progress) -> list[_Outcome]:
        outcomes: dict[int, _Outcome] = {}
        waiting = list(range(len(tasks)))[::-1]
        try:
            while len(outcomes) < len(tasks):
                while waiting and len(self._workers) < jobs:
                    self._give(self._hire(), tasks, waiting)
                ready = wait(list(self._workers))
                for connection in [known for known in self._workers if known in ready]:
                    outcome = self._collect(connection)
                    if outcome is None:
                        bar.begin_unit(sum(self._fractions.values()))
                        continue
                    self._fractions.pop(connection, None)
                    outcomes[self._tasks[connection]] = outcome
                    bar.advance(begun=sum(self._fractions.values()))
                    if connection in self._workers and waiting:
                        self._give(connection, tasks, waiting)
                    elif connection in self._workers:
                        self._dismiss(connection)
        finally:
            for connection in list(self._workers):
                self._dismiss(connection)
        return [outcomes[index] for index in range(len(tasks))]

    def _hire(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, *self._arguments)
        worker = context.Process(target=_work, name=WORKER, args=arguments, daemon=True)
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            worker.start()  # with Ctrl-C held back, also while it imports: that is the parent's
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        theirs.close()
        self._workers[ours] = worker
        return ours

    def _give(self, connection: Connection, tasks: Sequence[Any], waiting: list[int]) -> None:
        index = waiting.pop()
        self._tasks[connection] = index
        with suppress(BrokenPipeError):  # the worker is dead, which `_collect` finds next
            connection.send(tasks[index])

    def _collect(self, connection: Connection) -> _Outcome | None:
        """What became of a worker's task; None after a message on the way.

        That is a record of its log, which is passed on, or the fraction of its task that is done.
        """
        message: Any = ""
        try:
            message = connection.recv()
            if isinstance(message, float):
                self._fractions[connection] = message
                return None
            if not isinstance(message, logging.LogRecord):
                return connection.recv()
        except (EOFError, ConnectionResetError):
            worker = self._workers[connection]
            self._dismiss(connection)
            if worker.exitcode == UNGUARDED:
                raise _unguarded() from None
            return None, TrainingError(
                f"task {self._tasks[connection]}: its process ended with exit code "
                f"{worker.exitcode} (-9: killed, often for memory); the others went on, and the "
                "same command makes what is missing (fewer --jobs need less memory)"
            )
        except Exception:  # an error that cannot be made again from what was sent of it
            return None, TrainingError(str(message))
        logger = logging.getLogger(message.name)
        if logger.isEnabledFor(message.levelno):
            logger.handle(message)
        return None

    def _dismiss(self, connection: Connection) -> None:
        worker = self._workers.pop(connection)
        connection.close()
        worker.kill()
        worker.join()


def _fractions_to(connection: Any) -> Callable[[Progress], None]:
    """Sends how far a worker's task is, as long as it takes, now and then."""
    sent = 0.0

    def watch(work: Progress) -> None:
        nonlocal sent
        if (now := time.monotonic()) - sent >= REPORT_SECONDS:
            sent = now
            connection.send(work.fraction)

    return watch


class _ToParent(QueueHandler):
    """Sends what a worker logs to its parent, whose handlers and levels count."""

    queue: Any

    def enqueue(self, record: logging.LogRecord) -> None:
        self.queue.send(record)


def _work(
    connection: Any, parent: int, level: int, trust: Trust, function: Callable[[Any], Any]
) -> None:
    die_with_parent(parent)
    LIBRARY.addHandler(_ToParent(connection))
    LIBRARY.setLevel(level)
    LIBRARY.propagate = False
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends us
    with one_torch_thread(), trusting(trust), report_progress(_fractions_to(connection)):
        while True:
            try:
                task = connection.recv()
            except EOFError:  # the parent needs no more of this worker
                return
            _send(connection, _outcome(function, task))


def _send(connection: Connection, outcome: _Outcome) -> None:
    """First the traceback in words, in case the error itself does not survive the way."""
    error, words = outcome[1], ""
    if error is not None:
        words = "".join(traceback.format_exception(error))
        error.add_note("In a worker:\n" + words)
    connection.send(words)
    try:
        connection.send(outcome)
    except Exception as unsent:
        connection.send((None, TrainingError(words or "".join(traceback.format_exception(unsent)))))


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """As workers have it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started inside have one thread."""
    changes = {**ONE_THREAD, **torch_environment()}
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name in changes:
            del os.environ[name]
        os.environ.update({name: value for name, value in before.items() if value is not None})
