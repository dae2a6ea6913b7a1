from pathlib import Path

import pytest

from overspill import backend
from overspill.cluster.specification import Address, Specification, specify
from overspill.errors import ClusterError, UsageError

CLUSTER_FILES = Path(__file__).parents[2] / "cluster"


def written(directory: Path, text: str) -> Path:
    path = directory / "cluster.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "class_name"),
    [("cpu.yaml", "LocalCluster"), ("gpu.yaml", "LocalCUDACluster"), ("gpu-tight.yaml", "LocalCUDACluster")],
)
def test_deployment_files_can_be_read(name: str, class_name: str) -> None:
    found = specify(CLUSTER_FILES / name, None, {})
    assert isinstance(found, Specification)
    assert found.class_name == class_name
    assert found.keywords


def test_every_deployment_file_is_tested() -> None:
    assert {path.name for path in CLUSTER_FILES.iterdir()} == {"cpu.yaml", "gpu.yaml", "gpu-tight.yaml"}


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:8786", "ucxx://host:1", "localhost:8786", "node-1.cluster:8786"])
def test_address(url: str) -> None:
    assert specify(url, None, {}) == Address(url)


def test_address_takes_no_keywords() -> None:
    with pytest.raises(ClusterError, match="'n_workers' cannot change the running cluster at tcp://a:1"):
        specify("tcp://a:1", None, {"n_workers": 2})


def test_mapping_is_like_a_file() -> None:
    assert specify({"LocalCluster": {"n_workers": 3}}, None, {}) == Specification("LocalCluster", {"n_workers": 3})


def test_explicit_keywords_override_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "LocalCluster: {n_workers: 3, threads_per_worker: 2}")
    found = specify(str(path), None, {"n_workers": 1})
    assert found == Specification("LocalCluster", {"n_workers": 1, "threads_per_worker": 2})


def test_class_without_keywords(tmp_path: Path) -> None:
    assert specify(written(tmp_path, "LocalCluster:"), None, {}) == Specification("LocalCluster", {})


@pytest.mark.parametrize(("gpus", "class_name"), [((), "LocalCluster"), ((1,), "LocalCUDACluster")])
def test_default_follows_the_machine(monkeypatch: pytest.MonkeyPatch, gpus: tuple[int, ...], class_name: str) -> None:
    monkeypatch.setattr(backend, "gpus", lambda: gpus)
    assert specify(None, None, {}) == Specification(class_name, {})  # type: ignore[arg-type]


@pytest.mark.parametrize(("gpu", "class_name"), [(False, "LocalCluster"), (True, "LocalCUDACluster")])
def test_gpu_overrides_the_machine(gpu: bool, class_name: str) -> None:
    found = specify(None, gpu, {})
    assert isinstance(found, Specification)
    assert found.class_name == class_name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "one top-level key"),
        ("- 1", "one top-level key"),
        ("LocalCluster: {}\nLocalCUDACluster: {}", "one top-level key"),
        ("KubeCluster: {}", "names 'KubeCluster'"),
        ("LocalCluster: 3", "gives LocalCluster a int"),
        ("LocalCluster: [n_workers]", "gives LocalCluster a list"),
        ("LocalCluster: {", "not valid YAML"),
        ("LocalCluster: {1: 2}", "gives LocalCluster the keyword 1: write"),
    ],
)
def test_malformed_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ClusterError, match=message) as raised:
        specify(written(tmp_path, text), None, {})
    assert "\n" not in str(raised.value)


def test_binary_file(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ClusterError, match="not valid YAML"):
        specify(path, None, {})


def test_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        specify(tmp_path / "none.yaml", None, {})


def test_gpu_that_disagrees_with_the_file() -> None:
    with pytest.raises(ClusterError, match="gpu=True disagrees"):
        specify({"LocalCluster": {}}, True, {})
