"""The workflow that docs/workflows.md shows does what it says."""

import contextlib
import json
import re
from pathlib import Path

import dask
import pytest

from overspill.cluster import Cluster
from overspill.errors import UsageError
from overspill.runs import ground, params, session, workflow
from runs.watched import Watched

DOCUMENT = Path(__file__).parents[2] / "docs" / "workflows.md"


@pytest.fixture
def shown(tmp_path: Path) -> workflow.Workflow:
    source = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert source
    path = tmp_path / "gram.py"
    path.write_text(source[1])
    return workflow.load(path)


def test_example_keeps_the_contract(shown: workflow.Workflow) -> None:
    values = params.parse(shown.Params, {"vectors": "120", "length": "80", "memory": "64MiB"})
    assert session.foresee(session.Job(shown, values, None)).plan.flop == 2 * 120 * 120 * 80
    arrays = workflow.build(shown, values).arrays
    gram, trace = dask.compute(*arrays.values())
    checks = workflow.check(shown, values, {"gram": gram, "trace": trace})
    assert [check.passed for check in checks] == [True, True]


def test_example_runs(
    shown: workflow.Workflow, tmp_path: Path, two_workers: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ground, "started", lambda *arguments: contextlib.nullcontext(two_workers))
    values = params.parse(shown.Params, {"vectors": "120", "length": "80"})
    assert session.start(session.Job(shown, values, None), tmp_path / "run", Watched()).passed
    recorded = json.loads((tmp_path / "run" / "report.json").read_text())
    assert [check["passed"] for check in recorded["checks"]] == [True, True]


def test_example_refuses_as_it_says(shown: workflow.Workflow) -> None:
    with pytest.raises(UsageError, match="vectors=0 leaves nothing to do"):
        params.parse(shown.Params, {"vectors": "0"})
