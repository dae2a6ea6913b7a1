"""What plans say of chunks, against the arrays that exist while the same graph is computed task by task."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import dask
import dask.array as da
import numpy as np
import pytest
from dask._task_spec import Alias, DataNode, GraphNode, convert_legacy_graph
from dask.core import flatten
from dask.order import order
from distributed.utils import key_split_group

import overspill as osp
from cases import random_array, resources
from overspill.cluster import Cluster
from overspill.ops.chunks import indexed_shape
from overspill.planning.plan import Plan
from overspill.planning.resources import using
from overspill.planning.spilling import Spilling


def x() -> da.Array:
    return random_array(((100,) * 6, (120, 80, 400)))


EXACT: dict[str, Callable[[], da.Array]] = {
    "elementwise": lambda: da.sin(x()) ** 2 + da.cos(x()) * x(),
    "waits for a mean": lambda: x() - x().mean(),
    "transpose sum": lambda: x() + x().T,
    "float32": lambda: x().astype("float32") * 2,
    "slice": lambda: x()[150:420, ::3],
    "integer index": lambda: x()[17],
    "column gather": lambda: x()[:, [3, 500, 7]],
    "rechunk": lambda: x().rechunk((600, 50)),
    "reduced": lambda: x().sum(axis=0),
    "given": lambda: da.from_array(np.arange(90000.0).reshape(300, 300), chunks=100) + 1,
    "persisted": lambda: x().persist(scheduler="synchronous") + 1,
    "persisted itself": lambda: x().persist(scheduler="synchronous"),
    "stacked": lambda: da.stack([x(), x() + 1]),
    "overlap": lambda: da.overlap.overlap(x(), 1, boundary="none").sum(),
    "dot": lambda: x().dot(x()),
}
"""Computations whose every result has a size that the graph tells."""

ROUGH: dict[str, Callable[[], da.Array]] = {
    "cumulative": lambda: x().cumsum(axis=0),
    "concatenated": lambda: da.concatenate([x(), x() + 1]).mean(axis=0),
    "qr": lambda: da.linalg.qr(x().rechunk((100, 600))[:, :50])[0],
    "svd": lambda: da.linalg.svd(x().rechunk((100, 600))[:, :50])[1],
    "masked away": lambda: x()[x() > 0.5].sum(),
    "vindex": lambda: x().vindex[[1, 2, 577], [5, 6, 577]],
}


@dataclass
class Replay:
    """Most bytes of arrays at a time while `lazy` is computed task by task as Dask would, and of the largest ones."""

    most: int
    largest_given: int
    largest: int = 0

    @classmethod
    def of(cls, lazy: da.Array, *, keep: bool) -> Self:
        keys = set(flatten(lazy.__dask_keys__()))
        with dask.config.set({"optimization.fuse.active": False}):  # it hides arrays inside tasks
            graph = convert_legacy_graph(dict(lazy.__dask_optimize__(lazy.dask, keys)))
        users = Counter(other for node in graph.values() for other in node.dependencies)
        stays = {key for key in graph if isinstance(graph[key], DataNode) or (keep and key in keys)}
        results = {key: graph[key]() for key in graph if isinstance(graph[key], DataNode)}
        found = cls(nbytes_of(results.values()), max((nbytes_of([value]) for value in results.values()), default=0))
        left, priorities, roots = graph.keys() - results.keys(), order(graph), rootish(graph)
        while left:
            ready = (key for key in left if graph[key].dependencies <= results.keys())
            key = min(ready, key=lambda key: (not isinstance(graph[key], Alias), key in roots, priorities[key]))
            left.remove(key)
            results[key] = graph[key]({other: results[other] for other in graph[key].dependencies})
            found.most = max(found.most, nbytes_of(results.values()))
            found.largest = max(found.largest, nbytes_of([results[key]]))
            users.subtract(graph[key].dependencies)
            for other in {*graph[key].dependencies, key} - stays:
                if not users[other]:
                    del results[other]
        return found


def rootish(graph: dict[Any, GraphNode]) -> set[Any]:
    """What Dask's scheduler starts last, `SchedulerState.is_rootish`, aliases being no tasks to it."""
    tasks = {key: node for key, node in graph.items() if not isinstance(node, Alias)}

    def resolved(key: Any) -> Any:
        return key if key in tasks else resolved(graph[key].target)

    def inputs_of(group: Any) -> set[Any]:
        taken = {resolved(key) for mine in tasks if key_split_group(mine) == group for key in tasks[mine].dependencies}
        groups = {key_split_group(key) for key in taken}
        return {key for key in tasks if key_split_group(key) in groups}

    groups = {key_split_group(key) for key in tasks}
    roots = {group for group in groups if len(inputs_of(group)) < 5}
    return {key for key in tasks if key_split_group(key) in roots}


