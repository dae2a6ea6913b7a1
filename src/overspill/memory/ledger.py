"""The ledger: what this process's streams moved, read and computed. Plans predict these figures; tests compare them."""

import threading
from collections import Counter
from typing import Literal

from overspill.memory import tile

_lock = threading.Lock()
_counts: Counter[str] = Counter()
_device_nbytes = 0
_peak_device_nbytes = 0

Link = Literal["device_to_host", "host_to_device", "host_to_disk", "disk_to_host"]

LINKS: tuple[Link, ...] = ("device_to_host", "host_to_device", "host_to_disk", "disk_to_host")
"""Ways of results that are spilled, and back."""

COUNTERS = (
    "tasks",
    "flop",
    "uploaded_nbytes",
    "downloaded_nbytes",
    "read_nbytes",
    "recomputed_nbytes",
    *(f"{link}_nbytes" for link in LINKS),
)


def record(**counts: int) -> None:
    """Add to the counters named in `COUNTERS`."""
    with _lock:
        _counts.update(counts)


def record_device(nbytes: int) -> None:
    """Note `nbytes` more (or, negative, fewer) held in device buffers."""
    global _device_nbytes, _peak_device_nbytes
    with _lock:
        _device_nbytes += nbytes
        _peak_device_nbytes = max(_peak_device_nbytes, _device_nbytes)


def snapshot() -> dict[str, int]:
    """The counters of this process so far, with the peaks of tile and device bytes and what overflowed to disk."""
    with _lock:
        counts = {name: _counts[name] for name in COUNTERS}
        pool = tile.pool()
        return counts | {
            "peak_device_nbytes": _peak_device_nbytes,
            "peak_pool_nbytes": pool.peak_nbytes,
            "overflow_nbytes": pool.overflow_nbytes,
        }


def reset() -> None:
    """Start counting anew."""
    global _peak_device_nbytes
    with _lock:
        _counts.clear()
        _peak_device_nbytes = _device_nbytes
        pool = tile.pool()
        pool.peak_nbytes, pool.overflow_nbytes = pool.used_nbytes(), 0


def total(snapshots: list[dict[str, int]]) -> dict[str, int]:
    """One ledger of several processes: sums, except the device peak, which is each process's own device's."""
    result: Counter[str] = Counter()
    for counts in snapshots:
        result.update(counts)
    result["peak_device_nbytes"] = max((counts["peak_device_nbytes"] for counts in snapshots), default=0)
    return dict(result)
