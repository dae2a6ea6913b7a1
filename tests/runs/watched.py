"""A watcher that tests ask afterwards."""

from typing import Any

from overspill.cluster import Cluster
from overspill.runs import session
from overspill.runs.preview import Preview


class Watched:
    """A watcher that remembers, and interrupts after some blocks."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.heard: list[Any] = []
        self.interrupt_after = interrupt_after

    def began(self, job: session.Job) -> None:
        self.heard.append("began")

    def planned(self, preview: Preview, cluster: Cluster) -> None:
        self.heard.append("planned")

    def advanced(self, done: int, total: int, kept: int) -> None:
        self.heard.append((done, total, kept))
        if done == self.interrupt_after:
            raise KeyboardInterrupt

    def solving(self) -> None:
        self.heard.append("solving")

    def checking(self) -> None:
        self.heard.append("checking")

    def interrupted(self, stop: session.Interrupted) -> None:
        self.heard.append(str(stop))
