"""Independent jobs in worker processes, each on one thread: the number of workers changes no result."""

import signal
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait

import torch
from accelerate import PartialState

from dpo_notes.maths.errors import InputError


class JobFailed(RuntimeError):
    """A job raised an error, or its process died. The results of other jobs remain."""


class Worker:
    """A process that runs the jobs we send it, one after the other. `close` ends it, even in the middle of a job."""

    def __init__(self, run: Callable[[str], None]):
        context = get_context("spawn")  # the only start method on all systems, and the only one that is thread-safe
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, run), daemon=True)
        self.process.start()
        theirs.close()  # so that the connection ends with the process

    def close(self) -> None:
        self.process.terminate()
        self.process.join()
        self.connection.close()


def run_in_workers(run: Callable[[str], None], needs: Mapping[str, Sequence[str]], *, workers: int) -> Iterator[str]:
    """Call run(name) for every name in some process; yields each name when its job has finished.

    `needs`: the names to run, each with the names that must finish first; they start in the order given.
    `run` must be importable by another process (a top-level function or a partial of one); it saves its result in a
    file. Jobs see only a CPU. Raises InputError if a job does, and JobFailed if it fails otherwise. Closing the
    iterator ends all processes.
    """
    waiting = {name: set(needed) & set(needs) for name, needed in needs.items()}
    idle: list[Worker] = []
    busy: dict[Connection, tuple[str, Worker]] = {}
    try:
        for _ in range(min(workers, len(waiting))):
            idle.append(Worker(run))
        while waiting or busy:
            for name in [name for name, needed in waiting.items() if not needed][: len(idle)]:
                worker = idle.pop()
                worker.connection.send(name)
                busy[worker.connection] = name, worker
                del waiting[name]
            for connection in wait(list(busy)):
                name, worker = busy[connection]
                _receive(connection, name)
                idle.append(busy.pop(connection)[1])
                for needed in waiting.values():
                    needed.discard(name)
                yield name
    finally:
        for worker in [*idle, *(worker for _, worker in busy.values())]:
            worker.close()


def _receive(connection: Connection, name: str) -> None:
    """Wait for the job to end. Raises what it raised."""
    try:
        kind, message = connection.recv()
    except (EOFError, ConnectionError):
        raise JobFailed(f"{name}: its process ended in the middle (out of memory, or killed?)") from None
    if kind == "input":
        raise InputError(message)
    if kind == "error":
        raise JobFailed(f"{name}: {message}")


def _work(connection: Connection, run: Callable[[str], None]) -> None:
    """The main loop of a worker process, until its parent ends it, or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes; the parent decides
    torch.set_num_threads(1)
    PartialState(cpu=True)
    while True:
        try:
            name = connection.recv()
        except (EOFError, ConnectionError):
            return
        try:
            run(name)
            answer = "done", ""
        except InputError as error:
            answer = "input", f"{name}: {error}"
        except Exception as error:  # noqa: BLE001  the parent reports it
            answer = "error", f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
        connection.send(answer)
