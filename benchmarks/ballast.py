"""Smaller GPUs than there are: another process holds the rest of each GPU's memory.

    python benchmarks/ballast.py NBYTES

leaves NBYTES free on every GPU until its standard input ends.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from overspill.units import format_nbytes

READY = "ready"


@contextmanager
def leaving(nbytes: int) -> Iterator[None]:
    """Leave `nbytes` free on each GPU for the length of the block, this process's own context not counted."""
    import cupy

    cupy.zeros(1)
    program = [sys.executable, __file__, str(nbytes)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        if process.stdout.readline().strip() != READY:
            raise RuntimeError(
                f"the GPUs' memory could not be taken to leave {format_nbytes(nbytes)}: see the error above, and end "
                f"what else uses the GPUs"
            )
        try:
            yield
        finally:
            process.stdin.close()


def main() -> None:
    """Take the memory and hold it."""
    from cupy.cuda import runtime

    for number in range(runtime.getDeviceCount()):
        runtime.setDevice(number)
        free_nbytes, _ = runtime.memGetInfo()
        runtime.malloc(max(1, free_nbytes - int(sys.argv[1])))
    print(READY, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
