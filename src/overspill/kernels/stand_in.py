"""Stand-ins for arrays whose elements are not known yet: they note what is done to them, or name what they cannot."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from overspill.kernels.expression import Call, Value


class NotFusableError(BaseException):
    """An operation that no expression can hold; the message names it.

    No `Exception`, lest a traced function catch it and go another way than it would with arrays.
    """


class Tracer:
    """Notes calls in the order in which they are made."""

    def __init__(self) -> None:
        self.dtypes: list[np.dtype[Any]] = []
        self.calls: list[Call] = []
        self.inputs = 0
        self._known: dict[str, int] = {}

    def stand_in(self, dtype: np.dtype[Any]) -> "StandIn":
        """A stand-in for another input, of elements of type `dtype`."""
        assert not self.calls, "inputs come first"
        self.dtypes.append(dtype)
        self.inputs += 1
        return StandIn(self, self.inputs - 1)

    def call(self, function: str, operands: Sequence[Any], dtype: np.dtype[Any]) -> "StandIn":
        """Note a call; one that has been made before is not made again."""
        if any(isinstance(x, StandIn) and x._tracer is not self for x in operands):
            raise NotFusableError(f"{function} of arrays of another fused function")
        noted = tuple(Value(x._number) if isinstance(x, StandIn) else _scalar(x) for x in operands)
        call = Call(function, noted, dtype)
        number = self._known.setdefault(repr(call), len(self.dtypes))  # equal zeros differ in their signs
        if number == len(self.dtypes):
            self.calls.append(call)
            self.dtypes.append(dtype)
        return StandIn(self, number)

    def ufunc(self, ufunc: np.ufunc, operands: Sequence[Any]) -> "StandIn":
        """Note a call of one of NumPy's ufuncs."""
        name = ufunc.__name__
        if getattr(np, name, None) is not ufunc or ufunc.nout != 1 or ufunc.signature is not None:
            raise NotFusableError(name)
        if name.startswith("logical_"):  # of complex numbers not every library has them
            operands = [x != 0 if isinstance(x, StandIn) and x.dtype.kind == "c" else x for x in operands]
        types = [self.type_of(name, x) for x in operands]
        try:
            resolved = ufunc.resolve_dtypes((*types, None))
        except TypeError as error:
            raise NotFusableError(f"{name} ({error})") from None
        typed = [_typed(x, dtype) for x, dtype in zip(operands, resolved[:-1], strict=True)]
        return self.call(name, typed, resolved[-1])

    def type_of(self, name: str, x: Any) -> Any:
        """How NumPy sees an operand when it looks for the type of a result: Python's numbers take the arrays' types."""
        if isinstance(x, StandIn):
            return x.dtype
        if isinstance(x := _scalar(x), np.generic):
            return x.dtype
        if isinstance(x, bool):
            return np.dtype(bool)
        if isinstance(x, int | float | complex):
            return type(x)
        raise NotFusableError(f"{name} of a {type(x).__name__}")


def _scalar(x: Any) -> Any:
    """The element of an array without dimensions; anything else as it is."""
    return x[()] if type(x) is np.ndarray and not x.ndim else x


def _typed(x: Any, dtype: np.dtype[Any]) -> Any:
    """A number of Python's in the type that it takes here, which is NumPy's rule but not every library's."""
    if isinstance(x, StandIn | np.generic | np.ndarray):
        return x
    try:
        return np.asarray(x, dtype)[()]
    except OverflowError:
        return x  # to compare with it is no error


def _refusing(operation: str) -> Any:
    def refuse(*arguments: Any, **keywords: Any) -> Any:
        raise NotFusableError(operation)

    return refuse


