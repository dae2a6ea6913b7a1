"""How far a solver is: logged at INFO to "overspill.linalg", and told to the cluster, at most once a second."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from distributed import Client

logger = logging.getLogger("overspill.linalg")

TOPIC = "overspill-solver"
"""Topic of the events that a solver logs with the cluster's scheduler: `client.get_events(TOPIC)`."""

EVERY_S = 1.0
"""Seconds between reports."""

Observer: TypeAlias = Callable[[float, Mapping[str, Any]], Any]
"""Called with the residual's norm and the solver's vectors so far, if there are any to restart from."""


class Report:
    """Counts a solver's iterations and tells of them; see `overspill.linalg.space.Progress`.

    Parameters
    ----------
    name
        Of the solver.
    callback
        Called after each iteration.
    client
        Of the cluster that is told too.
    """

    def __init__(self, name: str, callback: Observer | None = None, client: Client | None = None) -> None:
        self.name = name
        self.callback = callback
        self.client = client
        self._told_s = time.perf_counter()
        self._iteration = 0
        self._residual: float | None = None

    def __call__(self, iteration: int, residual: float, **restart: Any) -> None:
        """Tell of an iteration."""
        if self.callback is not None:
            self.callback(residual, restart)
        if self._residual is None:
            self._iteration, self._residual = iteration, residual
        elapsed_s = time.perf_counter() - self._told_s
        if elapsed_s >= EVERY_S:
            self._tell(iteration, residual, elapsed_s)

    def _tell(self, iteration: int, residual: float, elapsed_s: float) -> None:
        steps = max(iteration - self._iteration, 1)
        per_s = steps / elapsed_s
        before = self._residual or residual
        reduction = (residual / before) ** (1 / steps) if before > 0 else 0.0
        logger.info(
            "%s: iteration %d, residual %.3g, %.3g iterations/s, residual × %.3g an iteration",
            self.name,
            iteration,
            residual,
            per_s,
            reduction,
        )
        if self.client is not None:
            event = {
                "solver": self.name,
                "iteration": iteration,
                "residual": residual,
                "iterations_per_s": per_s,
                "reduction": reduction,
            }
            self.client.log_event(TOPIC, event)
        self._told_s, self._iteration, self._residual = time.perf_counter(), iteration, residual
