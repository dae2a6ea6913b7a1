"""Bytes alive at a time, against a replay of the same tasks by hand, and what must hold whatever the graph."""

from hypothesis import given
from hypothesis import strategies as st

from overspill.planning.alive import Demand, Work, demands


@st.composite
def graphs(draw: st.DrawFn) -> list[Work]:
    works: list[Work] = []
    for position in range(draw(st.integers(1, 25))):
        nbytes = draw(st.integers(0, 100))
        on_device = draw(st.booleans())
        made = draw(st.booleans()) and draw(st.booleans())
        inputs = draw(st.sets(st.integers(0, position - 1), max_size=3)) if position and not made else ()
        where = (nbytes, 0) if on_device else (0, nbytes)
        works.append(Work(tuple(inputs), *where, made=made, wanted=draw(st.booleans())))
    return works


def replayed(works: list[Work], *, keep: bool) -> int:
    """Most bytes at a time when the tasks run in the order they stand in."""
    alive = {i for i, work in enumerate(works) if work.made}
    stay = alive | {i for i, work in enumerate(works) if keep and work.wanted}
    most = sum(works[i].device_nbytes + works[i].host_nbytes for i in alive)
    for i, work in enumerate(works):
        if work.made:
            continue
        alive.add(i)
        most = max(most, sum(works[j].device_nbytes + works[j].host_nbytes for j in alive))
        still = {j for later in works[i + 1 :] for j in later.inputs}
        alive &= still | stay
    return most


def on_host(works: list[Work]) -> list[Work]:
    return [
        Work(work.inputs, 0, work.device_nbytes + work.host_nbytes, made=work.made, wanted=work.wanted)
        for work in works
    ]


@given(graphs(), st.booleans())
def test_one_task_at_a_time_is_a_replay_in_order(works: list[Work], keep: bool) -> None:
    device, host = demands(on_host(works), 1, keep=keep)
    assert device == Demand()
    assert host.held_nbytes == replayed(works, keep=keep)


@given(graphs(), st.integers(1, 8))
def test_what_holds_for_every_graph(works: list[Work], slots: int) -> None:
    kept, let_go = (demands(works, slots, keep=keep) for keep in (True, False))
    for stays, goes, sizes in (
        (kept[0], let_go[0], [work.device_nbytes for work in works]),
        (kept[1], let_go[1], [work.host_nbytes for work in works]),
    ):
        assert goes.held_nbytes <= stays.held_nbytes <= sum(sizes)
        lasting = sum(size for size, work in zip(sizes, works, strict=True) if work.made or work.wanted)
        assert lasting <= stays.held_nbytes
        assert stays.largest_chunk_nbytes == max(sizes)
        assert max(stays.largest_task_nbytes, goes.largest_task_nbytes) <= goes.held_nbytes


def test_inputs_that_several_tasks_share_wait_for_the_last_of_them() -> None:
    shared = Work((), host_nbytes=10)
    works = [shared, shared, Work((0, 1), host_nbytes=1), Work((0, 2), wanted=True), Work((1, 2), wanted=True)]
    assert demands(works, 1, keep=False)[1].held_nbytes == 21


def test_more_slots_start_more_at_once() -> None:
    roots = [Work((), device_nbytes=10) for _ in range(6)]
    users = [Work((i,), device_nbytes=1, wanted=True) for i in range(6)]
    interleaved = [Work((i - 1,), 1, wanted=True) if i % 2 else Work((), 10) for i in range(12)]
    assert demands(interleaved, 1, keep=False)[0].held_nbytes == 11
    assert demands(interleaved, 3, keep=False)[0].held_nbytes >= 30
    assert demands(roots + users, 1, keep=False)[0].held_nbytes == 61


def test_what_is_held_back_waits_until_what_it_feeds_is_used_up() -> None:
    def most_held(*, held_back: bool) -> int:
        made = [Work((), host_nbytes=8, held_back=held_back)] * 5
        used = [Work((i,), host_nbytes=1, wanted=True) for i in range(5)]
        return demands([*made, *used], 1, keep=True)[1].held_nbytes

    assert most_held(held_back=False) == 5 * 8 + 1
    assert most_held(held_back=True) == 8 + 5 * 1
