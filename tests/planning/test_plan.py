import json

import pytest

from cases import resources
from overspill.planning.alive import Demand
from overspill.planning.footprint import PROCESS_NBYTES
from overspill.planning.matmul import plan_matmul
from overspill.planning.one_pass import Pass, Peak
from overspill.planning.operands import Operand
from overspill.planning.passes import plan_passes
from overspill.planning.plan import Plan
from overspill.planning.spilling import spill

A = Operand((1000,) * 4, (1000,) * 4, "disk")


def plan(*, products: int = 1, rest: int = 0, pool_nbytes: int = 2**40) -> Plan:
    given = resources(workers=2, pool_nbytes=pool_nbytes)
    product = plan_matmul(A, A, "float64", given)
    room = spill(Demand(), Demand(128_000_000), given)
    passes = plan_passes([Pass(host_nbytes=2**30)] * rest, [Peak(0, 2**28, 2**27)] * rest, 128_000_000, given)
    return Plan(
        (4000, 4000), "float64", 128_000_000, "host", 20, 2, (product,) * products, passes, room, room, unsized_tasks=0
    )


def test_a_dict_is_plain_numbers_and_strings() -> None:
    found = json.loads(json.dumps(plan().to_dict()))
    assert found["flop"] == 2 * 4000**3
    assert found["products"][0]["rows"] == list(plan().products[0].rows)
    assert {"predicted_s", "peak_device_nbytes", "peak_host_nbytes"} <= found.keys()


def test_a_table_says_what_a_person_asks() -> None:
    table = str(plan())
    for word in ("4000 × 4000 float64", "128 GFLOP", "2 workers", "NumPy", "held in tiles", "predicted", "bound by"):
        assert word in table
    assert len({line.index(line[12:].strip()[:1], 12) for line in table.splitlines()}) == 1, "values are aligned"


def test_streaming_and_what_it_reads_are_said() -> None:
    table = str(plan(pool_nbytes=100 * 2**20))
    assert "streamed by each task" in table
    assert "from disk" in table
    assert "block by block" in table


def test_two_products_add_up_but_their_processes_are_the_same() -> None:
    one, two = plan(), plan(products=2)
    assert two.flop == 2 * one.flop
    assert two.predicted_s == 2 * one.predicted_s
    processes = 3 * PROCESS_NBYTES
    assert two.peak_host_nbytes - processes == 2 * (one.peak_host_nbytes - processes)
    assert "product 2" in str(two)


def test_without_products_there_is_nothing_to_predict() -> None:
    nothing = plan(products=0)
    assert (nothing.flop, nothing.predicted_s, nothing.peak_device_nbytes) == (0, 0, 0)
    assert "predicted" not in str(nothing)


def test_what_surrounds_products_adds_its_seconds() -> None:
    rest, both, product = plan(products=0, rest=4), plan(rest=4), plan()
    assert both.predicted_s == pytest.approx(rest.predicted_s + product.predicted_s)
    assert "bound by host memory" in dict(rest.rows())["predicted"]
    assert "the passes" in dict(both.rows())["predicted"]
    assert rest.peak_host_nbytes == 3 * PROCESS_NBYTES + 128_000_000 + 2 * 2**27
    assert both.peak_host_nbytes == max(rest.peak_host_nbytes, product.peak_host_nbytes)
    found = json.loads(json.dumps(both.to_dict()))["passes"]
    assert (found["tasks"], found["total"]["host_nbytes"], found["bound"]) == (4, 2**32, "host memory")


def test_what_does_not_fit_is_warned_of_once_and_known_to_programs() -> None:
    tight = resources("cuda", workers=2, device_nbytes=2**20, pool_nbytes=2**40)
    kept, used = (spill(Demand(held, 2**22, 2**22), Demand(), tight) for held in (2**30, 2**23))
    both = Plan(
        (4000, 4000),
        "float64",
        128_000_000,
        "device",
        20,
        2,
        (),
        plan_passes([], [], 0, tight),
        kept,
        used,
        unsized_tasks=3,
    )
    (warning,) = json.loads(json.dumps(both.to_dict()))["warnings"]
    assert warning.startswith("a chunk of 4 MiB exceeds the limit of a GPU, 1 MiB")
    assert str(both).count(warning) == 1
    assert "results of 3 tasks" in str(both)
    assert "if persisted" in str(both)
    only = dict(both.rows(only_saved=True))
    assert only["memory"] == "8 MiB on the device: 2 MiB fit on 2 GPUs, 6 MiB spill to host memory"
    assert only["  warning"] == warning
