"""On a worker: a probe made ready, then measured in the window of time that all workers were given."""

import time
from contextlib import ExitStack

from overspill.doctor.probe import Effort, Probe, Step

_opened = ExitStack()
_ready: list[Step] = []


def prepare(probe: Probe, effort: Effort) -> None:
    """Make `probe` ready on this worker, and do it once, for what is set up at the first time."""
    release()
    _ready.append(_opened.enter_context(probe.prepared(effort)))
    _ready[0]()


def measure(start: float, window_s: float) -> float:
    """What the worker does in a second, from `start` for at least `window_s` seconds.

    The start is a time of `time.monotonic`, which all processes of a host share and which nobody sets.
    """
    step, done = _ready[0], 0.0
    time.sleep(max(0.0, start - time.monotonic()))
    begun = time.perf_counter()
    while work := step():
        done += work
        if time.perf_counter() - begun >= window_s:
            break
    return done / (time.perf_counter() - begun)


def release() -> None:
    """Give back what the last probe took."""
    _ready.clear()
    _opened.close()
