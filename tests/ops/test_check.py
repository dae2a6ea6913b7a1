"""A check holds Python's own types, whatever it was made from."""

import json
from dataclasses import asdict

import numpy as np

from overspill.ops.check import Check


def test_numpy_scalars_become_pythons() -> None:
    error = np.float32(0.25)
    check = Check(error < 0.5, "close", error, np.int64(1))  # type: ignore[arg-type]
    assert json.loads(json.dumps(asdict(check))) == {"passed": True, "summary": "close", "error": 0.25, "bound": 1.0}
    assert check.passed is True
