"""Figures of stores for tests, and the strategy to draw them from."""

from typing import Any

from hypothesis import strategies as st

from overspill.dashboard.observed import Observed
from overspill.memory.ledger import LINKS
from overspill.memory.store.meter import CAUSES, TIERS

COUNTS = st.integers(0, 2**50)


@st.composite
def stores(draw: st.DrawFn) -> dict[str, Any]:
    """Figures as `Store.figures` gives them, any numbers."""
    return {
        "tiers": {
            tier: {name: draw(COUNTS) for name in ("nbytes", "peak_nbytes", "limit_nbytes", "allocations")}
            for tier in TIERS
        },
        "allocated_nbytes": draw(COUNTS),
        "links": {link: {"nbytes": draw(COUNTS), "seconds": draw(st.floats(0, 1e6))} for link in LINKS},
        "evictions": {cause: draw(COUNTS) for cause in CAUSES},
    }


@st.composite
def several(draw: st.DrawFn) -> list[Observed]:
    """Workers with any figures."""
    return [
        Observed(f"Worker-{n}", str(n), f"tcp://10.0.0.{n}:1", 100.0, figures, draw(COUNTS), draw(COUNTS))
        for n, figures in enumerate(draw(st.lists(stores(), min_size=1, max_size=4)))
    ]


def worker(
    name: str = "0", *, seen_s: float = 0, nbytes: int = 0, limit_nbytes: int = 0, moved: int = 0, device: bool = False
) -> Observed:
    """A worker that holds `nbytes` in its host tier and has moved `moved` to disk."""
    tier = {"nbytes": 0, "peak_nbytes": 0, "limit_nbytes": 0, "allocations": 0}
    figures = {
        "tiers": {
            "device": tier | {"limit_nbytes": 2**30 if device else 0},
            "host": tier | {"nbytes": nbytes, "peak_nbytes": nbytes, "limit_nbytes": limit_nbytes},
            "disk": tier,
        },
        "allocated_nbytes": 0,
        "links": {link: {"nbytes": moved if link == "host_to_disk" else 0, "seconds": 0.0} for link in LINKS},
        "evictions": dict.fromkeys(CAUSES, 0),
    }
    return Observed(f"Worker-{name}", name, f"tcp://10.0.0.1:{name}", seen_s, figures, 0, 0)
