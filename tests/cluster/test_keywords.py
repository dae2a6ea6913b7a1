from pathlib import Path

import pytest
import yaml
from distributed import LocalCluster

from overspill.cluster.keywords import accepted, check
from overspill.errors import ClusterError

CLUSTER_FILES = Path(__file__).parents[2] / "cluster"


class LocalCUDACluster(LocalCluster):
    """The keywords of dask-cuda's class that deployment files use, for machines without it."""

    def __init__(
        self,
        CUDA_VISIBLE_DEVICES: object = None,
        n_workers: int | None = None,
        threads_per_worker: int = 1,
        memory_limit: object = "auto",
        device_memory_limit: object = "default",
        log_spilling: bool = False,
        **kwargs: object,
    ) -> None:
        raise AssertionError("never started")


@pytest.mark.parametrize(
    "keyword", ["n_workers", "threads_per_worker", "memory_limit", "death_timeout", "nthreads", "env"]
)
def test_keywords_of_every_layer_are_known(keyword: str) -> None:
    assert keyword in accepted(LocalCluster)


@pytest.mark.parametrize("path", sorted(CLUSTER_FILES.glob("*.yaml")), ids=lambda path: path.name)
def test_deployment_files_name_known_keywords(path: Path) -> None:
    for class_name, keywords in yaml.safe_load(path.read_text()).items():
        check({"LocalCluster": LocalCluster, "LocalCUDACluster": LocalCUDACluster}[class_name], keywords)


@pytest.mark.parametrize(
    ("cluster_class", "keyword", "message"),
    [
        (LocalCluster, "n_worker", "LocalCluster takes no keyword 'n_worker': did you mean 'n_workers'"),
        (LocalCluster, "device_memory_limit", "LocalCluster takes no keyword 'device_memory_limit'"),
        (LocalCluster, "qqq", "LocalCluster takes no keyword 'qqq': leave it out"),
        (LocalCUDACluster, "device_memory_limt", "did you mean 'device_memory_limit'"),
        (LocalCUDACluster, "jit_unspill", "LocalCUDACluster takes no keyword 'jit_unspill'"),
        (LocalCluster, "asynchronous", "'asynchronous' is not open to choice"),
        (LocalCluster, "processes", "'processes' is not open to choice"),
    ],
)
def test_wrong_keywords(cluster_class: type, keyword: str, message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        check(cluster_class, [keyword])


@pytest.mark.gpu
def test_real_signature_is_read() -> None:
    dask_cuda = pytest.importorskip("dask_cuda")
    assert {"device_memory_limit", "CUDA_VISIBLE_DEVICES", "memory_limit"} <= accepted(dask_cuda.LocalCUDACluster)
    with pytest.raises(ClusterError, match="jit_unspill"):
        check(dask_cuda.LocalCUDACluster, ["jit_unspill"])
