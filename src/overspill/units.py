"""Bytes, seconds and rates: from what people write, and back to what people read."""

from dask.utils import parse_bytes as _parse_bytes

from overspill.errors import UsageError

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_DECIMAL = ("", "k", "M", "G", "T", "P")


def parse_nbytes(text: str | int | float) -> int:
    """A number of bytes from ``"48MiB"``, ``"2 GB"`` or a plain number.

    Raises
    ------
    UsageError
        If the text is no size, or is negative.

    Examples
    --------
    >>> parse_nbytes("48MiB")
    50331648
    """
    try:
        if isinstance(text, str) and not any(character.isdigit() for character in text):
            raise ValueError  # Dask reads "" as one byte and "MiB" as one of them
        nbytes = int(_parse_bytes(text))
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise UsageError(f"{text!r} is not a size in bytes: write it like 48MiB, 2GB or 1000000") from None
    if nbytes < 0:
        raise UsageError(f"{text!r} is negative: a size in bytes is 0 or more")
    return nbytes


def format_nbytes(nbytes: float) -> str:
    """Bytes in binary units with three significant digits.

    Examples
    --------
    >>> format_nbytes(50331648), format_nbytes(1000)
    ('48 MiB', '1000 B')
    """
    return _scaled(nbytes, 1024, _BINARY)


def format_rate(per_s: float, unit: str) -> str:
    """A rate in decimal units, as vendors and papers give it.

    Examples
    --------
    >>> format_rate(219e12, "FLOP/s")
    '219 TFLOP/s'
    """
    return _scaled(per_s, 1000, tuple(prefix + unit for prefix in _DECIMAL))


def format_seconds(seconds: float) -> str:
    """A duration in the unit a person would choose.

    Examples
    --------
    >>> format_seconds(0.0042), format_seconds(75.2), format_seconds(7300)
    ('4.2 ms', '1 min 15 s', '2 h 2 min')
    """
    if seconds < 1e-3:
        return f"{_digits(seconds * 1e6)} µs"
    if seconds < 1:
        return f"{_digits(seconds * 1e3)} ms"
    if seconds < 60:
        return f"{_digits(seconds)} s"
    if (whole := round(seconds)) < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def _scaled(value: float, base: int, units: tuple[str, ...]) -> str:
    index = 0
    while value >= base and index < len(units) - 1:
        value /= base
        index += 1
    return f"{_digits(value)} {units[index]}"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
