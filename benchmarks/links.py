"""What the links between host memory and the GPUs carry: copies from page-locked memory, of all GPUs at once."""

import time

import numpy as np
from distributed import Client

COPIED_NBYTES = 2**29

LEAST_S = 1.0


def gb_per_s(client: Client, *, both_ways: bool = False) -> float:
    """What all workers' GPUs copy up together; or up, while as much goes the other way."""
    rates = client.run(_nbytes_per_s, both_ways=both_ways)
    return sum(rates.values()) / 1e9


def _nbytes_per_s(both_ways: bool) -> float:
    import cupy
    import cupyx
    from cupy.cuda import runtime

    up, down = cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream(non_blocking=True)
    device = [cupy.empty(COPIED_NBYTES, np.uint8) for _ in range(2)]
    host = [cupyx.empty_pinned(COPIED_NBYTES, np.uint8) for _ in range(2)]
    turns, start = 0, time.perf_counter()
    while time.perf_counter() - start < LEAST_S:
        runtime.memcpyAsync(device[0].data.ptr, host[0].ctypes.data, COPIED_NBYTES, runtime.memcpyHostToDevice, up.ptr)
        if both_ways:
            runtime.memcpyAsync(
                host[1].ctypes.data, device[1].data.ptr, COPIED_NBYTES, runtime.memcpyDeviceToHost, down.ptr
            )
        up.synchronize()
        down.synchronize()
        turns += 1
    return turns * COPIED_NBYTES / (time.perf_counter() - start)
