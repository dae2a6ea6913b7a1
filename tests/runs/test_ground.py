"""A dry run assumes what the cluster would have, and starts nothing."""

from pathlib import Path

import psutil
import pytest

from overspill import backend, machine
from overspill.errors import ClusterError, UsageError
from overspill.planning.resources import active
from overspill.runs.ground import imagined, located, started


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "gpus", tuple)


@pytest.mark.usefixtures("no_gpu")
def test_the_default_cluster() -> None:
    before = psutil.Process().children()
    with imagined(None, "48MiB") as resources:
        assert active() is resources
        assert (resources.device, resources.workers, resources.threads) == ("cpu", machine.cpu_count(), 1)
        assert resources.pool_nbytes == 48 * 2**20
    assert active() is None
    assert psutil.Process().children() == before


@pytest.mark.usefixtures("no_gpu")
def test_a_cluster_file(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text("LocalCluster:\n  n_workers: 3\n  threads_per_worker: 2\n  memory_limit: 1GiB\n")
    with imagined(str(path), None) as resources:
        assert (resources.workers, resources.threads, resources.pool_nbytes) == (3, 2, 3 * 2**30)
    assert located(str(path)) == str(path)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("LocalCluster:\n  n_wokers: 3\n", ClusterError, "did you mean 'n_workers'"),
        ("LocalCUDACluster:\n", ClusterError, "no GPU can be used here"),
        ("SLURMCluster:\n", ClusterError, "names 'SLURMCluster'"),
        ("a: [", ClusterError, "is not valid YAML"),
    ],
)
def test_a_wrong_cluster_file(tmp_path: Path, content: str, error: type[Exception], message: str) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(content)
    with pytest.raises(error, match=message), imagined(str(path), None):
        pass


@pytest.mark.usefixtures("no_gpu")
def test_gpus_that_are_not_there(tmp_path: Path) -> None:
    """The way out is one of the command line, whether planned or started."""
    path = tmp_path / "gpu.yaml"
    path.write_text("LocalCUDACluster:\n")
    for ground in (imagined, started):
        with pytest.raises(ClusterError, match="leave --cluster out"), ground(str(path), None):
            pass


def test_missing_file_and_address() -> None:
    with pytest.raises(UsageError, match=r"gone\.yaml cannot be read"), imagined("gone.yaml", None):
        pass
    with pytest.raises(UsageError, match="does not ask the cluster at tcp://"), imagined("tcp://host:8786", None):
        pass
    assert located("tcp://host:8786") == "tcp://host:8786"
    assert located(None) is None
