"""Plans of products: they cover the result, keep to the budgets, and refuse what cannot."""

import re
import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import GPU_RATES, cuts, resources
from overspill.errors import MemoryBudgetError
from overspill.planning.arithmetic import SUPPORTED, arithmetic
from overspill.planning.grid import bounds, cover, intervals
from overspill.planning.matmul import plan_matmul
from overspill.planning.matmul_plan import MatmulPlan
from overspill.planning.operands import Operand
from overspill.planning.resources import Resources
from overspill.units import parse_nbytes

REREAD = st.sampled_from([None, "disk", "recompute"])


@st.composite
def products(draw: st.DrawFn, largest_part: int = 3000) -> tuple[Operand, Operand]:
    """Operands of a product, each cut along K as it pleases."""
    a_columns = draw(cuts(largest_part))
    k = sum(a_columns)
    inner = draw(st.sets(st.integers(1, k - 1), max_size=5)) if k > 1 else set()
    b_rows = draw(st.sampled_from([a_columns, tuple(np.diff([0, *sorted(inner), k]).tolist())]))
    a = Operand(draw(cuts(largest_part)), a_columns, draw(REREAD), made=draw(st.booleans()))
    return a, Operand(b_rows, draw(cuts(largest_part)), draw(REREAD), made=draw(st.booleans()))


@st.composite
def budgets(draw: st.DrawFn) -> Resources:
    device = draw(st.sampled_from(["cpu", "cuda"]))
    return resources(
        device,
        workers=draw(st.integers(1, 5)),
        threads=draw(st.integers(1, 3)),
        device_nbytes=draw(st.integers(10, 36).map(lambda bits: 2**bits)) if device == "cuda" else 0,
        pool_nbytes=draw(st.integers(16, 40).map(lambda bits: 2**bits)),
    )


def assert_covers(plan: MatmulPlan, a: Operand, b: Operand) -> None:
    """Tiles cut the result, panels cut K, and the chunks' pieces make up each of them exactly once."""
    for parts, *operand_axes in (
        (plan.rows, a.rows),
        (plan.columns, b.columns),
        (plan.panels, a.columns, b.rows),
    ):
        assert min(parts) > 0
        for chunk_sizes in operand_axes:
            assert sum(parts) == sum(chunk_sizes)
            used: dict[int, int] = {}
            for start, stop in intervals(parts):
                pieces = cover(bounds(chunk_sizes), start, stop)
                assert sum(piece.size for piece in pieces) == stop - start
                for piece in pieces:
                    assert used.get(piece.chunk, 0) == piece.start, "pieces of a chunk follow each other"
                    used[piece.chunk] = piece.stop
            assert used == dict(enumerate(chunk_sizes))
    assert plan.tasks == len(plan.rows) * len(plan.columns)


