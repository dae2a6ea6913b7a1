"""Chunk files read without Zarr hold what Zarr reads from them."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.codecs import BytesCodec

from overspill.storage import raw

VALUES = np.arange(7 * 5 * 6, dtype="f4").reshape(7, 5, 6)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("raw") / "a.zarr"
    array = zarr.create_array(path, shape=VALUES.shape, chunks=(3, 2, 6), dtype="f4", compressors=None)
    array[:] = VALUES
    return path


def parts(length: int) -> st.SearchStrategy[slice]:
    bounds = st.tuples(st.integers(0, length), st.integers(0, length))
    return bounds.map(lambda pair: slice(min(pair), max(pair)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=st.tuples(*map(parts, VALUES.shape)))
def test_any_part(stored: Path, part: tuple[slice, ...]) -> None:
    read = raw.read(stored, part, (3, 2, 6), np.dtype("f4"))
    np.testing.assert_array_equal(read, VALUES[part])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"compressors": None}, True),
        ({"compressors": None, "dtype": "?"}, True),
        ({}, False),
        ({"compressors": None, "serializer": BytesCodec(endian="big")}, False),
        ({"compressors": None, "shards": (4,)}, False),
        ({"compressors": None, "zarr_format": 2}, False),
        ({"compressors": None, "chunk_key_encoding": {"name": "default", "separator": "."}}, False),
        ({"compressors": None, "chunk_key_encoding": {"name": "v2", "separator": "/"}}, False),
    ],
)
def test_what_is_raw(tmp_path: Path, options: dict[str, object], expected: bool) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", **{"shape": (8,), "chunks": (2,), "dtype": "f8", **options})
    assert raw.is_raw(array) is expected
