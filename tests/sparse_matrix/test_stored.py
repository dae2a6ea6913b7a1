"""Sparse matrices in Zarr: what is saved is opened alike, by others too; what is not whole is not opened."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import scipy.sparse
import zarr
from dask._task_spec import Task
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overspill.errors import DTypeError, StorageError, StoreExistsError, UsageError
from overspill.sparse import Block, CSRMatrix
from overspill.sparse import stored as sparse_stored
from overspill.sparse.from_memory import from_scipy
from overspill.sparse.generators import banded, poisson, rmat
from overspill.sparse.saving import save

DOCUMENT = Path(__file__).parents[2] / "docs" / "sparse.md"


@pytest.fixture(autouse=True)
def synchronous() -> Any:
    with dask.config.set(scheduler="synchronous"):
        yield


def random(shape: tuple[int, int], dtype: str = "f8", seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return scipy.sparse.random_array(shape, density=0.2, rng=rng, dtype=dtype, format="csr")


def same(found: Any, expected: Any) -> None:
    expected = scipy.sparse.csr_array(expected)
    assert (found.shape, found.nnz, found.dtype) == (expected.shape, expected.nnz, expected.dtype)
    np.testing.assert_array_equal(found.toarray(), expected.toarray())


def by_zarr(path: Path) -> Any:
    """The matrix as any program reads it that knows anndata's layout."""
    group = zarr.open_group(path, mode="r")
    assert group.attrs["encoding-type"] == "csr_matrix" and group.attrs["encoding-version"] == "0.1.0"
    parts = [group[name][:] for name in ("data", "indices", "indptr")]
    return scipy.sparse.csr_array(tuple(parts), shape=tuple(group.attrs["shape"]))


class Flaky:
    """Row blocks of a matrix, which counts those it makes, and fails once, at a given one."""

    def __init__(self, A: Any, fails_at: int | None = None, counted: bool = True) -> None:
        self.A, self.fails_at, self.counted = A, fails_at, counted
        self.made: Counter[int] = Counter()

    def block(self, number: int) -> Any:
        self.made[number] += 1
        if number == self.fails_at:
            self.fails_at = None
            raise RuntimeError("the power went")
        return self.A[10 * number : 10 * (number + 1)]

    def matrix(self) -> CSRMatrix:
        nnz = [self.A[start : start + 10].nnz if self.counted else None for start in range(0, 40, 10)]
        blocks = [Block(10, (0, self.A.shape[1]), count) for count in nnz]
        tasks = {("flaky", i): Task(("flaky", i), self.block, i) for i in range(4)}
        return CSRMatrix(tasks, "flaky", self.A.shape, self.A.dtype, blocks)


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("blocks", [1, 3, 7])
def test_round_trip(tmp_path: Path, dtype: str, blocks: int) -> None:
    expected = random((40, 30), dtype)
    A = from_scipy(expected, blocks)
    save(A, tmp_path / "a")
    found = sparse_stored.open(tmp_path / "a")
    assert found.blocks == A.blocks and found.nnz == expected.nnz
    same(found.to_scipy(), expected)
    same(by_zarr(tmp_path / "a"), expected)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(0, 12),
    columns=st.integers(0, 8),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    blocks=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_round_trip_of_any_shape(
    tmp_path_factory: pytest.TempPathFactory, rows: int, columns: int, density: float, blocks: int, seed: int
) -> None:
    path = tmp_path_factory.mktemp("any") / "a"
    expected = scipy.sparse.random_array(
        (rows, columns), density=density, rng=np.random.default_rng(seed), format="csr"
    )
    save(from_scipy(expected, blocks), path)
    same(sparse_stored.open(path).to_scipy(), expected)
    same(by_zarr(path), expected)


@pytest.mark.gpu
def test_a_matrix_on_a_gpu_is_saved_as_one_on_the_host_is(tmp_path: Path) -> None:
    A = from_scipy(random((40, 30), "c8"), blocks=3)
    save(A.to_device(), tmp_path / "a")
    found = sparse_stored.open(tmp_path / "a")
    assert found.residence == "host" and found.blocks == A.blocks
    same(found.to_scipy(), A.to_scipy())


