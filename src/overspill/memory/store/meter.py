"""What the store has moved: bytes and seconds over each link, and evictions by cause."""

import threading
from typing import Any, Literal

from overspill.memory import ledger
from overspill.memory.ledger import LINKS, Link

Tier = Literal["device", "host", "disk"]
Cause = Literal["device_limit", "device_allocation", "host_limit", "host_allocation"]

TIERS: tuple[Tier, ...] = ("device", "host", "disk")
CAUSES: tuple[Cause, ...] = ("device_limit", "device_allocation", "host_limit", "host_allocation")


class Meter:
    """Ever-increasing counts of one store; bytes go to the process's ledger too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nbytes = dict.fromkeys(LINKS, 0)
        self._seconds = dict.fromkeys(LINKS, 0.0)
        self._evictions = dict.fromkeys(CAUSES, 0)

    def moved(self, link: Link, nbytes: int) -> None:
        """Count bytes over `link`."""
        with self._lock:
            self._nbytes[link] += nbytes
        ledger.record(**{f"{link}_nbytes": nbytes})

    def took(self, link: Link, seconds: float) -> None:
        """Count the seconds for which `link` was busy."""
        with self._lock:
            self._seconds[link] += seconds

    def evicted(self, cause: Cause) -> None:
        """Count a value that left its tier."""
        with self._lock:
            self._evictions[cause] += 1

    def links(self) -> dict[str, dict[str, Any]]:
        """Bytes and seconds by link."""
        with self._lock:
            return {link: {"nbytes": self._nbytes[link], "seconds": self._seconds[link]} for link in LINKS}

    def evictions(self) -> dict[str, int]:
        """Evictions by cause."""
        with self._lock:
            return {cause: self._evictions[cause] for cause in CAUSES}
