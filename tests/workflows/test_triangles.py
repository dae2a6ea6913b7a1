"""The triangles workflow: what an edge list may look like, and counts that agree with counting."""

import gzip
import itertools
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import overspill as osp
from overspill.cluster import Cluster
from overspill.errors import UsageError, WorkflowError
from overspill.runs import params, workflow
from overspill.runs.workflow import Workflow

ROOT = Path(__file__).parents[2]
FACEBOOK = ROOT.parent / "shared" / "data" / "facebook_combined.txt"

LOADED = workflow.load(ROOT / "workflows" / "triangles.py")


@pytest.fixture
def triangles() -> Workflow:
    return LOADED


def counted(path: Path, **given: str) -> dict[str, Any]:
    values = params.parse(LOADED.Params, {"edges": str(path), **given})
    arrays = workflow.build(LOADED, values).arrays
    results = dict(zip(arrays, dask.compute(*arrays.values()), strict=True))
    checks = workflow.check(LOADED, values, results)
    assert all(check.passed for check in checks), checks
    return results


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "edges.txt"
    path.write_text(text)
    return path


def test_what_a_list_may_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "# a graph\n\n7 18446744073709551615\n900 7 # back\n900\t18446744073709551615\n7 900\n7 7\n 5 7 \n"
    results = counted(written(tmp_path, text))
    assert results["triangles"] == 1
    assert results["per_vertex"].tolist() == [0, 1, 1, 1]
    assert "4 vertices, 4 edges; left out 1 loops and 1 repeated edges" in capsys.readouterr().out


def test_compressed(tmp_path: Path) -> None:
    path = tmp_path / "edges.txt.gz"
    path.write_bytes(gzip.compress(b"0 1\n1 2\n2 0\n"))
    assert counted(path)["triangles"] == 1
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(WorkflowError, match="cannot be read beyond line"):
        counted(path)
    path.write_bytes(b"0 1\n")
    with pytest.raises(WorkflowError, match="cannot be read beyond line 0"):
        counted(path)


@pytest.mark.parametrize("line", ["1", "1 2 3", "1 b", "-1 2", "1.5 2", "1, 2", "1 18446744073709551616"])
def test_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(WorkflowError, match=r"^line 3 of .*edges\.txt is '.*': it takes two whole numbers"):
        counted(written(tmp_path, f"# comment\n1 2\n{line}\n"))


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "edges.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WorkflowError, match="cannot be read"):
        counted(path)
    with pytest.raises(WorkflowError, match="Is a directory"):
        counted(tmp_path)


def test_missing_file_is_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        counted(tmp_path / "gone.txt")
    with pytest.raises(UsageError, match="'edges' .* has no value"):
        params.parse(LOADED.Params, {})


@pytest.mark.parametrize("text", ["", "# nothing\n", "3 3\n", "1 2\n"])
def test_no_triangle(tmp_path: Path, text: str) -> None:
    assert counted(written(tmp_path, text))["triangles"] == 0


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=150))
def test_agrees_with_counting(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[int, int]]) -> None:
    path = tmp_path_factory.mktemp("graph") / "edges.txt"
    path.write_text("".join(f"{u} {v}\n" for u, v in pairs))
    edges = {frozenset(pair) for pair in pairs if pair[0] != pair[1]}
    vertices = sorted(set(itertools.chain.from_iterable(pairs)))
    found = [
        trio
        for trio in itertools.combinations(vertices, 3)
        if all(frozenset(pair) in edges for pair in itertools.combinations(trio, 2))
    ]
    results = counted(path)
    assert results["triangles"] == len(found)
    assert results["per_vertex"].tolist() == [sum(vertex in trio for trio in found) for vertex in vertices]


def test_blocks_agree_with_the_matrix(triangles: Workflow) -> None:
    rng = np.random.default_rng(0)
    edges = np.unique(np.sort(rng.integers(0, 50, (200, 2)), axis=1), axis=0)
    edges = edges[edges[:, 0] != edges[:, 1]]
    whole = np.zeros((50, 50))
    whole[edges[:, 0], edges[:, 1]] = whole[edges[:, 1], edges[:, 0]] = 1
    adjacency = triangles.build.__globals__["adjacency"]
    x = adjacency(edges, 50, (20, 30), (50,))
    assert x.compute().tolist() == whole.tolist()
    assert x.name == adjacency(edges, 50, (20, 30), (50,)).name != adjacency(edges, 50, (30, 20), (50,)).name


def test_wrong_counts_fail(triangles: Workflow) -> None:
    per_vertex = dask.array.from_array(np.array([1.0, 1.0, 1.0]))
    for results, failed in (
        ({"per_vertex": per_vertex, "triangles": np.float64(2)}, [2]),
        ({"per_vertex": per_vertex + 0.5, "triangles": np.float64(1.5)}, [0, 1]),
        ({"per_vertex": per_vertex * np.nan, "triangles": np.float64(1)}, [1, 2]),
    ):
        checks = workflow.check(triangles, None, results)
        assert [index for index, check in enumerate(checks) if not check.passed] == failed


@pytest.mark.skipif(not FACEBOOK.exists(), reason="needs shared/data/facebook_combined.txt beside the repository")
def test_facebook_under_a_small_budget(two_workers: Cluster) -> None:
    values = params.parse(LOADED.Params, {"edges": str(FACEBOOK), "memory": "48MiB"})
    arrays = workflow.build(LOADED, values).arrays
    plan = osp.plan(arrays["per_vertex"])
    assert plan.products[0].peak_tiles_nbytes <= 48 * 2**20
    assert arrays["triangles"].compute() == 1_612_010