def test_opening_reads_nothing_yet(tmp_path: Path) -> None:
    save(poisson((6, 7), blocks=3), tmp_path / "a")
    A = sparse_stored.open(tmp_path / "a")
    assert A.name == sparse_stored.open(tmp_path / "a").name
    shutil.rmtree(tmp_path / "a" / "data" / "c")
    with pytest.raises(StorageError, match=r"a/data cannot be read at \[.* missing or damaged"):
        A.to_scipy()


def test_blocks_that_are_not_counted_are_made_twice(tmp_path: Path) -> None:
    flaky = Flaky(random((40, 30)), counted=False)
    save(flaky.matrix(), tmp_path / "a")
    assert set(flaky.made.values()) == {2}
    same(sparse_stored.open(tmp_path / "a").to_scipy(), flaky.A)
    save(rmat(6, blocks=3), tmp_path / "b")
    same(sparse_stored.open(tmp_path / "b").to_scipy(), rmat(6).to_scipy())


def test_each_block_is_made_once_for_all_three_arrays(tmp_path: Path) -> None:
    flaky = Flaky(random((40, 30)))
    save(flaky.matrix(), tmp_path / "a")
    assert flaky.made == dict.fromkeys(range(4), 1)


@pytest.mark.parametrize("counted", [True, False])
def test_what_was_interrupted_is_not_opened_but_resumed(tmp_path: Path, counted: bool) -> None:
    flaky = Flaky(random((40, 30)), counted=counted)
    A = flaky.matrix() if counted else flaky.matrix().compute_nnz()
    flaky.made.clear()
    flaky.fails_at = 3
    with pytest.raises(RuntimeError, match="the power went"):
        save(A, tmp_path / "a")
    with pytest.raises(StorageError, match=r"is not complete|no Zarr array at"):
        sparse_stored.open(tmp_path / "a")
    with pytest.raises(StoreExistsError, match="exists already"):
        save(A, tmp_path / "a")
    flaky.made.clear()
    save(flaky.matrix(), tmp_path / "a", resume=True)
    assert flaky.made[3] == 1 and max(flaky.made.values()) == 1
    same(sparse_stored.open(tmp_path / "a").to_scipy(), flaky.A)
    flaky.made.clear()
    save(flaky.matrix(), tmp_path / "a", resume=True)
    assert not flaky.made


def test_resuming_begins_where_nothing_is(tmp_path: Path) -> None:
    save(banded(9, 1, blocks=2), tmp_path / "a", resume=True)
    same(sparse_stored.open(tmp_path / "a").to_scipy(), banded(9, 1).to_scipy())


def test_another_computation_is_not_gone_on_with(tmp_path: Path) -> None:
    save(banded(9, 1, blocks=2), tmp_path / "a")
    with pytest.raises(StorageError, match="was begun with shape"):
        save(banded(10, 1), tmp_path / "a", resume=True)
    with pytest.raises(StorageError, match="in 2 row blocks, but this matrix is banded-.* in 3"):
        save(banded(9, 1, blocks=3), tmp_path / "a", resume=True)
    with pytest.raises(UsageError, match="pass one of them"):
        save(banded(9, 1), tmp_path / "a", resume=True, overwrite=True)


def test_one_token_lets_matrices_that_are_cut_otherwise_go_on(tmp_path: Path) -> None:
    save(banded(9, 1, blocks=2), tmp_path / "a", token="the band")
    shutil.rmtree(tmp_path / "a" / "indices")
    save(banded(9, 1, blocks=3), tmp_path / "a", token="the band", resume=True)
    found = sparse_stored.open(tmp_path / "a")
    assert found.row_chunks == (4, 5)
    same(found.to_scipy(), banded(9, 1).to_scipy())


