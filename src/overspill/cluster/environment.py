"""What worker processes inherit from this one: environment variables."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dask

_BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def inherited(env: Mapping[str, object]) -> Iterator[None]:
    """Let processes started inside the block have one BLAS thread each, unless `env` says otherwise.

    BLAS reads these variables as it is loaded, so they must stand in this process's own environment when a worker, or
    the replacement of one that died, is spawned. Distributed leaves variables of its own behind; all are put back.
    """
    wanted = dict.fromkeys(_BLAS_THREADS, "1") | {name: str(value) for name, value in env.items()}
    touched = {*wanted, *dask.config.get("distributed.nanny.pre-spawn-environ"), "PYTHONHASHSEED", "__DASK_PARENT_PID"}
    before = {name: os.environ.get(name) for name in touched}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
