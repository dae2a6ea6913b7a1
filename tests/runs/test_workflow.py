"""A file that breaks the contract is refused in one sentence; one that keeps it travels to workers by value."""

import pickle
from pathlib import Path
from typing import Any

import dask.array as da
import pytest
from distributed.protocol import pickle as distributed_pickle

from overspill.errors import ArrayError, UsageError, WorkflowError
from overspill.ops.check import Check
from overspill.runs import workflow

WHOLE = """
from __future__ import annotations
from dataclasses import dataclass
import dask.array as da
import overspill as osp

@dataclass(frozen=True)
class Params:
    n: int = 3

def double(block):
    return 2 * block

def build(params):
    return {"x": da.ones(params.n, chunks=2).map_blocks(double, dtype=float)}

def check(params, results):
    return osp.Check(True, "fine")
"""


def written(tmp_path: Path, source: str) -> Path:
    path = tmp_path / "some.py"
    path.write_text(source)
    return path


def changed(tmp_path: Path, old: str, new: str) -> workflow.Workflow:
    assert old in WHOLE
    return workflow.load(written(tmp_path, WHOLE.replace(old, new)))


def test_whole_workflow(tmp_path: Path) -> None:
    loaded = workflow.load(written(tmp_path, WHOLE))
    params = loaded.Params()
    assert loaded.name == "some"
    arrays = workflow.build(loaded, params).arrays
    assert arrays["x"].compute().tolist() == [2, 2, 2]
    assert workflow.check(loaded, params, {}) == (Check(True, "fine"),)


def test_types_written_as_text_are_known(tmp_path: Path) -> None:
    assert workflow.load(written(tmp_path, WHOLE)).Params.__annotations__ == {"n": int}


def test_functions_travel_by_value_inside_graphs(tmp_path: Path) -> None:
    loaded = workflow.load(written(tmp_path, WHOLE))
    graph = dict(workflow.build(loaded, loaded.Params()).arrays["x"].__dask_graph__())
    sent = distributed_pickle.dumps(graph)
    assert b"co_" in sent or b"CodeType" in sent or b"_make_function" in sent
    assert pickle.loads(sent).keys() == graph.keys()


def test_names_are_the_same_each_time(tmp_path: Path) -> None:
    names = {workflow.load(written(tmp_path, WHOLE)).build.__module__ for _ in range(2)}
    assert names == {"overspill_workflow_some"}


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.py cannot be read \(No such file or directory\)"):
        workflow.load(tmp_path / "gone.py")
    with pytest.raises(UsageError, match="Is a directory"):
        workflow.load(tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def (", r"some\.py is not Python: .* \(line 1\)"),
        ("\0", "some.py"),
        ("import no_such_module_anywhere", r"ModuleNotFoundError: No module named 'no_such.*\(some\.py:1\)"),
        ("x = 1\ny = 1 / 0", r"ZeroDivisionError: division by zero \(some\.py:2\)"),
        ("raise SystemExit(0)", r"SystemExit: 0 \(some\.py:1\)"),
        ("", r"has no Params, a frozen dataclass of parameters: see docs/workflows\.md"),
    ],
)
def test_broken_file(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(WorkflowError, match=message):
        workflow.load(written(tmp_path, source))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def build", "def built", "has no build, a function of the parameters"),
        ("def check", "def checked", "has no check, a function of the parameters and the results"),
        ("(frozen=True)", "", "Params of workflow some.py is no frozen dataclass"),
        ('def check(params, results):\n    return osp.Check(True, "fine")', "check = 1", "check of .* no function"),
    ],
)
def test_broken_contract(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(WorkflowError, match=message):
        changed(tmp_path, old, new)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("None", "returns no mapping"),
        ("{}", "returns no mapping"),
        ("{'a/b': da.ones(3)}", "names a result 'a/b'"),
        ("{1: da.ones(3)}", "names a result 1"),
        ("{'x': 1.0}", "returns a float as 'x': it must be a lazy Dask array or an xarray.Dataset"),
        ("{'x': da.ones(3)[da.ones(3) > 0]}", "'x' with chunks of unknown size.*: return an array of known shape"),
        ("{'x': da.ones(3).astype(object)}", "'x' with object elements, which cannot be stored"),
        ("{'x': da.zeros(3, dtype=[('a', 'i4')])}", r"'x' with \[\('a', '<i4'\)\] elements"),
        ("exit(0)", r"SystemExit: 0 \(some\.py:15\)"),
        ("{'x': da.ones(params.m)}", r"AttributeError: 'Params' object has no attribute 'm' \(some\.py:15\)"),
    ],
)
def test_what_build_returns(tmp_path: Path, returned: str, message: str) -> None:
    start = WHOLE.index('{"x"')
    stop = WHOLE.index("\n", start)
    loaded = changed(tmp_path, WHOLE[start:stop], returned)
    with pytest.raises(WorkflowError, match=message):
        workflow.build(loaded, loaded.Params())


