"""What a check of a result says."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """Whether a result is right, how far off it is, and how far off it may be.

    Attributes
    ----------
    passed
        Whether `error` stays within `bound`.
    summary
        One line for people: what was checked, how, and with what outcome.
    error
        The deviation found, in whatever measure the summary names.
    bound
        The deviation allowed.

    Examples
    --------
    >>> from overspill.ops.check import Check
    >>> Check(passed=2 + 2 == 4, summary="two and two are four", error=0.0, bound=0.0).passed
    True
    """

    passed: bool
    summary: str
    error: float = 0.0
    bound: float = 0.0

    def __post_init__(self) -> None:
        # Comparisons and errors are NumPy scalars as often as not, and a report is written in JSON's types.
        object.__setattr__(self, "passed", bool(self.passed))
        object.__setattr__(self, "error", float(self.error))
        object.__setattr__(self, "bound", float(self.bound))
