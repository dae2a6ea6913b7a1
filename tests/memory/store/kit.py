"""What every mapping of results must do, whatever it does with them meanwhile; and values to try it with."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from memory.store.fake import FakeArray, FakeCSR
from overspill.memory.store.packing import SMALLEST_NBYTES

BLOCK = SMALLEST_NBYTES
"""Bytes of the smallest array that lies in a frame of its own."""

PLENTY = 2**40
"""A limit that nothing meets."""

ROWS = SMALLEST_NBYTES // 64
"""Rows of an 8-column float64 array just large enough to lie in frames of its own."""

Make = Callable[[Any], Any]
"""Puts a NumPy array where the values under test have theirs."""


@dataclasses.dataclass
class Pair:
    left: Any
    right: Any


class Opaque:
    """An object whose arrays the store does not see until it is pickled."""

    def __init__(self, x: Any) -> None:
        self.x = x


def block(fill: int, blocks: int = 1) -> Any:
    return np.full(blocks * BLOCK, fill, np.uint8)


def ramp(dtype: Any = "f8", rows: int = ROWS) -> Any:
    return np.arange(rows * 8).reshape(rows, 8).astype(dtype)


def shared(make: Make) -> list[Any]:
    base = make(ramp())
    return [base[: ROWS // 2], base[ROWS // 4 :], base[::-1], base.T, base]


def csr(make: Make) -> Any:
    """A sparse matrix: SciPy's, or where `make` makes arrays of a device, that device's."""
    A = scipy.sparse.random(2000, 2000, 0.01, "csr", rng=np.random.default_rng(0))
    data = make(A.data)
    if isinstance(data, np.ndarray):
        return A
    if isinstance(data, FakeArray):
        return FakeCSR(data, make(A.indices), make(A.indptr), A.shape)
    import cupyx.scipy.sparse

    return cupyx.scipy.sparse.csr_matrix(A)


structured = np.dtype([("name", "S5"), ("at", "M8[s]"), ("x", "f4", (2,))])

VALUES: dict[str, Callable[[Make], Any]] = {
    "none": lambda make: None,
    "number": lambda make: 3.5,
    "text": lambda make: "täxt" * 1000,
    "small array": lambda make: make(np.arange(5)),
    "array": lambda make: make(ramp()),
    "array of one element": lambda make: make(np.array(7.5)),
    "array without elements": lambda make: make(np.empty((0, 5), "f4")),
    "NumPy scalar": lambda make: np.float32(2.5),
    "column order": lambda make: make(np.asfortranarray(ramp())),
    "turned round": lambda make: make(ramp())[::-1, ::-2],
    "every other row": lambda make: make(ramp(rows=3 * ROWS))[1::2],
    "transposed": lambda make: make(np.arange(ROWS * 8.0).reshape(2, -1, 8)).T,
    "a window": lambda make: make(ramp(rows=4 * ROWS))[ROWS : 2 * ROWS, 1:7],
    "half precision": lambda make: make(ramp("f2", 4 * ROWS)),
    "booleans": lambda make: make(ramp("i8", 9 * ROWS) % 3 == 0),
    "complex": lambda make: make(ramp() * (1 + 2j)),
    "views sharing a base": shared,
    "the same array twice": lambda make: [make(ramp())] * 2,
    "sparse matrix": csr,
    "dictionary": lambda make: {"a": make(ramp()), ("b", 1): [make(np.ones(3)), None], 3: {"d": (make(ramp("i4")),)}},
    "dataclass": lambda make: Pair(make(ramp()), Pair(csr(make), {make(ramp("u1")).dtype.str})),
    "device and host": lambda make: (make(ramp()), ramp("i8"), make(np.empty(0)), "text"),
    "long list": lambda make: [*range(20_000), make(ramp())],
    "nothing": lambda make: (),
}
"""Values by name, made of arrays where the mapping under test has its own."""

HOST_VALUES: dict[str, Callable[[], Any]] = {
    "other byte order": lambda: ramp(">f8"),
    "structured": lambda: np.zeros(ROWS * 8, structured),
    "dates": lambda: ramp("M8[D]"),
    "durations": lambda: ramp("m8[ns]"),
    "texts": lambda: np.full(ROWS * 8, "tëxt"),
    "objects": lambda: np.array([None, "a", {"b": [1, 2]}] * 5000, object),
    "broadcast": lambda: np.broadcast_to(np.arange(8.0), (ROWS, 8)),
    "broadcast from one element": lambda: np.broadcast_to(np.float64(3), (ROWS, 8, 2)),
    "masked": lambda: np.ma.masked_greater(ramp(), 100),
    "not a tile's type": lambda: np.rec.array([(1, 2.5)] * ROWS, names="a,b"),
    "sparse array in coordinates": lambda: scipy.sparse.coo_array(np.eye(300)),
    "read-only": lambda: np.frombuffer(bytes(range(256)) * 512, np.uint8),
}
"""Values that only host memory can hold."""


def content(x: Any) -> Any:
    """`x` with its device arrays in host memory."""
    if isinstance(x, FakeCSR):
        return scipy.sparse.csr_matrix((content(x.data), content(x.indices), content(x.indptr)), x.shape)
    if hasattr(x, "get") and not isinstance(x, Mapping):
        return x.get()
    return x


def assert_same(actual: Any, expected: Any) -> None:
    """Equal in value, type and element type, all the way down, wherever arrays lie."""
    actual, expected = content(actual), content(expected)
    if scipy.sparse.issparse(expected):
        assert actual.shape == expected.shape
        assert actual.format == expected.format
        assert_same(actual.toarray(), expected.toarray())
        return
    assert type(actual) is type(expected)
    if isinstance(expected, np.ma.MaskedArray):
        assert_same(actual.filled(-1), expected.filled(-1))
    elif isinstance(expected, np.ndarray):
        assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
        assert (actual == expected).all()
    elif isinstance(expected, Mapping):
        assert list(actual) == list(expected)
        assert_same(list(actual.values()), list(expected.values()))
    elif isinstance(expected, list | tuple) and len(expected) < 1000:
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, list):
        assert actual[:-1] == expected[:-1]
        assert_same(actual[-1], expected[-1])
    elif dataclasses.is_dataclass(expected):
        assert_same(vars(actual), vars(expected))
    else:
        assert actual == expected


def check_mapping(mapping: MutableMapping[Any, Any], make: Make, rest: Callable[[], object]) -> None:
    """Every operation of a mapping; `rest` lets the mapping move its values meanwhile."""
    keys = ["x", "('x', 0)", ("x", 0), ("x", ("y", 1)), b"x", 0, 1.5, frozenset("ab")]
    assert list(mapping) == []
    assert len(mapping) == 0
    for number, key in enumerate(keys):
        assert key not in mapping
        mapping[key] = make(np.full((ROWS, 8), number))
        assert key in mapping
        assert len(mapping) == number + 1
    rest()
    assert list(mapping) == keys
    assert list(mapping.keys()) == keys
    for number, (key, value) in enumerate(mapping.items()):
        assert key == keys[number]
        assert_same(value, np.full((ROWS, 8), number))
    rest()
    check_missing(mapping)
    mapping["x"] = make(np.full((ROWS, 8), -1))
    rest()
    mapping["x"] = make(np.full((ROWS, 8), -2))
    assert_same(mapping["x"], np.full((ROWS, 8), -2))
    rest()
    assert_same(mapping["x"], np.full((ROWS, 8), -2))
    assert sorted(map(repr, mapping)) == sorted(map(repr, keys))
    del mapping["x"]
    rest()
    assert "x" not in mapping
    mapping["x"] = None
    rest()
    assert mapping["x"] is None
    assert mapping.get("x", 3) is None
    assert mapping.pop("x") is None
    assert_same(mapping.pop(b"x"), np.full((ROWS, 8), 4))
    mapping.update({"y": make(ramp()), "z": 2})
    rest()
    assert_same(mapping["y"], ramp())
    assert_same(mapping.setdefault("y", 5), ramp())
    assert mapping.setdefault("w", 5) == 5
    mapping.clear()
    rest()
    assert list(mapping) == []
    check_missing(mapping)


def check_missing(mapping: MutableMapping[Any, Any]) -> None:
    for absent in ("absent", ("absent", 0), b"absent"):
        assert absent not in mapping
        assert mapping.get(absent) is None
        with pytest.raises(KeyError, match="absent"):
            mapping[absent]
        with pytest.raises(KeyError, match="absent"):
            del mapping[absent]
        with pytest.raises(KeyError, match="absent"):
            mapping.pop(absent)


def check_values(mapping: MutableMapping[Any, Any], values: Mapping[str, Any], rest: Callable[[], object]) -> None:
    """What was put in comes back, at once, again, and in any order; `values` are the same in host memory."""
    for _ in range(2):
        for name in itertools.chain(values, reversed(values)):
            assert_same(mapping[name], values[name])
        rest()
