import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overspill.dashboard import columns
from overspill.dashboard.columns import View
from overspill.dashboard.history import History
from overspill.dashboard.observed import Observed
from overspill.memory.ledger import LINKS
from overspill.memory.store.meter import CAUSES, TIERS, Tier

from .stores import several, worker


def seen(workers: list[Observed], chosen: str | None = None) -> View:
    history = History()
    history.record(100, workers)
    return View(history, workers, chosen)


@given(several())
def test_each_worker_shows_its_own_figures(workers: list[Observed]) -> None:
    found = columns.workers(seen(workers))
    for row, each in enumerate(workers):
        assert (found["worker"][row], found["address"][row]) == (each.name, each.address)
        assert (found["processing"][row], found["in_memory"][row]) == (each.processing, each.in_memory)
        for tier in TIERS:
            of_tier = {name: found[f"{tier}_{name}"][row] for name in ("nbytes", "limit_nbytes", "allocations")}
            assert of_tier.items() <= each.figures["tiers"][tier].items()


@given(several(), st.sampled_from(TIERS))
def test_bands_end_at_what_stores_hold_now(workers: list[Observed], tier: Tier) -> None:
    view = seen(workers)
    found, below = columns.bands(view, tier), 0
    for each, xs, ys in zip(workers, found["xs"], found["ys"], strict=True):
        held = each.figures["tiers"][tier]["nbytes"]
        assert xs.tolist() == [0, 0]
        assert ys.tolist() == [below + held, below]
        below += held
    limit_nbytes = sum(each.figures["tiers"][tier]["limit_nbytes"] for each in workers)
    assert columns.tier_nbytes(view, tier) == (below, limit_nbytes)
    np.testing.assert_equal(columns.limits(view, tier)["limit_nbytes"], [limit_nbytes or np.nan])


@given(several())
def test_totals_are_sums(workers: list[Observed]) -> None:
    view = seen(workers)
    for row, cause in enumerate(CAUSES):
        assert columns.evictions(view)["count"][row] == sum(each.figures["evictions"][cause] for each in workers)
    for row, link in enumerate(LINKS):
        found = columns.link_totals(view)
        assert found["nbytes"][row] == sum(each.figures["links"][link]["nbytes"] for each in workers)
        assert found["seconds"][row] == sum(each.figures["links"][link]["seconds"] for each in workers)


@given(several())
def test_a_chosen_worker_is_shown_alone(workers: list[Observed]) -> None:
    chosen = workers[-1]
    view = seen(workers, chosen.id)
    for tier in TIERS:
        found = columns.bands(view, tier)
        assert [ys[0] for ys in found["ys"]] == [chosen.figures["tiers"][tier]["nbytes"]]
        assert columns.tier_nbytes(view, tier)[0] == chosen.figures["tiers"][tier]["nbytes"]
    assert columns.evictions(view)["count"] == list(chosen.figures["evictions"].values())
    assert columns.link_totals(view)["nbytes"] == [of_link["nbytes"] for of_link in chosen.figures["links"].values()]
    assert len(columns.workers(view)["worker"]) == len(workers)


def test_over_time() -> None:
    history = History()
    history.record(10, [worker("0", seen_s=10, nbytes=4, limit_nbytes=8)])
    both = [
        worker("0", seen_s=12, nbytes=6, limit_nbytes=8, moved=200),
        worker("1", seen_s=12, nbytes=1, limit_nbytes=3),
    ]
    history.record(12, both)
    view = View(history, both)
    found = columns.bands(view, "host")
    assert [xs.tolist() for xs in found["xs"]] == [[-2, 0, 0, -2]] * 2
    assert [ys.tolist() for ys in found["ys"]] == [[4, 6, 0, 0], [4, 7, 6, 4]]
    assert columns.limits(view, "host")["limit_nbytes"].tolist() == [8, 11]
    throughput = columns.throughput(view)
    assert throughput["age_s"].tolist() == [-2, 0]
    assert throughput["host_to_disk"].tolist() == [0, 100]
    assert throughput["host_to_disk_text"] == ["0 B/s", "100 B/s"]
    assert throughput["disk_to_host"].tolist() == [0, 0]


def test_now_is_the_last_heartbeat_not_the_last_sample() -> None:
    history = History()
    for now in (1, 2):
        history.record(now, [worker("0", nbytes=4), worker("1", nbytes=5)])
    view = View(history, [worker("1", nbytes=7)])
    assert [ys[:2].tolist() for ys in columns.bands(view, "host")["ys"]] == [[5, 7], [9, 7]]
    assert columns.tier_nbytes(view, "host") == (7, 0)
    assert history.series["Worker-1"].nbytes["host"][-1] == 5


def test_the_dead_are_shown_as_such() -> None:
    history = History()
    history.record(10, [worker("0", nbytes=4), worker("1", nbytes=5)])
    history.record(11, [worker("1", nbytes=5)])
    view = View(history, [worker("1", nbytes=5)])
    found = columns.bands(view, "host")
    assert [name.partition(" · ")[0] for name in found["worker"]] == ["1", "0"]
    assert found["worker"][1] == "0 · gone"
    assert [ys.tolist() for ys in found["ys"]] == [[5, 5, 0, 0], [9, 5, 5, 5]]
    assert columns.tier_nbytes(view, "host") == (5, 0)


@pytest.mark.parametrize("device", [False, True])
def test_only_the_device_may_not_exist(device: bool) -> None:
    view = seen([worker("0"), worker("1", device=device)])
    assert [columns.exists(view, tier) for tier in TIERS] == [device, True, True]


def test_nothing_has_the_columns_of_something() -> None:
    something = seen([worker("0"), worker("1")])
    for of in (columns.workers, columns.throughput, columns.link_totals, columns.evictions):
        assert of(columns.NOTHING).keys() == of(something).keys()
    for tier in TIERS:
        assert columns.bands(columns.NOTHING, tier).keys() == columns.bands(something, tier).keys()
        assert columns.limits(columns.NOTHING, tier).keys() == columns.limits(something, tier).keys()
