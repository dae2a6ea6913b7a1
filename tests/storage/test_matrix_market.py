"""Matrix Market text: what SciPy writes is read alike, in pieces of any size; what is malformed is refused by line."""

import gzip
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array, random_array

from overspill.errors import StorageError, UsageError
from overspill.storage import matrix_market
from overspill.storage.matrix_market_head import open_matrix_market
from overspill.storage.triplets import Triplets

GENERAL = "%%MatrixMarket matrix coordinate real general\n"


def written(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("latin-1"))
    return path


def read(path: Path) -> tuple[Any, int]:
    """The matrix in `path`, and how many entries of the file it comes from."""
    source = open_matrix_market(path)
    found = [pair for part in matrix_market.parts(source) for pair in matrix_market.entries(source, part)]
    count = sum(number for number, _ in found)
    matrix_market.check_count(source, count)
    none = Triplets(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, source.dtype))
    again = [each for part in matrix_market.parts(source) for each in matrix_market.entries_again(source, part)]
    for (_, first), second in zip(found, again, strict=True):
        for one, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(one, other, strict=True)
    triplets = Triplets(*map(np.concatenate, zip(none, *(each for _, each in found), strict=True)))
    return coo_array((triplets.values, (triplets.rows, triplets.columns)), shape=source.shape), count


def same(one: Any, other: Any) -> None:
    np.testing.assert_array_equal(one.toarray(), other.toarray(), strict=True)


VALUES = {
    "real": lambda n: np.linspace(-2, 3, n) * 1e-7,
    "integer": lambda n: np.arange(n) - 4,
    "complex": lambda n: np.linspace(-2, 3, n) * (1 - 2j),
    "pattern": np.ones,
}


def symmetric(field: str, symmetry: str) -> Any:
    lower = random_array((9, 9), density=0.4, rng=np.random.default_rng(3)).tocsr()
    lower.data[:] = 1
    values = coo_array(np.tril(lower.toarray(), -1))
    values = coo_array((VALUES[field](values.nnz), values.coords), shape=(9, 9)).toarray()
    other = {"symmetric": values.T, "skew-symmetric": -values.T, "hermitian": values.conj().T, "general": 0 * values}
    return coo_array(values + other[symmetry])


@pytest.mark.parametrize("suffix", [".mtx", ".mtx.gz"])
@pytest.mark.parametrize(
    ("field", "symmetry"),
    [
        *((field, "general") for field in VALUES),
        *((field, "symmetric") for field in VALUES),
        *((field, "skew-symmetric") for field in ("real", "integer", "complex")),
        ("complex", "hermitian"),
    ],
)
def test_every_kind_is_read_as_scipy_reads_it(tmp_path: Path, field: str, symmetry: str, suffix: str) -> None:
    A = symmetric(field, symmetry)
    stream = io.BytesIO()
    scipy.io.mmwrite(stream, A, field=field, symmetry=symmetry)
    assert f"{field} {symmetry}".encode() in stream.getvalue()
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(stream.getvalue()) if suffix.endswith("gz") else stream.getvalue())
    found, count = read(path)
    expected = scipy.io.mmread(path, spmatrix=False)
    same(found, expected.astype(np.complex128 if field == "complex" else np.float64))
    assert count == (A.nnz if symmetry == "general" else A.nnz // 2)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    part=st.integers(1, 90),
    text=st.integers(1, 40),
    ending=st.sampled_from(["\n", "\r\n", "\n\n \n"]),
    last=st.booleans(),
)
def test_cuts_lose_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int, text: int, ending: str, last: bool
) -> None:
    lines = [f"{i % 5 + 1} {i + 1} {i * 0.3!r}" for i in range(12)]
    end = "" if last else ending
    path = written(tmp_path / "a.mtx", f"{GENERAL}% a word\n\n5 12 12\n{ending.join(lines)}{end}")
    with monkeypatch.context() as patch:
        patch.setattr(matrix_market, "PART_NBYTES", part)
        patch.setattr(matrix_market, "TEXT_NBYTES", text)
        found, count = read(path)
    assert count == 12
    same(found, coo_array((0.3 * np.arange(12), (np.arange(12) % 5, np.arange(12))), shape=(5, 12)))


