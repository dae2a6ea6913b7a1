import os

import pytest

from overspill.cluster.environment import inherited


def test_one_blas_thread_inside_and_everything_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = dict(os.environ)
    with inherited({}):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
        os.environ["PYTHONHASHSEED"] = "6640"  # as distributed does
    assert dict(os.environ) == before


def test_a_chosen_number_of_threads_stands() -> None:
    with inherited({"OPENBLAS_NUM_THREADS": 4}):
        assert (os.environ["OPENBLAS_NUM_THREADS"], os.environ["OMP_NUM_THREADS"]) == ("4", "1")
