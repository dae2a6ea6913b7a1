"""GPU memory that a network sends from and receives into; networks do not know of CUDA's streams.

Tasks' kernels run on CuPy's null stream, and what runs on other streams waits for it, and is waited for, where memory
changes hands. So the null stream is all that has to be done.
"""

from collections.abc import Iterable

import cupy


def empty(sizes: Iterable[int]) -> list[cupy.ndarray]:
    """New frames of so many bytes, which nothing that is queued on the GPU uses any more; blocks."""
    with cupy.cuda.Stream.null:
        frames = [cupy.empty(size, cupy.uint8) for size in sizes]
    settle()
    return frames


def settle() -> None:
    """Wait, without the interpreter's lock, until what is queued on the null stream has been done."""
    event = cupy.cuda.Event(block=True, disable_timing=True)
    event.record(cupy.cuda.Stream.null)
    event.synchronize()