class StandIn(np.lib.mixins.NDArrayOperatorsMixin):
    """Stands for an array whose elements are not known yet."""

    def __init__(self, tracer: Tracer, number: int) -> None:
        self._tracer = tracer
        self._number = number
        self._shares = False  # its elements with another stand-in, as parts of complex numbers do

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """What `isinstance` is to see."""
        return np.ndarray

    @property
    def dtype(self) -> np.dtype[Any]:
        """The element type."""
        return self._tracer.dtypes[self._number]

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> "StandIn":
        if method != "__call__":
            raise NotFusableError(f"{ufunc.__name__}.{method}")
        out = keywords.pop("out", ())
        if keywords or (out and out[0] is not self):
            raise NotFusableError(f"{ufunc.__name__} with {', '.join(keywords) or 'out'}")
        result = self._tracer.ufunc(ufunc, inputs)
        if not out:
            return result
        # In place: whoever has this array sees the new elements, in its type; the argument itself stays as it is.
        if self._shares or not np.can_cast(result.dtype, self.dtype, "same_kind"):
            raise NotFusableError(f"{ufunc.__name__} in place, of {result.dtype} in {self.dtype},")
        self._number = (result if result.dtype == self.dtype else result.astype(self.dtype))._number
        return self

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        noted = _FUNCTIONS.get(func)
        if noted is None or kwargs:
            raise NotFusableError(func.__name__)
        try:
            return noted(self._tracer, *args)
        except TypeError:
            raise NotFusableError(f"{func.__name__} with {len(args)} arguments") from None

    def __pow__(self, exponent: Any) -> Any:
        # NumPy's own operator takes the same shortcuts, which are many times as fast.
        if type(exponent) in (int, float) and exponent in _SHORTCUTS and (exponent == 2 or self.dtype.kind in "fc"):
            return _SHORTCUTS[exponent](self)
        return np.power(self, exponent)

    def astype(self, dtype: Any, copy: bool = True) -> "StandIn":
        """Cast."""
        if np.dtype(dtype).kind not in "biufcmM":
            raise NotFusableError(f"astype to {np.dtype(dtype)}")
        return self._tracer.call("astype", (self,), np.dtype(dtype))

    def conj(self) -> Any:
        """Complex conjugate."""
        return np.conjugate(self)

    conjugate = conj

    @property
    def real(self) -> Any:
        """Real part."""
        return _part(self._tracer, "real", self)

    @property
    def imag(self) -> Any:
        """Imaginary part."""
        return _part(self._tracer, "imag", self)

    __bool__ = _refusing("a decision on elements (if, and, or, not, while; there is numpy.where)")
    __float__ = _refusing("float() of an element, as math's functions take it,")
    __int__ = _refusing("int()")
    __complex__ = _refusing("complex() of an element, as cmath's functions take it,")
    __index__ = _refusing("indexing with elements")
    __len__ = _refusing("len()")
    __iter__ = _refusing("iteration")
    __getitem__ = _refusing("indexing")
    __array__ = _refusing("making an array of an array, as numpy.asarray does,")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise NotFusableError(f".{name}")


def _where(tracer: Tracer, condition: Any, x: Any, y: Any) -> StandIn:
    types = [tracer.type_of("where", each) for each in (x, y)]
    # Of Python's numbers only their kind counts, which a zero of theirs has too.
    samples = [kind(0) if isinstance(kind, type) else np.empty(0, kind) for kind in types]
    dtype = np.result_type(*samples)
    # A number of Python's that the type cannot hold wraps round here, where in arithmetic it is an error.
    x, y = (each if isinstance(each, StandIn) else np.asarray(each).astype(dtype)[()] for each in (x, y))
    if tracer.type_of("where", condition) != np.dtype(bool):
        condition = tracer.ufunc(np.not_equal, (condition, 0))
    return tracer.call("where", (condition, x, y), dtype)


def _clip(tracer: Tracer, x: Any, low: Any, high: Any) -> Any:
    if isinstance(x, StandIn) and x.dtype.kind in "iu":
        limits = np.iinfo(x.dtype)
        low = None if type(low) is int and low <= limits.min else low
        high = None if type(high) is int and high >= limits.max else high
    bounded = tracer.ufunc(np.positive, (x,)) if low is None else tracer.ufunc(np.maximum, (x, low))
    return bounded if high is None else tracer.ufunc(np.minimum, (bounded, high))


def _part(tracer: Tracer, name: str, x: StandIn) -> StandIn:
    if x.dtype.kind == "c":
        part = tracer.call(name, (x,), np.empty(0, x.dtype).real.dtype)
        part._shares = x._shares = True
        return part
    return x if name == "real" else tracer.call("imag", (x,), x.dtype)


_SHORTCUTS: dict[float, np.ufunc] = {-1: np.reciprocal, 0.5: np.sqrt, 1: np.positive, 2: np.square}

_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.where: _where,
    np.clip: _clip,
    np.real: lambda tracer, x: _part(tracer, "real", x),
    np.imag: lambda tracer, x: _part(tracer, "imag", x),
}