def nbytes_of(values: Any) -> int:
    """Of arrays, each object counted once, in tuples too."""
    found: dict[int, int] = {}
    pending = list(values)
    while pending:
        value = pending.pop()
        if isinstance(value, np.ndarray | np.generic):
            found[id(value)] = value.nbytes
        elif isinstance(value, tuple | list):
            pending.extend(value)
        elif isinstance(value, dict):
            pending.extend(value.values())
    return sum(found.values())


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("build", EXACT.values(), ids=EXACT)
def test_bytes_alive_are_as_planned(build: Callable[[], da.Array], keep: bool) -> None:
    plan, room, found = planned_and_found(build, keep=keep)
    positions = 16  # bytes of the indices that a gather takes, kept in tuples
    assert abs(room.host.held_nbytes - found.most) <= positions
    assert room.host.largest_chunk_nbytes == max(found.largest, found.largest_given)
    assert plan.unsized_tasks == 0


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("build", ROUGH.values(), ids=ROUGH)
def test_where_sizes_are_guessed_bytes_alive_are_nearly_as_planned(build: Callable[[], da.Array], keep: bool) -> None:
    plan, room, found = planned_and_found(build, keep=keep)
    assert 0.9 * found.most <= room.host.held_nbytes <= 2.1 * found.most
    assert room.device.held_nbytes == 0
    assert ("assumed" in str(plan)) == (plan.unsized_tasks > 0)


def planned_and_found(build: Callable[[], da.Array], *, keep: bool) -> tuple[Plan, Spilling, Replay]:
    with using(resources()):
        plan = osp.plan(build())
    return plan, plan.persisted if keep else plan.saved, Replay.of(build(), keep=keep)


def test_chunks_are_made_as_they_are_used_even_where_all_come_from_one() -> None:
    """Dask's order has all of `u` and `v` made first; its scheduler makes one of `v` when a worker has nothing else."""
    one = random_array(((100,), (100,)))
    u, v = (da.concatenate([y] * 80).rechunk((1000, 100)) for y in (one + 1, one + 2))
    with using(resources()):
        plan = osp.plan(da.stack([u + v, u * v, u - v]))
    assert plan.saved.held_nbytes < 1.5 * u.nbytes


def test_mapped_files_are_read_and_not_held(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((600, 600)))
    with using(resources()):
        plan = osp.plan(da.from_array(np.load(tmp_path / "x.npy", mmap_mode="r"), chunks=100) + 1)
    assert plan.passes.total.read_nbytes == plan.nbytes
    assert plan.saved.held_nbytes == plan.nbytes // 36


def test_what_is_persisted_on_workers_is_there_and_stays(two_workers: Cluster) -> None:
    kept = x().persist()
    assert osp.plan(kept).saved.held_nbytes == kept.nbytes
    plan = osp.plan(kept + 1)
    assert plan.tasks >= kept.npartitions
    assert plan.persisted.held_nbytes == 2 * kept.nbytes
    largest = plan.saved.host.largest_chunk_nbytes
    assert kept.nbytes + largest <= plan.saved.held_nbytes <= kept.nbytes + 2 * largest
    assert plan.saved.host.largest_task_nbytes == 2 * largest


def on_device(lazy: da.Array, *names: str) -> da.Array:
    """`lazy`, with the layers of these names telling of CuPy chunks, which cannot be made without a GPU."""
    for name, layer in lazy.dask.layers.items():
        if name.startswith(names):
            layer.collection_annotations["chunk_type"] = "cupy.ndarray"
    return lazy


def test_residences_are_told_apart() -> None:
    lazy = on_device(x().map_blocks(np.copy, name="uploaded"), "uploaded")
    given = resources("cuda", workers=2, device_nbytes=500_000, pool_nbytes=1_500_000)
    with using(given):
        plan = osp.plan(lazy)
    assert plan.persisted.device.held_nbytes == lazy.nbytes
    assert plan.persisted.on_device_nbytes == 1_000_000
    assert plan.persisted.on_disk_nbytes > 0
    table = str(plan)
    assert "2.75 MiB on the device and" in table
    assert "977 KiB fit on 2 GPUs" in table
    assert "spill to disk" in table
    assert "made up for tests" in table


def test_parts_of_device_chunks_are_on_the_device() -> None:
    plain = x().rechunk((600, 50))
    with using(resources("cuda", device_nbytes=2**30)):
        host, device = osp.plan(plain).persisted, osp.plan(on_device(x().rechunk((600, 50)), "")).persisted
    assert host.device.held_nbytes == device.host.held_nbytes == 0
    assert device.device == host.host
    with using(resources("cpu", device_nbytes=0)):
        table = str(osp.plan(on_device(x() + 1, "add")))
    assert "no GPUs" in table


@pytest.mark.gpu
def test_real_device_chunks_are_seen() -> None:
    import cupy

    lazy = x().map_blocks(cupy.asarray, meta=cupy.empty((0, 0)))
    with using(resources("cuda", device_nbytes=500_000)):
        plan = osp.plan(lazy - lazy.mean())
    assert plan.residence == "device"
    assert lazy.nbytes <= plan.persisted.device.held_nbytes < 1.5 * lazy.nbytes
    assert plan.persisted.on_device_nbytes == 500_000


@pytest.mark.parametrize(
    "index",
    [
        slice(2, 9, 3),
        (slice(None), 3),
        (0, slice(5, 1, -1)),
        (slice(5, 1, -1), slice(None), [1, 2]),
        np.array([4, 4, 1]),
        (slice(1), np.arange(12) % 3 == 0),
        (),
        -1,
    ],
)
def test_shape_of_a_part(index: Any) -> None:
    whole = np.empty((10, 12, 5))
    assert indexed_shape(whole.shape, index) == whole[index].shape


@pytest.mark.parametrize(
    "index", [None, ..., (None, 1), ([1], [2]), (0, [1]), True, np.ones((10, 12), bool), (0, 0, 0, 0)]
)
def test_parts_of_other_kinds_have_no_known_shape(index: Any) -> None:
    assert indexed_shape((10, 12, 5), index) is None
