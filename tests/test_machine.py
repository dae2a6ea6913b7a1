from pathlib import Path

import psutil
import pytest

from overspill import backend, machine
from overspill.planning.arithmetic import SUPPORTED, arithmetic
from overspill.planning.operations import weigh
from overspill.planning.resources import using


def test_there_is_a_core_and_memory() -> None:
    assert machine.cpu_count() >= 1
    assert 0 < machine.available_nbytes() <= psutil.virtual_memory().total


def test_a_control_group_limits_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"/proc/self/cgroup": "0::/user.slice/job\n"}
    for group, limit in (("/user.slice/job", "3000"), ("/user.slice", "max"), ("", "2900")):
        where = f"/sys/fs/cgroup{group}/memory"
        files |= {f"{where}.max": f"{limit}\n", f"{where}.current": "2000\n"}
        files[f"{where}.stat"] = "anon 500\ninactive_file 1000\n"

    def read(path: Path) -> str:
        if str(path) not in files:
            raise FileNotFoundError(path)
        return files[str(path)]

    monkeypatch.setattr(Path, "read_text", read)
    assert machine.available_nbytes() == 1900
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert machine.available_nbytes() == 2000
    files["/sys/fs/cgroup/user.slice/job/memory.max"] = "100\n"
    assert machine.available_nbytes() == 0
    del files["/proc/self/cgroup"]
    assert machine.available_nbytes() > 2000


def test_every_element_type_has_a_rate_on_a_core() -> None:
    rates = machine.cpu_rates()
    for dtype in SUPPORTED:
        assert rates.gemm_flop_per_s[arithmetic(dtype, "cpu").rate] > 0


@pytest.mark.parametrize("name", ["NVIDIA H200", "NVIDIA GeForce RTX 9999"])
def test_every_element_type_has_a_rate_on_a_gpu(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(backend, "gpus", lambda: (backend.GPU(name, 2**34),))
    rates = machine.cuda_rates()
    for dtype in SUPPORTED:
        assert rates.gemm_flop_per_s[arithmetic(dtype, "cuda").rate] > 0
    assert name in rates.source


def test_a_kernel_of_sines_and_cosines_takes_about_what_it_was_measured_to_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``sin(x)**2 + cos(x)*x`` of float32 in GPU memory, 1690 GB/s read and written on an H200."""
    monkeypatch.setattr(backend, "gpus", lambda: (backend.GPU("NVIDIA H200", 2**34),))
    rates = machine.cuda_rates()
    weight = sum(weigh(function, "f", 4).cupy for function in ("sin", "square", "cos", "multiply", "add"))
    per_element_s = max(8 / rates.memory_per_s, weight / rates.elementwise_per_s)
    assert 0.75 < 8 / per_element_s / 1690e9 < 1.25


def test_budgets_not_given_are_shares_of_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "gpus", lambda: (backend.GPU("large", 2**34), backend.GPU("small", 10**10)))
    monkeypatch.setattr(machine, "available_nbytes", lambda: 10**9)
    filled = machine.resources("cuda", workers=2, threads=1)
    assert (filled.pool_nbytes, filled.device_nbytes) == (5 * 10**8, 8 * 10**9)
    given = machine.resources("cuda", workers=2, threads=1, pool_nbytes=7, device_budget_nbytes=11)
    assert (given.pool_nbytes, given.device_nbytes) == (7, 11)
    assert machine.resources("cpu", workers=2, threads=1).device_nbytes == 0


def test_the_innermost_resources_count() -> None:
    outer = machine.resources("cpu", workers=3, threads=1)
    inner = machine.resources("cpu", workers=5, threads=1)
    with using(outer):
        with using(inner):
            assert machine.current_resources() is inner
        assert machine.current_resources() is outer


def test_without_a_cluster_it_is_the_threads_of_this_process() -> None:
    resources = machine.current_resources()
    assert (resources.device, resources.workers, resources.threads) == ("cpu", 1, machine.cpu_count())
