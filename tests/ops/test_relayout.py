"""Rechunks and transposes: NumPy's elements, in tiles, with nothing sent between processes of one host."""

from types import ModuleType
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import wait
from hypothesis import given, settings
from hypothesis import strategies as st

import overspill as osp
from cases import cuts, matrix, random_array
from overspill import memory
from overspill.cluster import Cluster
from overspill.ops.residence import holds_tiles


def blocks(x: da.Array) -> list[Any]:
    return list(dask.compute(*x.to_delayed().ravel(), scheduler="synchronous"))


def in_host(x: Any) -> Any:
    return x.get() if hasattr(x, "get") else x


@st.composite
def arrays_and_cuts(draw: st.DrawFn) -> tuple[da.Array, Any, list[int]]:
    """An array, other chunks for it, and an order of its axes."""
    chunks = tuple(draw(st.lists(cuts(9, 4), max_size=3)))
    shape = tuple(map(sum, chunks))
    dtype = draw(st.sampled_from(["float64", "complex64", "int8", "bool"]))
    cut: Any = st.one_of(
        st.just("auto"),
        st.just(-1),
        st.just("200 B"),
        st.tuples(*(st.integers(1, max(size, 1)) for size in shape)),
        st.tuples(*(st.sampled_from([None, -1, "auto", (size - 1, 0, 1)]) for size in shape)),
    )
    if shape:
        cut |= st.dictionaries(st.integers(-len(shape), len(shape) - 1), st.integers(1, 9))
    return da.from_array(matrix(shape, dtype), chunks=chunks), draw(cut), draw(st.permutations(range(len(shape))))


@given(arrays_and_cuts())
@settings(deadline=None, max_examples=50)
def test_elements_are_numpys(given: tuple[da.Array, Any, list[int]]) -> None:
    x, chunks, axes = given
    with dask.config.set(scheduler="synchronous"):
        values = x.compute()
        cut = osp.rechunk(x, chunks)
        assert cut.chunks == x.rechunk(chunks).chunks
        assert cut.dtype == x.dtype
        np.testing.assert_array_equal(cut.compute(), values)
        turned = osp.transpose(x, axes)
        assert turned.chunks == x.transpose(axes).chunks
        np.testing.assert_array_equal(turned.compute(), values.transpose(axes))
        np.testing.assert_array_equal(osp.transpose(cut, axes).compute(), values.transpose(axes))
        np.testing.assert_array_equal(osp.rechunk(osp.transpose(x), -1).compute(), values.T)


def test_chunks_are_tiles_or_stay_on_the_device(xp: ModuleType) -> None:
    values = matrix((700, 600), "float64")
    x = da.from_array(xp.asarray(values), chunks=(250, 200))
    for y, expected in ((osp.rechunk(x, (300, -1)), values), (osp.transpose(x), values.T)):
        assert isinstance(y._meta, xp.ndarray) and y._meta.ndim == 2
        assert all(isinstance(block, xp.ndarray) and block.flags.c_contiguous for block in blocks(y))
        assert all(map(memory.is_tile, blocks(y))) == holds_tiles(y) == (xp is np)
        np.testing.assert_array_equal(in_host(y.compute()), expected)


@pytest.mark.parametrize("chunks", [((0, 5, 0), (3, 0)), ((5,), (3,))])
def test_chunks_without_elements(xp: ModuleType, chunks: Any) -> None:
    values = np.arange(15.0).reshape(5, 3)
    y = osp.rechunk(osp.rechunk(da.from_array(xp.asarray(values), chunks=(2, 2)), chunks), ((0, 0, 2, 3), (3, 0)))
    assert [block.shape for block in blocks(y)][:5] == [(0, 3), (0, 0), (0, 3), (0, 0), (2, 3)]
    assert all(isinstance(block, xp.ndarray) for block in blocks(y))
    np.testing.assert_array_equal(in_host(y.compute()), values)


@pytest.mark.parametrize("shape", [(0,), (0, 7), (4, 0, 2)])
def test_arrays_without_elements(shape: tuple[int, ...]) -> None:
    x = da.zeros(shape, chunks=2)
    assert osp.rechunk(x, -1).compute().shape == shape
    assert osp.transpose(x).compute().shape == shape[::-1]


def test_what_changes_nothing_is_the_array_itself() -> None:
    x = random_array(((300, 200), (400, 300)))
    assert osp.rechunk(x, {0: None}) is x
    assert osp.rechunk(x, (300, 400)) is x
    assert osp.transpose(x, (0, -1)) is x
    assert osp.transpose(x[0]).ndim == 1


def test_chunks_that_stay_are_not_copied() -> None:
    x = osp.to_host(random_array(((300, 300, 200, 200), (400,))))
    before, after = map(blocks, dask.persist(x, osp.rechunk(x, ((300, 300, 400), 400)), scheduler="synchronous"))
    assert [a is b for a, b in zip(before[:3], after, strict=True)] == [True, True, False]


def test_a_copy_of_a_copy_is_one_copy() -> None:
    x = osp.to_host(random_array(((300, 300), (400, 300))))
    assert osp.rechunk(osp.rechunk(x, -1), 100).name == osp.rechunk(x, 100).name
    both = osp.rechunk(osp.transpose(x), -1)
    assert both.name == osp.transpose(osp.rechunk(x, -1)).name
    tasks = both.dask.cull(both.__dask_keys__())
    assert [key[0] for key in tasks.to_dict() if "relayout" in key[0]] == [both.name]
    np.testing.assert_array_equal(both.compute(), x.compute().T)


