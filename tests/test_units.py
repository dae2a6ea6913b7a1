import pytest
from hypothesis import given
from hypothesis import strategies as st

from overspill.errors import UsageError
from overspill.units import format_nbytes, format_rate, format_seconds, parse_nbytes


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("48MiB", 48 * 2**20),
        ("2 GB", 2 * 10**9),
        ("1kiB", 1024),
        ("17", 17),
        (17, 17),
        (1.5, 1),
        ("0", 0),
        ("1e3", 1000),
    ],
)
def test_sizes_are_read_as_people_write_them(text: object, nbytes: int) -> None:
    assert parse_nbytes(text) == nbytes


@pytest.mark.parametrize("text", ["", "MiB", "MiBs", "12 parsecs", None, [1], float("nan"), float("inf"), -1, "-3MiB"])
def test_what_is_no_size_is_named_in_the_error(text: object) -> None:
    with pytest.raises(UsageError) as caught:
        parse_nbytes(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (131 * 2**20, "131 MiB"), (2**60, "1024 PiB")],
)
def test_bytes_are_written_in_binary_units(nbytes: int, text: str) -> None:
    assert format_nbytes(nbytes) == text


@given(st.integers(0, 2**59))
def test_written_bytes_read_back_to_three_digits(nbytes: int) -> None:
    assert parse_nbytes(format_nbytes(nbytes)) == pytest.approx(nbytes, rel=6e-3, abs=1)


@pytest.mark.parametrize(
    ("rate", "text"), [(0, "0 FLOP/s"), (999, "999 FLOP/s"), (1e3, "1 kFLOP/s"), (55.5e9, "55.5 GFLOP/s")]
)
def test_rates_are_written_in_decimal_units(rate: float, text: str) -> None:
    assert format_rate(rate, "FLOP/s") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 µs"),
        (2.5e-6, "2.5 µs"),
        (0.0009996, "1000 µs"),
        (0.9996, "1000 ms"),
        (1, "1 s"),
        (59.5, "59.5 s"),
        (60, "1 min 0 s"),
        (3599.7, "1 h 0 min"),
        (7170, "2 h 0 min"),
        (90000, "25 h 0 min"),
    ],
)
def test_seconds_are_written_in_the_unit_a_person_would_choose(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
