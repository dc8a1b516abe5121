"""Independent jobs in worker processes, each on one thread: how many workers there are changes no result."""

import signal
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait

import torch
from accelerate import PartialState

from dpo_notes.maths.errors import InputError


class JobFailed(RuntimeError):
    """A job ended in an error, or its process in the middle of it. What other jobs have finished stands."""


class Worker:
    """A process that runs the jobs it is told, one after the other. `close` ends it, also in the middle of a job."""

    def __init__(self, run: Callable[[str], None]):
        context = get_context("spawn")  # the only way that all systems have, and the only one that is safe with threads
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, run), daemon=True)
        self.process.start()
        theirs.close()  # so that the end of the process is the end of the connection

    def close(self) -> None:
        self.process.terminate()
        self.process.join()
        self.connection.close()


def run_in_workers(run: Callable[[str], None], needs: Mapping[str, Sequence[str]], *, workers: int) -> Iterator[str]:
    """Call run(name) for every name in some process; yields each name when it is done, in the order in which they end.

    `needs`: the names to be run, each with those that must have ended before it; they start in the order given.
    `run` can be imported by another process, as a function at the top of a module or a partial of one, and leaves its
    result in a file. Jobs see a CPU only. Raises InputError if a job did, and JobFailed if it failed otherwise; leaving
    the iterator ends all processes.
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
    """Wait for the end of the job. Raises what it raised."""
    try:
        kind, message = connection.recv()
    except (EOFError, ConnectionError):
        raise JobFailed(f"{name}: its process ended in the middle (out of memory, or killed?)") from None
    if kind == "input":
        raise InputError(message)
    if kind == "error":
        raise JobFailed(f"{name}: {message}")


def _work(connection: Connection, run: Callable[[str], None]) -> None:
    """The life of a worker process: until its parent ends it, or ends."""
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
        except Exception as error:  # noqa: BLE001  the parent tells
            answer = "error", f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
        connection.send(answer)
