"""Probes on workers: figures of one and of all at once, and failures that are told and leave the rest alone."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
import pytest

from overspill.cluster import Cluster
from overspill.doctor import measure, probes_host, products
from overspill.doctor.probe import Effort, Probe, Step

EFFORT = Effort(window_s=0.005, host_nbytes=2**18, host_n=64, file_nbytes=2**16, tasks=20)


@contextmanager
def failing(effort: Effort) -> Iterator[Step]:
    raise OSError("no room\non the device.")
    yield


@contextmanager
def ending(effort: Effort) -> Iterator[Step]:
    done = iter((1.0,))
    yield lambda: next(done)  # made ready once, it fails as it is measured


@contextmanager
def idle(effort: Effort) -> Iterator[Step]:
    yield lambda: 0.0


def refuse(number: int) -> None:
    raise RuntimeError("not today")


def test_one_worker_alone_and_each_of_two(two_workers: Cluster) -> None:
    (probe,) = (probe for probe in products.probes("numpy") if probe.name == "product, float32")
    figure = measure.run(two_workers.client, "cpu", probe, EFFORT)
    assert figure.failure == ""
    assert len(figure.each_per_s) == 2
    assert figure.alone_per_s
    assert figure.all_per_s == pytest.approx(2 * (figure.share_per_s or 0))


@pytest.mark.parametrize(
    ("prepared", "why"),
    [(failing, "no room on the device"), (ending, "StopIteration"), (idle, "too little free memory")],
)
def test_failures_are_told(two_workers: Cluster, prepared: object, why: str) -> None:
    figure = measure.run(two_workers.client, "cpu", Probe("odd", "B", prepared), EFFORT)  # type: ignore[arg-type]
    assert why in figure.failure
    assert (figure.alone_per_s, figure.each_per_s, figure.share_per_s, figure.all_per_s) == (None, (), None, None)
    (next_one,) = (probe for probe in probes_host.PROBES if probe.name == "memory copy")
    assert measure.run(two_workers.client, "cpu", next_one, EFFORT).alone_per_s


def test_a_folder_that_cannot_be_written(two_workers: Cluster, tmp_path: Path) -> None:
    (probe,) = (probe for probe in probes_host.PROBES if probe.name == "disk, writing")
    effort = Effort(window_s=0.005, file_nbytes=2**16, folder=str(tmp_path / "gone"))
    assert "No such file or directory" in measure.run(two_workers.client, "cpu", probe, effort).failure


def test_tasks(two_workers: Cluster) -> None:
    figure = measure.tasks(two_workers, "cpu", EFFORT)
    assert figure.failure == ""
    assert 1 < (figure.alone_per_s or 0) < 1e6


def test_tasks_that_fail(two_workers: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_make", refuse)
    assert measure.tasks(two_workers, "cpu", EFFORT).failure == "not today"


def test_tasks_of_a_worker_that_has_ended(two_workers: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "addresses", lambda client: ["tcp://127.0.0.1:1"])
    monkeypatch.setattr(measure, "TASKS_LIMIT_S", 0.1)
    assert measure.tasks(two_workers, "cpu", EFFORT).failure == "they were not done within 0.1 s"


def test_workers_are_in_the_order_of_their_names(two_workers: Cluster) -> None:
    workers = two_workers.client.scheduler_info(n_workers=-1)["workers"]
    assert [workers[address]["name"] for address in measure.addresses(two_workers.client)] == [0, 1]


@pytest.mark.parametrize(("length", "method"), [(10, "forkserver"), (90, "spawn")])
def test_workers_are_forked_where_the_path_of_a_socket_fits(
    length: int, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/" + (length - 1) * "x")
    with measure._loaded_once():
        assert dask.config.get("distributed.worker.multiprocessing-method") == method
    assert dask.config.get("distributed.worker.multiprocessing-method") == "spawn"