def test_overwriting(tmp_path: Path) -> None:
    save(banded(9, 1), tmp_path / "a")
    save(banded(7, 2, blocks=2), tmp_path / "a", overwrite=True)
    same(sparse_stored.open(tmp_path / "a").to_scipy(), banded(7, 2).to_scipy())
    with pytest.raises(UsageError, match="which it would overwrite"):
        save(sparse_stored.open(tmp_path / "a") * 2.0, tmp_path / "a", overwrite=True)
    (tmp_path / "a" / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match=r"holds notes\.txt"):
        save(banded(7, 2), tmp_path / "a", overwrite=True)
    zarr.create_array(tmp_path / "b", shape=3, dtype="f8")
    with pytest.raises(StorageError, match="replaces sparse matrices only"):
        save(banded(7, 2), tmp_path / "b", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def group_of(path: Path, A: Any, **attributes: Any) -> None:
    """As another program writes it."""
    group = zarr.create_group(path, attributes={"encoding-type": "csr_matrix", "shape": list(A.shape), **attributes})
    for name in ("data", "indices", "indptr"):
        group.create_array(name, data=getattr(A, name), chunks=(5,))


def test_matrices_of_other_programs(tmp_path: Path) -> None:
    # Compressed, in chunks of their own, columns unsorted and one of them twice.
    data, indices, indptr = np.arange(1.0, 9.0), np.array([3, 0, 2, 2, 1, 4, 0, 3]), np.array([0, 2, 2, 5, 8])
    A = scipy.sparse.csr_array((data, indices, indptr), shape=(4, 5))
    group_of(tmp_path / "a", A)
    found = sparse_stored.open(tmp_path / "a")
    assert found.nnz is None
    expected = A.copy()
    expected.sum_duplicates()
    same(found.to_scipy(), expected)


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"encoding-type": "csc_matrix"}, "is stored by columns"),
        ({"encoding-type": "array"}, "encoding-type is 'array', not 'csr_matrix'"),
        ({"shape": [4]}, "has damaged attributes"),
        ({"shape": [7, 5]}, "not those of a matrix of 7 rows"),
        ({"overspill": {"token": "x"}}, "has damaged attributes"),
        ({"overspill": {"token": "x", "blocks": [[3, 0, 5, 8]]}}, "row blocks that are not its 4 rows"),
        ({"overspill": {"token": "x", "blocks": [[4, 0, 5, 8]]}}, "is not of the save"),
    ],
)
def test_groups_that_are_refused(tmp_path: Path, attributes: dict[str, Any], sentence: str) -> None:
    group_of(tmp_path / "a", scipy.sparse.csr_array(np.eye(4, 5)), **attributes)
    with pytest.raises(StorageError, match=sentence):
        sparse_stored.open(tmp_path / "a")


def test_what_is_no_group(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no Zarr group of a sparse matrix at"):
        sparse_stored.open(tmp_path)
    zarr.create_array(tmp_path / "b", shape=3, dtype="f8")
    with pytest.raises(StorageError, match="is no readable Zarr group"):
        sparse_stored.open(tmp_path / "b")
    group_of(tmp_path / "a", scipy.sparse.csr_array(np.eye(4, 5, dtype=int)))
    with pytest.raises(DTypeError):
        sparse_stored.open(tmp_path / "a")


def test_arrays_that_do_not_fit_each_other(tmp_path: Path) -> None:
    group_of(tmp_path / "a", scipy.sparse.csr_array(np.eye(4, 5)))
    zarr.open_array(tmp_path / "a" / "indptr")[:] = [0, 3, 2, 3, 4]
    with pytest.raises(StorageError, match="indptr that does not lead from 0 up to its 4 entries"):
        sparse_stored.open(tmp_path / "a")
    group_of(tmp_path / "b", scipy.sparse.csr_array(np.eye(4, 5)))
    zarr.open_array(tmp_path / "b" / "indices")[2] = 5
    with pytest.raises(StorageError, match="indptr and indices do not fit"):
        sparse_stored.open(tmp_path / "b").to_scipy()
    fractions = scipy.sparse.csr_array(np.eye(4, 5))
    fractions.indices = fractions.indices + 0.5
    group_of(tmp_path / "c", fractions)
    with pytest.raises(StorageError, match="indices has elements of type float64, not integers"):
        sparse_stored.open(tmp_path / "c")


def test_an_array_of_an_earlier_save_does_not_read_as_a_part(tmp_path: Path) -> None:
    save(banded(9, 1), tmp_path / "a")
    save(banded(9, 1, [1, 2, 3]), tmp_path / "b")
    shutil.rmtree(tmp_path / "a" / "data")
    shutil.copytree(tmp_path / "b" / "data", tmp_path / "a" / "data")
    with pytest.raises(StorageError, match="is not of the save"):
        sparse_stored.open(tmp_path / "a")


def test_attributes_are_what_the_documentation_says(tmp_path: Path) -> None:
    shown = re.search(r"```json\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert shown
    save(poisson((3, 4), blocks=2), tmp_path / "a", token="mine")
    assert json.loads((tmp_path / "a" / "zarr.json").read_text())["attributes"] == json.loads(shown[1])
