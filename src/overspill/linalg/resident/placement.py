"""Which worker gets which row blocks: runs of them, even by stored entries, where most of them lie already."""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

import numpy as np
from scipy.optimize import linear_sum_assignment

from overspill.sparse.partition import balanced


def runs(costs: Sequence[int], parts: int) -> tuple[range, ...]:
    """Row blocks that cost `costs` each, cut into at most `parts` runs as even as they can be.

    Examples
    --------
    >>> runs([600, 100, 100, 100, 100, 100], 2)
    (range(0, 1), range(1, 6))
    """
    sizes = balanced(np.asarray(costs, np.int64), parts)
    ends = np.cumsum((0, *sizes)).tolist()
    return tuple(range(start, stop) for start, stop in pairwise(ends))


def assigned(
    runs: Sequence[range], costs: Sequence[int], lies_on: Mapping[int, Collection[str]], workers: Sequence[str]
) -> tuple[str, ...]:
    """A worker of its own for each run, so that blocks that lie elsewhere cost little together.

    Parameters
    ----------
    runs, costs
        The runs, and what each block costs to move.
    lies_on
        The workers that have each block.
    workers
        At least as many as there are runs.

    Examples
    --------
    >>> assigned([range(0, 1), range(1, 3)], [1, 1, 1], {0: ["b"], 1: ["a"], 2: ["a"]}, ["a", "b"])
    ('b', 'a')
    """
    there = np.zeros((len(runs), len(workers)))
    for number, run in enumerate(runs):
        for block in run:
            for place, worker in enumerate(workers):
                there[number, place] += costs[block] if worker in lies_on.get(block, ()) else 0
    _, places = linear_sum_assignment(there, maximize=True)
    return tuple(workers[place] for place in places.tolist())