def assert_within(plan: MatmulPlan, a: Operand, b: Operand, given: Resources) -> None:
    """The footprint of the plan's own tiles and panels, worked out here anew, is within the budgets."""
    per_element = arithmetic(plan.dtype, given.device)
    word, tile, width = per_element.itemsize, max(plan.rows) * max(plan.columns), max(plan.panels)
    panels = width * (max(plan.rows) + max(plan.columns))
    operand_buffers = panels * (2 * per_element.panel_itemsize + per_element.work_itemsize)
    held = word * sum(operand.size for operand, hold in ((a, plan.hold_a), (b, plan.hold_b)) if hold)
    result = word * sum(plan.rows) * sum(plan.columns)
    slots = given.workers * given.threads
    tiles = held + (result if plan.hold_result else slots * 2 * tile * word)
    row, coming_down = max(plan.columns) * word, min(2**27, tile * word // 8) // 2
    if plan.side == "cupy":
        tiles += slots * 2 * row * max(1, coming_down // row)
    assert tiles <= plan.peak_tiles_nbytes <= tiles * 9 / 8 <= given.pool_nbytes * 9 / 8
    assert plan.peak_tiles_nbytes <= given.pool_nbytes
    if plan.side == "cupy":
        pairs = 1 if plan.hold_a and plan.hold_b else given.threads  # what lies in memory goes up in turn
        on_device = given.threads * (tile * per_element.tile_itemsize + max(row, coming_down)) + pairs * operand_buffers
        assert plan.peak_device_nbytes == on_device <= given.device_nbytes
        assert plan.driver_nbytes >= given.threads * 2**25 + plan.peak_tiles_nbytes // 512
    else:
        assert plan.peak_device_nbytes == plan.driver_nbytes == 0
        accumulators = tile * (per_element.tile_itemsize - word)
        assert plan.peak_tiles_nbytes + slots * (operand_buffers + accumulators) <= given.pool_nbytes
    reading = word * 2 * sum(x.largest_chunk for x, hold in ((a, plan.hold_a), (b, plan.hold_b)) if not hold)
    assert plan.peak_tiles_nbytes + slots * reading <= given.pool_nbytes
    assert plan.peak_host_nbytes > plan.peak_tiles_nbytes + slots * reading


def read_by_tasks(chunk_sizes: tuple[int, ...], tile_sizes: tuple[int, ...]) -> int:
    """Elements along an axis of all chunks that each tile touches, counted element by element."""
    owner = np.repeat(np.arange(len(chunk_sizes)), chunk_sizes)
    return sum(
        sum(chunk_sizes[chunk] for chunk in np.unique(owner[start:stop])) for start, stop in intervals(tile_sizes)
    )


@settings(max_examples=150, deadline=None)
@given(products(), budgets(), st.sampled_from(SUPPORTED), st.booleans())
def test_plans_cover_keep_to_the_budgets_and_count_their_bytes(
    operands: tuple[Operand, Operand], given: Resources, dtype: str, on_device: bool
) -> None:
    a, b = operands
    try:
        plan = plan_matmul(a, b, dtype, given, keep_on_device=on_device)
    except MemoryBudgetError:
        return
    assert_covers(plan, a, b)
    assert_within(plan, a, b, given if plan.side == "cupy" else replace(given, device="cpu"))
    assert plan.side == "numpy" or given.device == "cuda"
    assert (plan.hold_a or a.reread) and (plan.hold_b or b.reread)
    m, n, k, word = sum(a.rows), sum(b.columns), sum(a.columns), np.dtype(dtype).itemsize
    assert plan.flop == m * n * k * (8 if np.dtype(dtype).kind == "c" else 2)
    assert plan.downloaded_nbytes == m * n * word
    assert plan.uploaded_nbytes == word * k * (m * len(plan.columns) + n * len(plan.rows))
    read = {"disk": 0, "recompute": 0}
    if not plan.hold_a:
        read[a.reread] += word * k * read_by_tasks(a.rows, plan.rows) * len(plan.columns)
    if not plan.hold_b:
        read[b.reread] += word * k * read_by_tasks(b.columns, plan.columns) * len(plan.rows)
    assert (plan.read_nbytes, plan.recomputed_nbytes) == (read["disk"], read["recompute"])
    assert plan.predicted_s > 0


@settings(max_examples=100, deadline=None)
@given(products(), budgets(), st.sampled_from(SUPPORTED), st.booleans())
def test_a_refusal_says_what_would_do(
    operands: tuple[Operand, Operand], given: Resources, dtype: str, on_device: bool
) -> None:
    """Raising the budget that the error names to the figure that it gives leads to a plan, in few steps."""
    for _ in range(4):
        try:
            plan_matmul(*operands, dtype, given, keep_on_device=on_device)
            return
        except MemoryBudgetError as error:
            message = str(error)
        budget, needed = re.fullmatch(r"\w+ budget (\S+ \w+) cannot hold .*\(([^()]+)\): raise .*", message).groups()
        enough = int(parse_nbytes(needed) * 1.01) + 1
        which = "device_nbytes" if message.startswith("device") else "pool_nbytes"
        assert parse_nbytes(budget) <= enough, message
        assert enough > getattr(given, which), message
        given = replace(given, **{which: enough})
    raise AssertionError(f"still refused: {message}")


def test_tiles_that_are_given_are_kept() -> None:
    a = Operand((40, 60), (50, 50))
    chunks = ((70, 30), (99, 1))
    plan = plan_matmul(a, Operand((100,), (100,)), "float64", resources(), chunks=chunks)
    assert (plan.rows, plan.columns) == chunks
    assert_covers(plan, a, Operand((100,), (100,)))


def test_tiles_that_are_given_and_do_not_fit_are_named() -> None:
    a = Operand((1000,) * 8, (1000,) * 8, "recompute")
    with pytest.raises(MemoryBudgetError, match=r"8000 × 8000 output tile.*chunks="):
        plan_matmul(a, a, "float64", resources(pool_nbytes=2**26), chunks=((8000,), (8000,)))


def test_operands_that_fit_are_held_and_others_streamed() -> None:
    a = Operand((1000,) * 8, (1000,) * 8, "disk")
    plenty = plan_matmul(a, a, "float64", resources(pool_nbytes=2**34))
    assert plenty.hold_a and plenty.hold_b and plenty.hold_result and not plenty.read_nbytes
    tight = plan_matmul(a, a, "float64", resources(pool_nbytes=2**28))
    assert not (tight.hold_a and tight.hold_b) and not tight.hold_result and tight.read_nbytes


def test_chunks_wider_than_any_panel_are_no_reason_to_refuse() -> None:
    """A panel narrower than the chunks needs them kept from panel to panel, and may have to be narrower for it."""
    a = Operand((64,) * 8, (4096, 4096), "recompute")
    b = Operand((4096, 4096), (64,) * 8, "recompute")
    for megabytes in range(13, 40):
        plan = plan_matmul(a, b, "float64", resources(pool_nbytes=megabytes * 2**20))
        assert_within(plan, a, b, resources(pool_nbytes=megabytes * 2**20))


@pytest.mark.parametrize(("n", "side"), [(64, "numpy"), (16384, "cupy")])
def test_small_products_stay_off_the_gpu(n: int, side: str) -> None:
    a = Operand((n,), (n,))
    plan = plan_matmul(a, a, "float64", resources("cuda", device_nbytes=2**36))
    assert plan.side == side
    assert "on the CPU" in plan.reason and "through the GPU" in plan.reason


def test_what_lives_on_a_gpu_stays_there() -> None:
    a = Operand((64,), (64,))
    plan = plan_matmul(a, a, "float64", resources("cuda", device_nbytes=2**36), keep_on_device=True)
    assert plan.side == "cupy"
    assert "lives on the GPU" in plan.reason


def test_work_is_cut_evenly_for_all_workers() -> None:
    a = Operand((512,) * 16, (512,) * 16)
    plan = plan_matmul(a, a, "float64", resources(workers=4))
    assert plan.tasks % 4 == 0
    assert max(plan.rows) - min(plan.rows) <= 512


def test_plans_are_the_same_each_time() -> None:
    def draw() -> Any:
        a = Operand((100, 300, 7), (50, 60), "recompute")
        return plan_matmul(a, Operand((110,), (1000, 2)), "float32", resources(workers=3))

    assert draw() == draw()


def test_one_array_on_both_sides_is_counted_once() -> None:
    a = Operand((1000,) * 8, (1000,) * 8)
    nbytes = 8 * a.size
    given = resources(pool_nbytes=int(1.8 * nbytes))
    with pytest.raises(MemoryBudgetError):
        plan_matmul(a, a, "float64", given)
    plan = plan_matmul(a, a, "float64", given, same=True)
    assert plan.hold_a and plan.hold_b
    assert nbytes <= plan.peak_tiles_nbytes < 1.8 * nbytes
    two = plan_matmul(a, a, "float64", resources())
    one = plan_matmul(a, a, "float64", resources(), same=True)
    assert one.prepare_s == pytest.approx(two.prepare_s / 2)
    with pytest.raises(MemoryBudgetError, match=r"computed once \(488 MiB\)"):
        plan_matmul(a, a, "float64", resources(pool_nbytes=2**20), same=True)


def test_one_array_on_both_sides_is_streamed_for_both() -> None:
    a = Operand((1000,) * 8, (1000,) * 8, "disk")
    for megabytes in range(150, 700, 50):
        plan = plan_matmul(a, a, "float64", resources(pool_nbytes=megabytes * 2**20), same=True)
        assert plan.hold_a == plan.hold_b


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("axis", ["m", "n", "k"])
def test_a_hundred_thousand_chunks_are_planned_in_no_time(device: Any, axis: str) -> None:
    """It took 10 to 20 s when every candidate added up all chunks anew."""
    many, few = tuple(90 + index % 21 for index in range(10**5)), (1000,) * 4
    a = Operand(many if axis == "m" else few, many if axis == "k" else few, "recompute")
    b = Operand(many if axis == "k" else few, many if axis == "n" else few, "recompute")
    started = time.process_time()
    plan_matmul(a, b, "float64", resources(device, workers=4, device_nbytes=2**36, pool_nbytes=2**34))
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    ("device", "reread", "threads", "first", "others"),
    [
        ("cuda", None, 2, (256, 512, 1024), (16384,)),
        ("cuda", None, 1, (256, 512, 1088), (256, 512, 1088)),
        ("cuda", "recompute", 1, (4096, 4096, 4096), (4096, 4096, 4096)),
        ("cpu", None, 1, (2048, 2048, 2048), (2048, 2048, 2048)),
    ],
)
def test_the_first_panel_of_what_lies_in_memory_is_narrow_on_an_idle_gpu(
    device: Any, reread: Any, threads: int, first: Any, others: Any
) -> None:
    n = 16384
    whole = Operand((4096,) * 4, (4096,) * 4, reread)
    pool_nbytes = 2**40 if reread is None else 3 * 8 * n * n // 2
    given = resources(device, device_nbytes=2**33, threads=threads, pool_nbytes=pool_nbytes)
    plan = plan_matmul(
        whole, whole, "float64", given, same=True, keep_on_device=device == "cuda", chunks=((8192,) * 2,) * 2
    )
    assert plan.hold_a == (reread is None)
    assert (plan.first_panels[:3], plan.panels[:3]) == (first, others)
    assert sum(plan.panels) == sum(plan.first_panels) == n


@pytest.mark.parametrize(
    ("upload_per_s", "b_on_device", "growth"),
    [(10e9, False, 2), (50e9, False, 3.6), (400e9, False, 16), (50e9, True, 6.9)],
)
def test_the_next_panel_is_as_wide_as_it_has_time_to_go_up(
    upload_per_s: float, b_on_device: bool, growth: float
) -> None:
    n = 32768
    a, b = (Operand((8192,) * 4, (8192,) * 4, made=True, on_device=there) for there in (False, b_on_device))
    rates = replace(GPU_RATES, upload_per_s=upload_per_s, gemm_flop_per_s={"float64": 57e12}, memory_per_s=4e12)
    given = replace(resources("cuda", threads=1, device_nbytes=2**37), rates=rates)
    panels = plan_matmul(a, b, "float64", given, keep_on_device=True, chunks=((n,), (n,))).panels
    narrow = panels[: bounds(panels).index(max(panels))]
    ratios = [wide / narrower for narrower, wide in pairwise(narrow)]
    assert ratios
    assert ratios == pytest.approx([growth] * len(ratios), rel=0.15)


@pytest.mark.parametrize(("device_nbytes", "widest"), [(2**37, 16384), (2**36, 8192)])
def test_results_kept_on_gpus_have_wide_panels_where_there_is_room(device_nbytes: int, widest: int) -> None:
    whole = Operand((8192,) * 8, (8192,) * 8, made=True, on_device=True)
    given = resources("cuda", workers=4, threads=2, device_nbytes=device_nbytes)
    tiles = ((16384,) * 4,) * 2
    plan = plan_matmul(whole, whole, "float64", given, keep_on_device=True, chunks=tiles)
    assert max(plan.panels) == widest
    assert plan.first_panels == plan.panels, "copies within a GPU take no time"


@pytest.mark.parametrize(("n", "workers"), [(65536, 4), (98304, 4), (49152, 2), (49152, 3), (40960, 4)])
def test_gpus_get_even_shares_of_a_large_product(n: int, workers: int) -> None:
    """Tiles of several sizes, handed out by their number, left one GPU an eighth more to do than the others."""
    whole = Operand((4096,) * (n // 4096), (4096,) * (n // 4096), made=True)
    given = resources("cuda", workers=workers, threads=2, device_nbytes=2**33)
    plan = plan_matmul(whole, whole, "float64", given)
    work = [rows * columns for rows in plan.rows for columns in plan.columns]
    shares = [sum(work[first::workers]) for first in range(workers)]
    assert max(shares) <= 1.05 * n * n / workers


def test_a_product_is_planned_once() -> None:
    def plan() -> MatmulPlan:
        whole = Operand((4096,) * 4, (4096,) * 4, made=True)
        return plan_matmul(whole, whole, "float64", resources("cuda", device_nbytes=2**36), same=True)

    assert plan() is plan()


@pytest.mark.parametrize(("n", "tile", "widest"), [(65536, 32768, 16384), (32768, 16384, 8192)])
def test_panels_are_as_wide_as_pays(n: int, tile: int, widest: int) -> None:
    """Wide ones hide the way down of a large tile; those of a smaller one would wait for each other at first."""
    four = replace(GPU_RATES, upload_per_s=35e9, download_per_s=23e9, both_ways_per_s=32e9)
    whole = Operand((8192,) * (n // 8192), (8192,) * (n // 8192), made=True)
    given = replace(resources("cuda", workers=4, threads=2, device_nbytes=2**37), rates=four)
    plan = plan_matmul(whole, whole, "float64", given)
    assert (max(plan.rows), max(plan.columns), max(plan.panels)) == (tile, tile, widest)
