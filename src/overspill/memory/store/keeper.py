"""Making room: a thread keeps the tiers below their limits, and whoever lacks memory evicts before asking again."""

import logging
import threading
from collections.abc import Callable

from overspill.memory.store.meter import Cause, Tier
from overspill.memory.store.mover import Mover
from overspill.memory.store.tiers import Tiers
from overspill.memory.store.turns import Turns

logger = logging.getLogger(__name__)


class Keeper:
    """Keeps the limits of one store's tiers, in a thread of its own between `start` and `close`."""

    def __init__(self, tiers: Tiers, mover: Mover, turns: Turns) -> None:
        self._tiers = tiers
        self._mover = mover
        self._turns = turns
        self._thread: threading.Thread | None = None
        self._closing = False

    def start(self) -> None:
        """Keep the limits from now on."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_limits, name="overspill-store", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Keep no limit any longer, and let nobody wait."""
        with self._tiers.changed:
            self._closing = True
            self._tiers.pressure.notify()
            self._turns.close()
        if self._thread is not None:
            self._thread.join()

    def excuse(self, away: Callable[[], int]) -> None:
        """Let nobody wait for tasks that have let others run in their place: `away` tells how many, at any time."""
        self._turns.away = away

    def look_again(self) -> None:
        """Let all who wait see what has changed beside the store."""
        with self._tiers.changed:
            self._tiers.changed.notify_all()

    def crowded(self) -> bool:
        """Whether a tier is past its limit, and values are on their way down."""
        with self._tiers.changed:
            return bool(self._tiers.excess()) and not self._tiers.at_rest and self._thread is not None

    def settle(self) -> None:
        """Wait until no tier is past its limit, or nothing more can be moved."""
        with self._tiers.changed:
            self._tiers.tell()  # the keeper cannot know that a limit has been lowered
            self._tiers.changed.wait_for(lambda: self._closing or not self.crowded())

    def reclaim_device(self, nbytes: int, *, temporary: bool) -> bool:
        """Take values off the device until `nbytes` bytes are free; False if nothing could be done.

        Raises
        ------
        MemoryBudgetError
            If what lies further down is full.
        """
        if temporary:
            with self._tiers.changed:
                self._tiers.widen_headroom(nbytes)
        return self._reclaim("device", nbytes, "device_allocation") or self._turns.wait()

    def reclaim_host(self, nbytes: int) -> bool:
        """Free `nbytes` bytes of host memory; False if nothing could be done.

        Raises
        ------
        MemoryBudgetError
            If the disk is full.
        """
        return self._reclaim("host", nbytes, "host_allocation")

    def _reclaim(self, tier: Tier, nbytes: int, cause: Cause) -> bool:
        leaving = self._mover.leaving[tier]
        if threading.get_ident() in leaving:
            return False  # this thread asks for room only so that a value can leave
        freed, moved = 0, False
        try:
            while freed < nbytes and (more := self._mover.evict(cause)) is not None:
                freed, moved = freed + more, True
        except (OSError, MemoryError):
            if not freed:
                raise
        if moved:
            return True
        with self._tiers.changed:
            if not leaving:
                return False
            self._tiers.changed.wait()
            return True

    def _keep_limits(self) -> None:
        complained = False
        while True:
            with self._tiers.changed:
                self._tiers.pressure.wait_for(lambda: self._closing or self._tiers.excess())
                if self._closing:
                    return
                excess = self._tiers.excess()
            moved, failure = False, None
            for cause in excess:
                try:
                    moved = self._mover.evict(cause) is not None or moved
                except (OSError, MemoryError) as error:
                    failure = str(error)  # the error itself would hold the value
            if failure is not None and not complained:
                logger.warning("Results stay above their limit, as nothing more can be spilled: %s", failure)
            complained = failure is not None
            if not moved:
                self._rest(failed=complained)

    def _rest(self, *, failed: bool) -> None:
        """Wait until something changes, unless that has happened since nothing was found to move."""
        tiers = self._tiers
        with tiers.changed:
            if self._closing or (tiers.movable() and not failed):
                return
            tiers.at_rest = True
            tiers.changed.notify_all()
            tiers.pressure.wait()
            tiers.at_rest = False
