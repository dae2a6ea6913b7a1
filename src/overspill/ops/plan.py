"""What computing an array will cost, read off its graph."""

import math

import dask.array as da

from overspill import backend, machine
from overspill.errors import ArrayError
from overspill.ops.matmul import ProductLayer
from overspill.planning.plan import Plan


def plan(x: da.Array) -> Plan:
    """What computing `x` will cost: bytes over each link, peak bytes, tasks and predicted seconds.

    Nothing is computed. Matrix products made by `overspill.matmul` are planned in full; of everything else in the graph
    the plan tells the number of tasks.

    Parameters
    ----------
    x
        Lazy array.

    Returns
    -------
    Plan
        Prints as a table; `to_dict` gives the numbers.

    Raises
    ------
    ArrayError
        If `x` has chunks of unknown size.

    Examples
    --------
    >>> import dask.array as da
    >>> import overspill as osp
    >>> a = da.ones((300, 200), chunks=100)
    >>> osp.plan(osp.matmul(a, a.T)).flop
    36000000
    """
    if math.isnan(x.nbytes):
        raise ArrayError("x has chunks of unknown size: call x.compute_chunk_sizes() first")
    products = tuple(layer.plan for layer in x.dask.layers.values() if isinstance(layer, ProductLayer))
    return Plan(
        shape=x.shape,
        dtype=str(x.dtype),
        nbytes=int(x.nbytes),
        residence=backend.residence_of(x._meta),
        tasks=len(x.dask),
        workers=machine.current_resources().workers,
        products=products,
    )
