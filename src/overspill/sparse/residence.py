"""Row blocks moved between host and GPUs: by tasks of their own, or up by the tasks that multiply them."""

from typing import TYPE_CHECKING, Any

from dask._task_spec import Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from overspill.kernels import csr_residence
from overspill.ops.residence import DEVICE_NAME, TILE_NAME, on_gpus
from overspill.sparse.tasks import map_blocks

if TYPE_CHECKING:
    from overspill.sparse.matrix import CSRMatrix


class UploadLayer(MaterializedLayer):
    """The tasks that bring blocks up, and the name of the matrix that they bring up."""

    def __init__(self, mapping: dict[Any, Any], source: str) -> None:
        super().__init__(mapping)
        self.source = source


def to_device(A: "CSRMatrix") -> "CSRMatrix":
    """`A` with its blocks on GPUs; itself where they are, or where there are none."""
    if A.residence == "device" or not on_gpus():
        return A
    name = f"{DEVICE_NAME}-csr-{tokenize(A.name)}"
    keys = [(name, i) for i in range(len(A.blocks))]
    tasks = {key: Task(key, csr_residence.to_device, TaskRef((A.name, key[1]))) for key in keys}
    dependencies: list[Any] = [A]
    graph = HighLevelGraph.from_collections(name, UploadLayer(tasks, A.name), dependencies=dependencies)
    return type(A)(graph, name, A.shape, A.dtype, A.blocks, "device")


def to_host(A: "CSRMatrix") -> "CSRMatrix":
    """`A` with its blocks in tiles; itself where they are."""
    if A.residence == "host" and A.name.startswith(f"{TILE_NAME}-"):
        return A
    return map_blocks(A, csr_residence.to_host, name=f"{TILE_NAME}-csr", dtype=A.dtype, residence="host")


def source_of(A: "CSRMatrix") -> str:
    """The name of the matrix that products read their blocks from: below `A` where they bring them up themselves.

    So a matrix larger than the GPUs goes through them block by block; one that has been persisted on them stays.
    """
    layer = A.dask.layers.get(A.name)
    return layer.source if isinstance(layer, UploadLayer) else A.name
