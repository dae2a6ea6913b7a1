"""Matrices from Matrix Market and .npz files: as SciPy reads them, however the text and the matrix are cut."""

import gzip
import os
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from dask._task_spec import Task

from overspill.errors import ArrayError, DTypeError, StorageError
from overspill.sparse import CSRMatrix
from overspill.sparse.files import from_matrix_market, from_npz
from overspill.storage import matrix_market
from overspill.storage.matrix_market_head import open_matrix_market

REAL_FILES = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def synchronous() -> Any:
    with dask.config.set(scheduler="synchronous"):
        yield


def same(found: Any, expected: Any) -> None:
    """Bit for bit, entry for entry."""
    expected = scipy.sparse.csr_array(expected)
    assert found.has_canonical_format
    assert (found.shape, found.nnz, found.dtype) == (expected.shape, expected.nnz, expected.dtype)
    np.testing.assert_array_equal(found.indptr, expected.indptr)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.data, expected.data)


def written(path: Path, A: Any, **given: Any) -> Path:
    with gzip.open(path, "wb") if path.suffix == ".gz" else path.open("wb") as stream:
        scipy.io.mmwrite(stream, A, **given)
    return path


@pytest.mark.parametrize("suffix", [".mtx", ".mtx.gz"])
@pytest.mark.parametrize("blocks", [None, 1, 5])
@pytest.mark.parametrize("part", [2**26, 1000])
def test_a_file_is_read_as_scipy_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, blocks: int | None, part: int
) -> None:
    monkeypatch.setattr(matrix_market, "PART_NBYTES", part)
    lower = scipy.sparse.random_array((60, 60), density=0.1, rng=np.random.default_rng(1), dtype="c16")
    path = written(tmp_path / f"a{suffix}", lower + lower.conj().T, symmetry="hermitian")
    A = from_matrix_market(path, blocks=blocks)
    assert len(A.blocks) == (blocks or 1)
    same(A.to_scipy(), scipy.io.mmread(path, spmatrix=False).tocsr())


@pytest.mark.parametrize("name", ["bcsstk13", "rajat01", "bcspwr10"])
@pytest.mark.skipif(not REAL_FILES.is_dir(), reason="needs shared/data beside the repository")
def test_products_with_real_matrices_are_exact(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(matrix_market, "PART_NBYTES", 2**17)
    path = REAL_FILES / f"{name}.mtx"
    expected = scipy.io.mmread(path, spmatrix=False).tocsr()
    A = from_matrix_market(path, blocks=4)
    same(A.to_scipy(), expected)
    # Small integers: sums of a pattern's products are exact in any order, the others' in the order of the columns.
    x = np.arange(A.shape[1]) % 7 - 3.0
    np.testing.assert_array_equal((A @ x).compute(), expected @ x)
    if name != "bcsstk13":
        np.testing.assert_array_equal((A.T @ x).compute(), expected.T @ x)


def test_entries_of_one_place_are_summed_across_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_market, "PART_NBYTES", 7)
    lines = "".join(f"{1 + i % 2} {1 + i % 3} {2**i}\n" for i in range(12))
    path = tmp_path / "a.mtx"
    path.write_text(f"%%MatrixMarket matrix coordinate integer general\n4 3 12\n{lines}")
    same(from_matrix_market(path, blocks=2).to_scipy(), scipy.io.mmread(path, spmatrix=False).tocsr().astype(float))


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (5, 4), (1, 1)])
def test_without_entries(tmp_path: Path, shape: tuple[int, int]) -> None:
    A = from_matrix_market(written(tmp_path / "a.mtx", scipy.sparse.coo_array(shape)), blocks=2)
    same(A.to_scipy(), scipy.sparse.csr_array(shape))


def test_blocks_are_balanced_and_windows_are_tight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    band = scipy.sparse.diags_array([1.0, 2.0, 3.0], offsets=[-1, 0, 1], shape=(90, 90))
    path = written(tmp_path / "a.mtx", band)
    for part in (2**26, 50):
        monkeypatch.setattr(matrix_market, "PART_NBYTES", part)
        A = from_matrix_market(path, blocks=3)
        assert set(A.row_chunks) <= {29, 30, 31}
        stops = np.cumsum(A.row_chunks).tolist()
        expected = [
            (max(0, stop - rows - 1), min(90, stop + 1)) for stop, rows in zip(stops, A.row_chunks, strict=True)
        ]
        assert [block.columns for block in A.blocks] == expected


