"""The PageRank workflow: networkx's ranks, edges from files of all kinds, and a check that sees what is wrong."""

import gzip
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import networkx
import numpy as np
import pytest

from overspill.errors import UsageError, WorkflowError
from overspill.runs import params, workflow

LOADED = workflow.load(Path(__file__).parents[2] / "workflows" / "pagerank.py")

EDGES = "# from to\n7 9\n9 30 # twice\n9 30\n\n30 7\n7 18446744073709551615\n"


def solved(**settings: str) -> tuple[Any, dict[str, Any]]:
    values = params.parse(LOADED.Params, settings)
    with dask.config.set(scheduler="synchronous"):
        built = workflow.build(LOADED, values).arrays
        first = dict(zip(built, dask.compute(*built.values()), strict=True))
        lazy = {name: da.from_array(x) for name, x in first.items()}
        outputs = workflow.solve(LOADED, values, lazy)
        results = dict(zip(outputs.arrays, dask.compute(*outputs.arrays.values()), strict=True))
    return values, first | results


def checked(values: Any, results: dict[str, Any]) -> list[bool]:
    with dask.config.set(scheduler="synchronous"):
        return [
            check.passed
            for check in workflow.check(LOADED, values, {name: da.from_array(x) for name, x in results.items()})
        ]


@pytest.fixture
def edges(tmp_path: Path) -> Path:
    path = tmp_path / "edges.txt"
    path.write_text(EDGES)
    return path


@pytest.mark.parametrize("undirected", [False, True])
def test_ranks_are_those_of_networkx(edges: Path, undirected: bool, capsys: pytest.CaptureFixture[str]) -> None:
    values, results = solved(edges=str(edges), undirected=str(undirected).lower(), change="1e-14")
    pairs = [tuple(map(int, line.partition("#")[0].split())) for line in EDGES.splitlines()]
    G = networkx.MultiDiGraph([pair for pair in pairs if pair])
    if undirected:
        G.add_edges_from([pair[::-1] for pair in pairs if pair])
    right = networkx.pagerank(G, tol=1e-15, max_iter=1000)
    assert results["vertices"].tolist() == sorted(right)
    assert abs(results["rank"] - [right[node] for node in sorted(right)]).max() < 1e-13
    assert checked(values, results) == [True, True, True]
    assert "4 vertices" in capsys.readouterr().out
    assert LOADED.present(values, {name: da.from_array(x) for name, x in results.items()}, edges.parent) == []
    assert f"  {max(right, key=right.__getitem__)}\n" in capsys.readouterr().out.splitlines(keepends=True)[1]


def test_drawn_graphs() -> None:
    values, results = solved(scale="6")
    assert results["rank"].shape == (64,)
    assert checked(values, results) == [True, True, True]


def test_what_is_wrong_is_seen(edges: Path) -> None:
    values, results = solved(edges=str(edges))
    turned = results["rank"][::-1]
    assert checked(values, results | {"rank": turned}) == [True, True, False]
    assert checked(values, results | {"rank": results["rank"] * 1.001}) == [False, True, True]
    assert checked(values, results | {"rank": results["rank"] - results["rank"].min()}) == [False, False, False]
    assert checked(values, results | {"rank": results["rank"] * np.nan}) == [False, False, False]


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "edges.txt.gz"
    path.write_bytes(gzip.compress(EDGES.encode()))
    assert solved(edges=str(path))[1]["rank"].sum() == pytest.approx(1)
    for text, message in (
        ("1 2\n3\n", r"line 2 of .* is '3': it takes two whole numbers"),
        ("# nothing\n", "has no edge"),
        ("\udcff", "cannot be read beyond line 0"),
    ):
        path = tmp_path / "other.txt"
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(WorkflowError, match=message):
            solved(edges=str(path))


@pytest.mark.parametrize(
    "settings", [{"scale": "0"}, {"alpha": "1"}, {"change": "0"}, {"maxiter": "0"}, {"edges": "gone"}]
)
def test_parameters_that_cannot_be_used(settings: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=next(iter(settings))):
        params.parse(LOADED.Params, settings)
