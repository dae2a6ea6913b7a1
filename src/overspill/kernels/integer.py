"""Exact products of integer matrices, on NumPy or CuPy, at the speed of float64 products.

Each operand is written as a sum of limbs of `w` bits, so small that a float64 product of two limbs over K terms stays
below 2**53 and is exact in whatever order it is summed (the error-free splitting of Ozaki, Ogita, Oishi and Rump, 2012,
for integers). Limb products are shifted into place and summed as int64, whose overflow wraps modulo 2**64: NumPy's own
rule for integers, for the narrower types after they are cut to size.
"""

from typing import Any

from overspill.backend import array_namespace

EXACT_BITS = 53


def add_product(a: Any, b: Any, total: Any) -> None:
    """Add ``a @ b`` to `total`, modulo 2**64.

    Parameters
    ----------
    a, b
        Integer or boolean matrices of shape (m, k) and (k, n).
    total
        int64 matrix of shape (m, n).
    """
    width = (EXACT_BITS - (a.shape[1] - 1).bit_length()) // 2
    shifts_a, shifts_b = range(0, _bits(a), width), range(0, _bits(b), width)
    for shift_a in shifts_a:
        limb_a = _limb(a, shift_a, width, last=shift_a == shifts_a[-1])
        for shift_b in shifts_b:
            if shift_a + shift_b < 64:
                product = limb_a @ _limb(b, shift_b, width, last=shift_b == shifts_b[-1])
                part = product.astype("int64")
                part <<= shift_a + shift_b
                total += part


def _bits(x: Any) -> int:
    """Bits that the numbers in `x` take, sign apart; at least 1."""
    if x.dtype.kind == "b":
        return 1
    high, low = int(x.max()), int(x.min())
    bits = max(high.bit_length(), (~low).bit_length() if low < 0 else 0, 1)
    return min(bits, 64)


def _limb(x: Any, shift: int, width: int, *, last: bool) -> Any:
    """Bits ``[shift, shift + width)`` of `x` as float64; the last limb keeps the sign."""
    xp = array_namespace(x)
    limb = x.astype(xp.int64)
    limb >>= shift
    if not last:
        limb &= (1 << width) - 1
    return limb.astype(xp.float64)
