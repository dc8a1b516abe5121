"""Untrusted code, run within limits: a chat template in time and memory, a tokenizer's native code in time.

Both only turn text into text, so an ordinary one never comes near a limit.
"""

import contextlib
import os
import queue
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from types import FrameType
from typing import TypeVar

try:
    import resource
except ImportError:  # Windows
    resource = None

T = TypeVar("T")
AGAIN = 0.5  # seconds until an alarm is repeated, in case the called code swallowed the first
STANDARD_ERROR = threading.Lock()  # one thread at a time may redirect it and put it back
MEMORY_LIMIT = threading.RLock()  # the limit is the process's, so one thread at a time may set it and put it back


class OverLimit(BaseException):
    """The time is up. Not an `Exception`, so that the called code does not catch it by accident; the caller must."""


class Panicked(Exception):
    """Native code panicked. What it raises itself is not an `Exception`, so most programs would not catch it."""


def run_python(call: Callable[[], T], *, seconds: float, extra_bytes: int) -> T:
    """What `call()` returns, for pure Python. Raises OverLimit after `seconds`, MemoryError beyond `extra_bytes`.

    In the main thread `seconds` are processor time, so a busy or sleeping machine ends nothing, and even one long
    operation such as 9**9**9 is ended. In other threads and on Windows they are clock time, checked between two
    lines of Python. `extra_bytes` come on top of what the process has mapped already. Only Linux reports how much that
    is, so elsewhere only the time limit ends a call that takes more and more memory.
    """
    timed = _until_alarm if _alarms_work() else _until_traced
    with memory_limit(extra_bytes):
        return timed(call, seconds)


def run_native(call: Callable[[], T], *, seconds: float) -> T:
    """What `call()` returns, for native code that may hang or panic. Raises OverLimit after `seconds` on the clock.

    It runs in a thread of its own while this one waits. Native code cannot be stopped: after OverLimit it runs on until
    the process ends. The caller continues only if the code has released Python's lock, as `encode_batch` of tokenizers
    does and `decode` does not. A panic is raised as Panicked, and what it writes to the standard error is dropped.
    """
    done: queue.SimpleQueue = queue.SimpleQueue()

    def work() -> None:
        try:
            done.put((call(), None))
        except BaseException as error:  # noqa: BLE001 - a panic is not an Exception; it is raised again below
            done.put((None, error))

    with _standard_error_held_back():
        threading.Thread(target=work, daemon=True).start()
        try:
            value, error = done.get(timeout=seconds)
        except queue.Empty:
            raise OverLimit from None
        if error is None:
            return value
        if isinstance(error, Exception):
            raise error
        raise Panicked(str(error)) from error


def _alarms_work() -> bool:
    return hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()


def _until_alarm(call: Callable[[], T], seconds: float) -> T:
    with _alarm_handler():
        earlier = signal.setitimer(signal.ITIMER_VIRTUAL, seconds, AGAIN)
        try:
            try:
                return call()
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, *earlier)
        except OverLimit:  # perhaps while the timer was being put back
            signal.setitimer(signal.ITIMER_VIRTUAL, *earlier)
            raise


@contextlib.contextmanager
def _alarm_handler() -> Iterator[None]:
    """While open, SIGVTALRM raises OverLimit. It and the hook below belong to the host program: both are put back."""

    def raise_over_limit(number: int, frame: FrameType | None) -> None:
        raise OverLimit

    def report_unless_over_limit(lost: object) -> None:
        if lost.exc_type is not OverLimit:
            report(lost)

    # An alarm while memory is being freed is lost, and Python would print a warning; the next alarm comes soon.
    report, sys.unraisablehook = sys.unraisablehook, report_unless_over_limit
    handler = signal.signal(signal.SIGVTALRM, raise_over_limit)
    try:
        yield
    finally:
        signal.signal(signal.SIGVTALRM, handler or signal.SIG_DFL)  # None: one that was not set from Python
        sys.unraisablehook = report


def _until_traced(call: Callable[[], T], seconds: float) -> T:
    end = time.monotonic() + seconds

    def look_at_clock(frame: FrameType, event: str, arg: object) -> Callable:
        if time.monotonic() > end:
            raise OverLimit
        return look_at_clock

    earlier = sys.gettrace()
    sys.settrace(look_at_clock)
    try:
        return call()
    finally:
        sys.settrace(earlier)


@contextlib.contextmanager
def memory_limit(extra_bytes: int) -> Iterator[None]:
    """While open, the process can map at most `extra_bytes` more. Only on Linux, which reports what it has mapped."""
    with MEMORY_LIMIT:
        mapped = _mapped_bytes()
        if resource is None or mapped is None:
            yield
            return
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = mapped + extra_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most if soft == resource.RLIM_INFINITY else min(most, soft), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _mapped_bytes() -> int | None:
    """The size of the process's address space, which the limit is on; None where the system does not report it."""
    file = _statm(os.getpid())
    return None if file is None else int(os.pread(file, 64, 0).split()[0]) * resource.getpagesize()


@cache
def _statm(process: int) -> int | None:
    """Kept open, because opening it takes five times as long as reading it; a forked process opens its own."""
    try:
        return os.open("/proc/self/statm", os.O_RDONLY)
    except OSError:
        return None


@contextlib.contextmanager
def _standard_error_held_back() -> Iterator[None]:
    """Holds back what is written to standard error until the end, and drops it after a panic, which writes pages."""
    with contextlib.ExitStack() as stack:
        try:
            kept = os.dup(2)
        except OSError:  # no standard error at all
            yield
            return
        stack.callback(os.close, kept)
        if not STANDARD_ERROR.acquire(blocking=False):  # another thread has redirected it already
            yield
            return
        stack.callback(STANDARD_ERROR.release)
        held = stack.enter_context(tempfile.TemporaryFile())
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Panicked:
            held.truncate(0)
            raise
        finally:
            os.dup2(kept, 2)
            held.seek(0)
            os.write(2, held.read())
