"""Seconds of passes: never less than any one thing takes, never more than all in turn, and where NumPy is faster."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import resources
from overspill.planning.elapsed import ON_DEVICE, elapsed, spending
from overspill.planning.one_pass import Pass, Peak
from overspill.planning.operations import Operations
from overspill.planning.passes import plan_passes
from overspill.planning.resources import Resources

GIB = 2**30

sizes = st.integers(0, 2**34)
operations = st.builds(Operations, st.integers(0, 2**38), st.integers(0, 2**38))
works = st.lists(
    st.builds(Pass, sizes, sizes, st.just(0), sizes, sizes, sizes, sizes, operations, operations),
    min_size=1,
    max_size=30,
)
someone = st.builds(resources, st.sampled_from(["cpu", "cuda"]), workers=st.integers(1, 5), threads=st.integers(1, 3))


@given(works, someone)
def test_as_long_as_the_slowest_resource_and_not_as_all_in_turn(done: list[Pass], given_: Resources) -> None:
    seconds, bound = elapsed(done, given_)
    spent = [spending(work, given_) for work in done]
    slots = given_.workers * given_.threads
    for name in spent[0]:
        shared = given_.workers if name in ON_DEVICE and given_.device == "cuda" else slots
        assert seconds >= 0.999 * sum(each[name] for each in spent) / shared
    assert seconds <= 1.001 * sum(sum(each.values()) for each in spent)
    assert bound in spent[0]


@given(works, someone)
def test_one_task_does_one_thing_after_the_other(done: list[Pass], given_: Resources) -> None:
    seconds, _ = elapsed(done[:1], replace(given_, threads=1))
    assert seconds == pytest.approx(sum(spending(done[0], given_).values()))


@given(st.integers(1, 200), works, someone)
def test_more_workers_are_never_slower(count: int, done: list[Pass], given_: Resources) -> None:
    many = [done[0]] * count
    assert elapsed(many, replace(given_, workers=given_.workers + 1))[0] <= 1.001 * elapsed(many, given_)[0]


def transform(nbytes: int, per_byte: int) -> Pass:
    """A chunk of `nbytes` up, `per_byte` additions for each, and down again."""
    return Pass(
        uploaded_nbytes=nbytes,
        downloaded_nbytes=nbytes,
        device_nbytes=2 * nbytes,
        on_device=Operations(nbytes * per_byte, nbytes * per_byte),
    )


def numpy_is_faster(nbytes: int, per_byte: int, count: int = 16, workers: int = 2) -> bool:
    given_ = resources("cuda", workers=workers, threads=2, device_nbytes=2**40)
    return plan_passes([transform(nbytes, per_byte)] * count, [Peak()] * count, 0, given_).advice is not None


@given(st.integers(1, 2**34), sizes, st.integers(0, 200), st.integers(1, 64), st.integers(1, 4))
def test_cupy_stays_faster_for_larger_arrays(nbytes: int, more: int, per_byte: int, count: int, workers: int) -> None:
    if not numpy_is_faster(nbytes, per_byte, count, workers):
        assert not numpy_is_faster(nbytes + more, per_byte, count, workers)


@given(st.integers(1, 2**34), st.integers(0, 200), st.integers(0, 200), st.integers(1, 64), st.integers(1, 4))
def test_cupy_stays_faster_for_more_work_on_each_byte(
    nbytes: int, per_byte: int, more: int, count: int, workers: int
) -> None:
    if not numpy_is_faster(nbytes, per_byte, count, workers):
        assert not numpy_is_faster(nbytes, per_byte + more, count, workers)


def test_small_arrays_are_numpys_and_large_ones_cupys() -> None:
    assert numpy_is_faster(1000, 10)
    assert not numpy_is_faster(GIB, 10)


def test_work_too_thin_for_the_link_is_numpys() -> None:
    slow = resources("cuda", workers=1, threads=16, device_nbytes=2**40)
    slow = replace(slow, rates=replace(slow.rates, upload_per_s=5e9, download_per_s=5e9))
    advices = [plan_passes([transform(GIB, per_byte)] * 32, [Peak()] * 32, 0, slow).advice for per_byte in (0, 1000)]
    assert advices[0] is not None
    assert "bound by the link" in advices[0]
    assert advices[1] is None


def test_both_directions_share_the_link() -> None:
    given = resources("cuda", workers=1, threads=2)
    works = [Pass(uploaded_nbytes=GIB, downloaded_nbytes=GIB)] * 100
    for both_ways_per_s in (2e10, 4e10):
        shared = replace(given, rates=replace(given.rates, both_ways_per_s=both_ways_per_s, task_s=0.0))
        assert elapsed(works, shared)[0] == pytest.approx(200 * GIB / both_ways_per_s, rel=0.02)


@pytest.mark.parametrize(
    ("work", "bound"),
    [
        (Pass(uploaded_nbytes=GIB), "upload"),
        (Pass(downloaded_nbytes=GIB), "download"),
        (Pass(device_nbytes=100 * GIB), "device memory"),
        (Pass(on_device=Operations(cupy=2**40)), "device compute"),
        (Pass(host_nbytes=GIB), "host memory"),
        (Pass(on_host=Operations(numpy=2**40)), "host compute"),
        (Pass(read_nbytes=GIB), "disk"),
        (Pass(made_nbytes=GIB), "recompute"),
        (Pass(), "tasks"),
    ],
)
def test_the_bound_is_what_there_is_most_of(work: Pass, bound: str) -> None:
    assert elapsed([work] * 10, resources("cuda", workers=2, threads=2))[1] == bound


def test_the_scheduler_hands_out_no_more_than_it_can() -> None:
    assert elapsed([Pass()] * 40_000, resources(workers=1000)) == (10.0, "tasks")
