"""How long passes take: spread over the workers, with links, memory and arithmetic of several tasks overlapped."""

from collections.abc import Mapping, Sequence
from heapq import heapreplace

from overspill.planning.cost import overlapped
from overspill.planning.one_pass import Pass
from overspill.planning.resources import Rates, Resources

SCHEDULED_PER_S = 4000
"""Tasks that Dask's scheduler hands out in a second, to all workers together."""

BOUNDS = {
    "upload": "the link to the devices",
    "download": "the link back",
    "device memory": "device memory",
    "device compute": "compute",
    "host memory": "host memory",
    "host compute": "compute",
    "disk": "disk",
    "recompute": "making chunks",
    "tasks": "Dask's own work for each task",
}
"""What may take the time, and what people call it."""

ON_DEVICE = ("upload", "download", "device memory", "device compute")
"""What the tasks of a worker share; of the rest each has its own core's."""


def elapsed(works: Sequence[Pass], resources: Resources) -> tuple[float, str]:
    """Seconds until all of `works` are done, and what takes the time, a key of `BOUNDS`.

    Each task goes to the worker, or on CPUs to the core, that is free first. A core does one thing after the other. On
    a GPU both directions of the link, memory and arithmetic overlap, as far as there are several tasks at a time, and
    the link carries both at once: the first one's upload and the last one's download nothing hides.

    Examples
    --------
    >>> from overspill.planning.resources import Rates, Resources
    >>> rates = Rates({}, 50e9, 40e9, 90e9, 1e9, 1e9, 4e12, 1e13, 0.0, "figures made up")
    >>> given = Resources("cuda", 2, 2, 2**36, 2**36, rates, rates)
    >>> seconds, bound = elapsed([Pass(uploaded_nbytes=10**9)] * 100, given)
    >>> round(seconds, 6), bound
    (1.0, 'upload')
    """
    at_a_time = resources.threads if resources.device == "cuda" else 1
    lanes = resources.workers * resources.threads // at_a_time
    spent = [dict.fromkeys(BOUNDS, 0.0) for _ in range(lanes)]
    counts = [0] * lanes
    free = [(0.0, lane) for lane in range(lanes)]
    for work in works:
        until, lane = free[0]
        seconds = spending(work, resources)
        heapreplace(free, (until + sum(seconds.values()), lane))
        counts[lane] += 1
        for name, each in seconds.items():
            spent[lane][name] += each if name in ON_DEVICE else each / at_a_time
    rates = resources.rates
    busiest_s, busiest = max((_lane_s(spent[lane], counts[lane], at_a_time, rates), lane) for lane in range(lanes))
    scheduled_s = len(works) / SCHEDULED_PER_S
    if scheduled_s > busiest_s:
        return scheduled_s, "tasks"
    return busiest_s, max(spent[busiest], key=lambda name: spent[busiest][name])


def spending(work: Pass, resources: Resources) -> dict[str, float]:
    """Seconds that one task takes of each of `BOUNDS`."""
    rates, host = resources.rates, resources.host_rates
    return {
        "upload": work.uploaded_nbytes / rates.upload_per_s,
        "download": work.downloaded_nbytes / rates.download_per_s,
        "device memory": work.device_nbytes / rates.memory_per_s,
        "device compute": work.on_device.cupy / rates.elementwise_per_s,
        "host memory": work.host_nbytes / host.memory_per_s,
        "host compute": work.on_host.numpy / host.elementwise_per_s,
        "disk": work.read_nbytes / rates.disk_per_s,
        "recompute": work.made_nbytes / host.recompute_per_s,
        "tasks": rates.task_s,
    }


def _lane_s(spent: Mapping[str, float], count: int, at_a_time: int, rates: Rates) -> float:
    serial_s = sum(spent.values())
    if at_a_time == 1:
        return serial_s
    crossing_nbytes = spent["upload"] * rates.upload_per_s + spent["download"] * rates.download_per_s
    steady_s = max(overlapped(*spent.values()), crossing_nbytes / rates.both_ways_per_s)
    return steady_s + (serial_s - steady_s) / max(1, count)
