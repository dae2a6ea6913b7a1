"""Threads in one certain order: those who meet a gate wait until the test opens it."""

import threading
from collections.abc import Callable
from typing import Any


class Gate:
    """Stands before a function: those who call it wait until the gate opens."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.reached, self.open = threading.Event(), threading.Event()

    def __call__(self, *arguments: Any) -> Any:
        self.reached.set()
        assert self.open.wait(10)
        return self._function(*arguments)


def in_thread(function: Callable[..., Any], *arguments: Any) -> threading.Thread:
    """Begin calling `function`."""
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def joined(thread: threading.Thread) -> bool:
    """Whether it ends."""
    thread.join(10)
    return not thread.is_alive()