def test_exit_in_check_passes_nothing(tmp_path: Path) -> None:
    loaded = changed(tmp_path, 'osp.Check(True, "fine")', "exit(0)")
    with pytest.raises(WorkflowError, match=r"SystemExit: 0 \(some\.py:18\)"):
        workflow.check(loaded, loaded.Params(), {})


@pytest.mark.parametrize("returned", ["None", "[]", "True", "[osp.Check(True, ''), 1]"])
def test_what_check_returns(tmp_path: Path, returned: str) -> None:
    loaded = changed(tmp_path, 'osp.Check(True, "fine")', returned)
    with pytest.raises(WorkflowError, match="returns no overspill.Check"):
        workflow.check(loaded, loaded.Params(), {})


def test_errors_meant_for_the_user_pass_through(tmp_path: Path) -> None:
    def refuse(params: Any) -> dict[str, da.Array]:
        raise ArrayError("shapes do not match")

    with pytest.raises(ArrayError, match=r"^shapes do not match$"):
        workflow.call(tmp_path, refuse, None)


PRESENT = """
def present(params, results, directory):
    (directory / "table.txt").write_text(str(params.n))
    return RETURNED
"""


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("None", "returns no list of paths"),
        ("['table.txt']", "returns no list of paths"),
        ("[directory / 'gone.txt']", r"names .*gone\.txt, which is no file in"),
        ("[directory.parent / 'some.py']", r"names .*some\.py, which is no file in"),
        ("1 / 0", r"ZeroDivisionError: division by zero \(some\.py:22\)"),
    ],
)
def test_what_present_returns(tmp_path: Path, returned: str, message: str) -> None:
    (tmp_path / "run").mkdir()
    loaded = workflow.load(written(tmp_path, WHOLE + PRESENT.replace("RETURNED", returned)))
    with pytest.raises(WorkflowError, match=message):
        workflow.present(loaded, loaded.Params(), {}, tmp_path / "run")


def test_present_is_called_where_there_is_one(tmp_path: Path) -> None:
    loaded = workflow.load(written(tmp_path, WHOLE + PRESENT.replace("RETURNED", "[directory / 'table.txt']")))
    assert workflow.present(loaded, loaded.Params(), {}, tmp_path) == (tmp_path / "table.txt",)
    assert (tmp_path / "table.txt").read_text() == "3"
    loaded = workflow.load(written(tmp_path, WHOLE))
    assert workflow.present(loaded, loaded.Params(), {}, tmp_path) == ()
    with pytest.raises(WorkflowError, match="present of .* is no function"):
        workflow.load(written(tmp_path, WHOLE + "present = 1"))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("None", r"solve of workflow some\.py returns no mapping"),
        ("{'x': 1}", "solve names a result 'x', as build does: take another name"),
        ("{'y': 'text'}", "solve returns a str as 'y'"),
        ("1 / 0", r"ZeroDivisionError: division by zero \(some\.py:21\)"),
    ],
)
def test_what_solve_returns(tmp_path: Path, returned: str, message: str) -> None:
    loaded = workflow.load(written(tmp_path, f"{WHOLE}\ndef solve(params, results):\n    return {returned}\n"))
    with pytest.raises(WorkflowError, match=message):
        workflow.solve(loaded, loaded.Params(), {"x": 1.0})
