"""What a product of each element type costs: operations, and bytes per element on a device. Integers only.

Floats and complexes multiply in their own type, float16 accumulates in float32 (on a CPU it is also widened before
the product). Integers are exact: they are split into limbs small enough that float64 products of limbs are exact, and
summed modulo 2**64, which is how NumPy's integers wrap.
"""

from dataclasses import dataclass

FLOATING = {"float16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16}
INTEGER = {"bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8}
SUPPORTED = (*FLOATING, *INTEGER)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Bytes and operations per element of one element type on one device.

    Attributes
    ----------
    itemsize
        Bytes of an element as stored.
    panel_itemsize
        Bytes of an element in a device's panel buffers, of which there are two pairs.
    tile_itemsize
        Bytes per element of the output tile on the device: the accumulator and what converting it needs.
    work_itemsize
        Bytes per element of one pair of panels that the product itself needs besides.
    flop
        Operations of one multiplication and addition.
    rate
        Name of the rate at which they are done.
    """

    itemsize: int
    panel_itemsize: int
    tile_itemsize: int
    work_itemsize: int
    flop: int
    rate: str


def arithmetic(dtype: str, device: str) -> Arithmetic:
    """How elements of `dtype` (a NumPy name among `SUPPORTED`) are multiplied on ``"cpu"`` or ``"cuda"``."""
    if dtype in INTEGER:
        itemsize = INTEGER[dtype]
        # The accumulator, one limb product, and its integer form; per panel the operand as int64, and one float64 limb
        # and what is left of the operand beside it.
        return Arithmetic(itemsize, 8, 8 + 8 + 8 + itemsize, 16, 2, "integer")
    itemsize = FLOATING[dtype]
    flop = 8 if dtype.startswith("complex") else 2
    if dtype == "float16":
        return Arithmetic(2, 4 if device == "cpu" else 2, 4 + 2, 0, flop, dtype)
    return Arithmetic(itemsize, itemsize, itemsize, 0, flop, dtype)
