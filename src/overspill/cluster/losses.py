"""What a worker that dies takes with it is made again before anything new is begun."""

from typing import Any

from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin


class LossPlugin(SchedulerPlugin):
    """Sees to it that what others may wait for does not wait itself, once a worker has died with it.

    Dask gives tasks of graphs that were begun within a minute one after the other the places that they had within
    their graphs, and lets those without inputs wait in a queue until a worker has next to nothing to do. Of the chunks
    that a product was reading, those of a dead worker would come behind most of the product's tasks, or behind all but
    those that wait for them.
    """

    name = "overspill-losses"

    async def start(self, scheduler: Scheduler) -> None:
        """Take note of whose losses to hear of."""
        self._scheduler = scheduler

    def log_event(self, topic: str, msg: Any) -> None:
        """Hear that a worker was removed, before the scheduler places again what it held."""
        if topic != "all" or not isinstance(msg, dict) or msg.get("action") != "remove-worker":
            return
        for key in msg["lost-computed-tasks"]:
            task = self._scheduler.tasks[key]
            if task.dependents and task.priority:
                task.priority = (task.priority[0] - 1, *task.priority[1:])
                if not (task.worker_restrictions or task.host_restrictions or task.resource_restrictions):
                    # Dask queues no task that prefers some hosts, though it be all of them.
                    task.host_restrictions, task.loose_restrictions = set(self._scheduler.host_info), True
