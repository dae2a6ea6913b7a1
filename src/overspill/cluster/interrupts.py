"""Ctrl-C and the workers: theirs is blocked for good, ours waits until there is something whole to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

_OF_TERMINALS = {signal.SIGINT, signal.SIGHUP}

_ENDING = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)


@contextmanager
def deferred() -> Iterator[None]:
    """Let what ends a program take effect at the end of the block, and Ctrl-C never in processes that begin inside.

    A terminal sends Ctrl-C, and that it closes, to workers too, which would die of it, or of half a start. They
    inherit the block from the thread of this process that starts them, and so do their replacements, since that thread
    keeps it. SIGTERM is meant for one process: workers get it, and here it only waits if the program handles it.
    """
    # As it starts, multiprocessing's tracker unblocks signals in the thread that happens to need it first.
    resource_tracker.ensure_running()
    seen: list[int] = []
    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: handler for number in _ENDING if callable(handler := signal.getsignal(number))}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_TERMINALS)
    try:
        # A thread of BLAS may take a signal in this one's place; Python then runs the handler in the main thread.
        for number in handlers:
            signal.signal(number, lambda number, _: seen.append(number))
        yield
    finally:
        try:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if seen:
            signal.raise_signal(seen[0])