@pytest.mark.parametrize(
    "text",
    [
        "0 0 0\n",
        "0 4 0",
        "3 0 0\n",
        "3 3 0\n\n",
        "2 2 3\n1 1 1\n1 1 2\n2 2 -4\n",
        "2 2 2\n 1\t1   .5 \n2 2 -5.E+03\r\n",
        "2 2 3\n1 1 nan\n1 2 -Inf\n2 2 infinity\n",
        "1 3000000000 1\n1 2999999999 1e-320\n",
    ],
)
def test_unusual_but_right(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "a.mtx", GENERAL + text)
    found, _ = read(path)
    expected = scipy.io.mmread(path, spmatrix=False)
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found.tocsr().data, expected.tocsr().data)


def test_words_of_the_first_line_in_capitals(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mtx", "%%MatrixMarket MATRIX Coordinate Double GENERAL\n1 1 1\n1 1 7\n")
    assert read(path)[0].toarray() == [[7.0]]


HEADS = {
    "": "first line is not %%MatrixMarket",
    "1 1 1\n1 1 1\n": "first line is not %%MatrixMarket",
    "%%MatrixMarket matrix coordinate real\n1 1 0\n": "line 1: 'matrix coordinate real' is not 'matrix', a format",
    "%%MatrixMarket vector coordinate real general\n1 1 0\n": "line 1: 'vector coordinate real general' is not",
    "%%MatrixMarket matrix sparse real general\n1 1 0\n": "line 1: format 'sparse' is none of coordinate",
    "%%MatrixMarket matrix array real general\n1 1\n1\n": "dense matrix .* CSRMatrix.from_scipy",
    "%%MatrixMarket matrix coordinate quaternion general\n1 1 0\n": "line 1: field 'quaternion' is none of complex, ",
    "%%MatrixMarket matrix coordinate real triangular\n1 1 0\n": "line 1: symmetry 'triangular' is none of general, ",
    "%%MatrixMarket matrix coordinate real hermitian\n1 1 0\n": "line 1: a real matrix cannot be hermitian",
    "%%MatrixMarket matrix coordinate pattern skew-symmetric\n1 1 0\n": "pattern matrix cannot be skew-symmetric",
    "%%MatrixMarket matrix coordinate real symmetric\n2 3 0\n": "line 2: a symmetric matrix is square, not 2 × 3",
    GENERAL: "ends at line 2 without a line of sizes",
    GENERAL + "% a\n% b\n": "ends at line 4 without a line of sizes",
    GENERAL + "% a\n2 2\n1 1 1\n": "line 3: '2 2' is not three sizes",
    GENERAL + "2 -2 1\n": "line 2: '2 -2 1' is not three sizes",
    GENERAL + "2 2 1.5\n": "line 2: '2 2 1.5' is not three sizes",
    GENERAL + "9223372036854775808 2 0\n": "line 2: the size 9223372036854775808 is beyond 64 bits",
}

BODIES = {
    ("real general", "1 1 1\n2 2 2\n"): "line 3 announces 3 entries, but 2 follow: the file is cut short",
    ("real general", "1 1 1\n2 2 2\n3 3 3\n4 4 4\n"): "line 3 announces 3 entries, but 4 follow",
    ("real general", "1 1 1\n2 2 2\n3 3 x\n"): "line 6: '3 3 x' is no real entry",
    ("real general", "1 1 1\n2 2 2x\n3 3 3\n"): "line 5: '2 2 2x' is no real entry",
    ("real general", "1 1 1\n2 2 0x10\n3 3 3\n"): "line 5: '2 2 0x10' is no real entry",
    ("real general", "1 1 1.5D3\n2 2 2\n3 3 3\n"): "line 4: '1 1 1.5D3' is no real entry",
    ("real general", "1 1 1,5\n2 2 2\n3 3 3\n"): "line 4: '1 1 1,5' is no real entry",
    ("real general", "1 1 1.2.3\n2 2 2\n3 3 3\n"): "line 4: '1 1 1.2.3' is no real entry",
    ("real general", "1 1 1e\n2 2 2\n3 3 3\n"): "line 4: '1 1 1e' is no real entry",
    ("real general", "1 1 .\n2 2 2\n3 3 3\n"): "line 4: '1 1 .' is no real entry",
    ("real general", "1.0 1 1\n2 2 2\n3 3 3\n"): "line 4: '1.0 1 1' is no real entry",
    ("real general", "-1 1 1\n2 2 2\n3 3 3\n"): "line 4: '-1 1 1' is no real entry",
    ("real general", "1 1 1\n2 2\n3 3 3\n"): "line 5: '2 2' has 2 numbers, where real entries have 3",
    ("real general", "1 1 1\n\n2 2 2 2\n3 3 3\n"): "line 6: '2 2 2 2' has 4 numbers, where real entries have 3",
    ("real general", "1 1 1\n% two\n2 2 2\n3 3 3\n"): "line 5: '% two' is a comment among the entries",
    ("real general", "1 1 1\n\n0 2 2\n3 3 3\n"): "line 6: row 0 is not from 1 to 4",
    ("real general", "1 1 1\n5 2 2\n3 3 3\n"): "line 5: row 5 is not from 1 to 4",
    ("real general", "1 1 1\n2 2 2\n3 9 3\n"): "line 6: column 9 is not from 1 to 4",
    ("real general", "1 1 1\n99999999999999999999 2 2\n3 3 3\n"): "line 5: row 99999999999999999999 is not from 1",
    ("integer general", "1 1 1\n2 2 2.5\n3 3 3\n"): "line 5: '2 2 2.5' is no integer entry",
    (
        "integer general",
        "1 1 1\n2 2 9007199254740993\n3 3 3\n",
    ): r"line 5: '2 2 9007199254740993' has an integer",
    ("integer general", "1 1 1\n2 2 99999999999999999999\n3 3 3\n"): r"line 5: '2 2 9{20}' has an integer beyond",
    ("complex general", "1 1 1 0\n2 2 2\n3 3 3 0\n"): "line 5: '2 2 2' has 3 numbers, where complex entries have 4",
    ("pattern general", "1 1\n2 2 1\n3 3\n"): "line 5: '2 2 1' has 3 numbers, where pattern entries have 2",
    ("real symmetric", "1 1 1\n\n1 2 2\n3 3 3\n"): "line 6: '1 2 2' lies above the diagonal",
    ("real skew-symmetric", "2 1 1\n2 2 2\n3 1 3\n"): "line 5: '2 2 2' lies on the diagonal, which is zero",
    ("complex hermitian", "2 1 1 1\n2 2 2 1\n3 1 3 0\n"): "line 5: '2 2 2 1' lies on the diagonal .* is not real",
}


@pytest.mark.parametrize(("head", "sentence"), HEADS.items())
def test_malformed_heads(tmp_path: Path, head: str, sentence: str) -> None:
    path = written(tmp_path / "a.mtx", head)
    with pytest.raises(StorageError, match=sentence) as caught:
        open_matrix_market(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("suffix", [".mtx", ".mtx.gz"])
@pytest.mark.parametrize(("kind", "body"), BODIES)
def test_malformed_bodies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, body: str, suffix: str) -> None:
    # Parts of few bytes: line numbers count from the beginning of the file, not of what a task reads.
    monkeypatch.setattr(matrix_market, "PART_NBYTES", 9)
    monkeypatch.setattr(matrix_market, "TEXT_NBYTES", 5)
    path = tmp_path / f"a{suffix}"
    text = f"%%MatrixMarket matrix coordinate {kind}\n% Grüße\n4 4 3\n{body}".encode()
    path.write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    with pytest.raises(StorageError, match=BODIES[kind, body]) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"a\.mtx cannot be read: No such file"):
        open_matrix_market(tmp_path / "a.mtx")
    with pytest.raises(StorageError, match="cannot be read: Is a directory"):
        open_matrix_market(tmp_path)
    with pytest.raises(UsageError, match="is a URL"):
        open_matrix_market("https://example.org/a.mtx")


def test_damaged_gzip(tmp_path: Path) -> None:
    path = tmp_path / "a.mtx.gz"
    path.write_bytes(GENERAL.encode())
    with pytest.raises(StorageError, match="no whole gzip file"):
        open_matrix_market(path)
    whole = gzip.compress((GENERAL + "90 90 90\n" + "".join(f"{i} {i} {i / 7}\n" for i in range(1, 91))).encode())
    path.write_bytes(whole[:-60])
    with pytest.raises(StorageError, match="no whole gzip file"):
        read(path)


def test_a_file_that_changes_is_not_read_on(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mtx", GENERAL + "1 1 1\n1 1 1\n")
    source = open_matrix_market(path)
    os.utime(path, ns=(0, 0))
    with pytest.raises(StorageError, match="was changed or replaced since it was opened"):
        list(matrix_market.entries(source, matrix_market.parts(source)[0]))