def test_views_of_tiles_are_copied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x = osp.to_host(random_array(((300, 300), (400, 300)))).persist(scheduler="synchronous")
    made: list[tuple[int, ...]] = []
    empty = memory.empty

    def counted(shape: tuple[int, ...], dtype: Any) -> Any:
        made.append(shape)
        return empty(shape, dtype)

    monkeypatch.setattr(memory, "empty", counted)
    monkeypatch.setattr(memory.tile, "empty", counted)
    y = osp.rechunk(x.T[:600], (300, -1))
    np.testing.assert_array_equal(y.compute(scheduler="synchronous"), x.T[:600].compute(scheduler="synchronous"))
    assert made == [(300, 600), (300, 600)]


def test_nothing_is_computed() -> None:
    def explode(block: object) -> object:
        raise AssertionError("computed")

    x = da.ones((10, 10), chunks=5).map_blocks(explode, dtype=float, meta=np.empty((0, 0)))
    osp.transpose(osp.rechunk(x, 3))


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ((3, 3, 3), "Got chunks"),
        (((5, 4), 3), r"chunks=\(\(5, 4\), 3\) cannot cut an array of shape \(10, 8\)"),
        (((12, -2), 3), "sizes must not be negative"),
        ({2: 3}, "axis 2 is out of bounds"),
        ({"x": 3}, "chunks={'x': 3} cannot cut"),
        ("many", "chunks='many' cannot cut"),
        (None, "chunks=None cannot cut"),
        ((float("nan"), 3), "cannot cut"),
    ],
)
def test_chunks_that_do_not_fit_are_refused(chunks: Any, message: str) -> None:
    with pytest.raises(osp.ArrayError, match=message) as caught:
        osp.rechunk(da.ones((10, 8), chunks=5), chunks)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("axes", [(0,), (0, 0), (0, 2), (0, 1, 2), ("a", 1), 0])
def test_axes_that_are_no_order_are_refused(axes: Any) -> None:
    with pytest.raises(osp.ArrayError, match="is no order of the 2 axes of x: name each of them once"):
        osp.transpose(da.ones((10, 8), chunks=5), axes)


@pytest.mark.parametrize("operation", [osp.rechunk, osp.transpose])
def test_arrays_that_cannot_be_copied_are_refused(operation: Any) -> None:
    x = da.ones((10, 8), chunks=5)
    with pytest.raises(osp.ArrayError, match=r"unknown size: call x.compute_chunk_sizes\(\)"):
        operation(x[x[:, 0] > 0])
    with pytest.raises(osp.ArrayError, match="not of MaskedArray"):
        operation(da.ma.masked_greater(x, 0.5))
    with pytest.raises(osp.DTypeError, match=f"{operation.__name__} cannot share .* object"):
        operation(x.astype(object))


def sent_nbytes(cluster: Cluster) -> int:
    """What the workers have sent to each other and to clients so far, as counted where it was written."""

    def of(dask_worker: Any) -> int:
        return sum(message["compressed"] for message in dask_worker.transfer_outgoing_log)

    return sum(cluster.client.run(of).values())


def persisted(lazy: da.Array) -> da.Array:
    x = lazy.persist()
    wait(x)
    return x


@pytest.mark.parametrize("made", [osp.to_host, osp.elementwise(lambda x: x + 1)], ids=["tiles", "arrays"])
def test_no_chunk_goes_through_a_socket(two_workers: Cluster, made: Any) -> None:
    x = persisted(made(random_array(((100,) * 20, (1500,)))))
    before = sent_nbytes(two_workers)
    rows = persisted(osp.rechunk(x, (-1, 150)))
    columns = persisted(osp.transpose(rows))
    both = persisted(osp.to_host(rows + columns.T))
    sent = sent_nbytes(two_workers) - before
    assert 0 < sent < x.nbytes / 50
    expected = x.compute()
    np.testing.assert_array_equal(columns.compute(), expected.T)
    np.testing.assert_array_equal(both.compute(), 2 * expected)


def test_bytes_that_go_through_sockets_are_counted(two_workers: Cluster) -> None:
    x = persisted(random_array(((100,) * 20, (1500,))))
    before = sent_nbytes(two_workers)
    persisted(x.rechunk((-1, 150), method="tasks"))
    assert sent_nbytes(two_workers) - before > x.nbytes / 4


def test_persisted_operands(two_workers: Cluster) -> None:
    x = persisted(osp.transpose(random_array(((300, 300), (400, 300, 300)))))
    assert holds_tiles(x)
    for chunks in (-1, ((400, 600), 300)):
        np.testing.assert_array_equal(persisted(osp.rechunk(x, chunks)).compute(), x.compute())


def test_operands_that_do_not_fit_in_memory() -> None:
    with osp.cluster(gpu=False, n_workers=2, threads_per_worker=1, memory="6MiB", dashboard_address=None):
        x = persisted(osp.to_host(random_array(((100,) * 15, (1500,)))))
        y = persisted(osp.rechunk(x, (-1, 100)))
        np.testing.assert_array_equal(y.compute(), x.compute())
