"""What elementwise functions cost, in additions of float32, by NumPy on a core and by CuPy on a GPU. Integers only.

NumPy's weights are those of its own vectorised loops over blocks that stay in cache, timed on a core with AVX-512.
CuPy's are about the instructions of CUDA's functions, those of sine and cosine from the time of a kernel of both.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operations:
    """The same work as each side would do it.

    Attributes
    ----------
    numpy, cupy
        As many additions of float32 take as long: on a core, in its cache; on a GPU, in its registers.
    """

    numpy: int = 0
    cupy: int = 0

    def __add__(self, other: "Operations") -> "Operations":
        return Operations(self.numpy + other.numpy, self.cupy + other.cupy)

    def __mul__(self, elements: int) -> "Operations":
        return Operations(self.numpy * elements, self.cupy * elements)


NOTHING = Operations()

_SIMPLE = (1, 1, 1)

_WEIGHTS = {
    (1, 3, 8): "divide reciprocal sqrt",
    (2, 5, 16): "exp exp2 expm1 log log2 log10 log1p cbrt sinh cosh tanh arcsin arccos arctan arcsinh arccosh arctanh",
    (2, 5, 40): "tan",
    (2, 23, 32): "sin cos",
    (3, 9, 40): "power float_power arctan2",
    (70, 70, 16): "hypot fmod remainder floor_divide logaddexp logaddexp2",
    (5, 5, 1): "where",
    (5, 5, 5): "moment_chunk",
}
"""By function: NumPy's weight in float32 and in float64, and CuPy's in float32. What is not here weighs one each."""

_WEIGHTS_OF = {name: weights for weights, names in _WEIGHTS.items() for name in names.split()}

_SPELLINGS = {"truediv": "divide", "pow": "power", "mod": "remainder", "floordiv": "floor_divide"}
"""Python's operators that NumPy calls otherwise."""

_HALF = 25
"""NumPy's weight for arithmetic in float16, which goes by way of float32 element by element."""

_COMPLEX = 4
"""Real operations of a complex one, where NumPy has loops that are vectorised too."""

_COMPLEX_FUNCTION = 250
"""NumPy's weight for complex functions other than arithmetic, which call C's an element at a time."""


def weigh(function: str, kind: str, itemsize: int) -> Operations:
    """What `function` costs for an element, by NumPy's or Python's name of it.

    Parameters
    ----------
    function
        Name of a ufunc, an operator or a reduction.
    kind, itemsize
        Of the elements' type, as NumPy has them.

    Examples
    --------
    >>> weigh("add", "f", 4), weigh("sin", "f", 8)
    (Operations(numpy=1, cupy=1), Operations(numpy=23, cupy=64))
    """
    single, double, on_device = _WEIGHTS_OF.get(_SPELLINGS.get(function, function), _SIMPLE)
    if kind == "c":
        on_host = _COMPLEX * double if single == 1 else _COMPLEX_FUNCTION
        return Operations(on_host, _COMPLEX * on_device) * (itemsize // 8)
    if kind == "f" and itemsize == 2:
        return Operations(max(_HALF, single), on_device)
    return Operations(double, 2 * on_device) if itemsize == 8 else Operations(single, on_device)