def test_rows_beyond_the_bins_of_a_survey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overspill.sparse.triplets.MOST_BINS", 7)
    tall = scipy.sparse.random_array((100, 5), density=0.3, rng=np.random.default_rng(2))
    path = written(tmp_path / "a.mtx", tall)
    A = from_matrix_market(path, blocks=4)
    assert len(A.blocks) == 4 and max(A.row_chunks) <= 45
    same(A.to_scipy(), scipy.io.mmread(path, spmatrix=False).tocsr())


@pytest.mark.parametrize("dtype", ["f4", "c8", "c16"])
def test_dtypes_to_read_as(tmp_path: Path, dtype: str) -> None:
    path = written(tmp_path / "a.mtx", scipy.sparse.eye_array(4) / 3)
    same(from_matrix_market(path, dtype=dtype).to_scipy(), (scipy.sparse.eye_array(4) / 3).astype(dtype))


def test_what_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mtx", scipy.sparse.eye_array(4) * 1j)
    with pytest.raises(DTypeError, match="holds complex values, which float64 does not"):
        from_matrix_market(path, dtype="f8")
    with pytest.raises(ArrayError, match="blocks=0 is no count"):
        from_matrix_market(path, blocks=0)
    text = path.read_text().replace("4 4 4\n", "4 4 5\n")
    path.write_text(text)
    with pytest.raises(StorageError, match=r"a\.mtx, line 3 announces 5 entries, but 4 follow"):
        from_matrix_market(path)
    path.write_text(text.replace("4 4 5\n", "4 4 4\n").replace("3 3 0", "3 7 0"))
    with pytest.raises(StorageError, match=r"a\.mtx, line 6: column 7 is not from 1 to 4"):
        from_matrix_market(path)


def test_a_file_replaced_before_the_matrix_is_computed(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mtx", scipy.sparse.eye_array(4))
    A = from_matrix_market(path)
    name = A.name
    os.utime(path, ns=(0, 0))
    with pytest.raises(StorageError, match="was changed or replaced"):
        A.to_scipy()
    assert from_matrix_market(path).name != name


def test_each_part_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_market, "PART_NBYTES", 300)
    path = written(tmp_path / "a.mtx", scipy.sparse.eye_array(50))
    A = from_matrix_market(path, blocks=4)
    (optimized,) = dask.optimize(A)
    reading = [task for task in dict(optimized.dask).values() if isinstance(task, Task) and "cut_up" in repr(task)]
    assert len(reading) == len(matrix_market.parts(open_matrix_market(path))) > 1


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr", "dia"])
def test_npz_of_every_format(tmp_path: Path, kind: str) -> None:
    B = scipy.sparse.random_array((12, 9), density=0.3, format="coo", rng=np.random.default_rng(2)).asformat(kind)
    scipy.sparse.save_npz(tmp_path / "a.npz", B)
    A = from_npz(tmp_path / "a.npz", blocks=3)
    assert isinstance(A, CSRMatrix) and len(A.blocks) == 3
    np.testing.assert_array_equal(A.to_scipy().toarray(), B.toarray())


def test_npz_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"a\.npz cannot be read: No such file"):
        from_npz(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    with pytest.raises(StorageError, match="holds no sparse matrix as scipy.sparse.save_npz writes it"):
        from_npz(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(b"PK but no more than that")
    with pytest.raises(StorageError, match="holds no sparse matrix"):
        from_npz(tmp_path / "b.npz")
    np.save(tmp_path / "c", np.ones(3))
    np.savez(tmp_path / "d.npz", format=b"dok", shape=(3, 3), data=np.ones(3))
    scipy.sparse.save_npz(tmp_path / "e.npz", scipy.sparse.eye_array(500, format="csr"))
    damaged = bytearray((tmp_path / "e.npz").read_bytes())
    damaged[60:100] = bytes(40)  # of what is compressed
    (tmp_path / "e.npz").write_bytes(damaged)
    for name in ("c.npy", "d.npz", "e.npz"):
        with pytest.raises(StorageError, match="holds no sparse matrix"):
            from_npz(tmp_path / name)
