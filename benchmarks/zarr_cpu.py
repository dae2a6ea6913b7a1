"""From one uncompressed Zarr store to another through an elementwise function, on two worker processes, beside `cp`.

    python benchmarks/zarr_cpu.py [--nbytes 1GiB] [--chunk 64MiB] [--repeats 7] [--directory DIR]

Times in turn, in one run and after comparing their results: a copy of the source store by ``cp -r --reflink=never``,
which reads and writes the same bytes and computes nothing, this library, and stock Dask on a cluster as large. *Warm*,
the source lies in the page cache and the destination is left there; *cold*, the source has been dropped from it, and
the time counts until the destination is on the disk. Writes ``results/zarr_cpu.json``.
"""

import argparse
import logging
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import psutil
import record
import zarr
from distributed import Client, LocalCluster

import overspill as osp
from overspill.units import parse_nbytes

WORKERS = 2

DTYPE = np.dtype("float32")


def scale(x: Any) -> Any:
    """Packed data made physical."""
    return x * 0.25 + 3


def rational(x: Any) -> Any:
    """Arithmetic alone."""
    return (x * 3 + 1) * x - (x - 2) / (x * x + 1)


def wave(x: Any) -> Any:
    """Sines and a product."""
    return np.sin(x) ** 2 + np.cos(x) * x


EXPRESSIONS = (scale, rational, wave)

Copy = Callable[[Path, Path], None]
"""What makes a store at the second path from that at the first."""


def main() -> None:
    """Time every expression, warm and cold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nbytes", default="1GiB")
    parser.add_argument("--chunk", default="64MiB")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--directory", type=Path, help="where both stores lie; a temporary directory unless given")
    parser.add_argument("--results", type=Path, default=record.RESULTS, help="directory for the JSON file")
    arguments = parser.parse_args()
    nbytes, chunk_nbytes = parse_nbytes(arguments.nbytes), parse_nbytes(arguments.chunk)
    outcomes: dict[str, dict[str, list[float]]] = {}
    with (
        tempfile.TemporaryDirectory(dir=arguments.directory) as directory,
        osp.cluster(gpu=False, n_workers=WORKERS, dashboard_address=None) as ours,
        LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
        ) as stock,
        Client(stock, set_as_default=False) as stock_client,
    ):
        disk = disk_of(Path(directory))
        print(f"{nbytes / 2**30:g} GiB in chunks of {chunk_nbytes / 2**20:g} MiB on {disk}\n")
        source = make(Path(directory) / "source.zarr", nbytes, chunk_nbytes)
        print(f"{'expression':<16} {'contender':<12} {'min':>7} {'median':>7} {'max':>7}   GB/s  of cp, pair by pair")
        for temperature in ("warm", "cold"):
            for expression in EXPRESSIONS:
                name = f"{expression.__name__}, {temperature}"
                copies = contenders(expression, ours.client, stock_client)
                outcomes[name] = seconds = race(copies, expression, source, temperature, arguments.repeats)
                for contender, times in seconds.items():
                    ratio = statistics.median(cp / own for cp, own in zip(seconds["cp"], times, strict=True))
                    rate = nbytes / statistics.median(times) / 1e9
                    print(f"{name:<16} {contender:<12} {record.spread(times)} {rate:6.2f}  {ratio:.2f}", flush=True)
    settings = {"nbytes": nbytes, "chunk_nbytes": chunk_nbytes, "dtype": DTYPE.name, "workers": WORKERS, "disk": disk}
    path = record.write("zarr_cpu", {"settings": settings, "seconds": outcomes}, arguments.results)
    print(f"\nwritten: {path}")


def make(path: Path, nbytes: int, chunk_nbytes: int) -> Path:
    """The source: random numbers from 0 to below 10, on the disk."""
    generator = da.random.default_rng(np.random.PCG64(0))
    x = generator.random(nbytes // DTYPE.itemsize, chunks=chunk_nbytes // DTYPE.itemsize, dtype=DTYPE)
    osp.save(x * DTYPE.type(10), path)
    flush(path)
    return path


def contenders(expression: Callable[[Any], Any], ours: Client, stock: Client) -> dict[str, Copy]:
    """What is compared, the ruler first."""

    def cp(source: Path, destination: Path) -> None:
        subprocess.run(["cp", "-r", "--reflink=never", source, destination], check=True)

    def overspill(source: Path, destination: Path) -> None:
        with ours.as_current():
            osp.save(osp.elementwise(expression)(osp.open(source)), destination)

    def stock_dask(source: Path, destination: Path) -> None:
        with stock.as_current():
            expression(da.from_zarr(source)).to_zarr(destination, compressors=None)

    return {"cp": cp, "overspill": overspill, "stock dask": stock_dask}


def race(
    copies: dict[str, Copy], expression: Callable[[Any], Any], source: Path, temperature: str, repeats: int
) -> dict[str, list[float]]:
    """Seconds of every contender, in turn; the first round warms up, and checks."""
    seconds: dict[str, list[float]] = {name: [] for name in copies}
    for repeat in range(-1, repeats):
        for name, copy in copies.items():
            destination = source.with_name("destination.zarr")
            prepare(source, temperature)
            start = time.perf_counter()
            copy(source, destination)
            if temperature == "cold":
                flush(destination)
            elapsed = time.perf_counter() - start
            if repeat >= 0:
                seconds[name].append(elapsed)
            else:
                check(name, destination, source, (lambda x: x) if name == "cp" else expression)
            shutil.rmtree(destination)
    return seconds


def prepare(source: Path, temperature: str) -> None:
    """Read the source, so that it lies in the page cache, or drop it from there; with memory to write to."""
    os.sync()
    for file in files(source):
        with file.open("rb", buffering=0) as opened:
            if temperature == "cold":
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            else:
                while opened.read(2**20):
                    pass
    # A virtual machine may have given its free memory back, which makes the next to use it many times slower.
    np.ones(2 * sum(file.stat().st_size for file in files(source)), np.uint8)


def flush(path: Path) -> None:
    """Wait until all files below `path` are on the disk."""
    for file in files(path):
        with file.open("rb", buffering=0) as opened:
            os.fsync(opened.fileno())


def check(name: str, destination: Path, source: Path, expression: Callable[[Any], Any]) -> None:
    """Compare all elements with those that NumPy makes of the source."""
    given, found = (zarr.open_array(path, mode="r") for path in (source, destination))
    assert (found.shape, found.dtype) == (given.shape, given.dtype)
    (length,) = given.chunks
    for start in range(0, given.size, length):
        part = slice(start, start + length)
        error = np.abs(found[part] - expression(given[part])).max()
        assert error <= 1e-5, f"{name} is wrong by {error} in {part}"


def files(path: Path) -> list[Path]:
    """All files below `path`."""
    return [file for file in path.rglob("*") if file.is_file()]


def disk_of(path: Path) -> str:
    """File system and device that `path` lies on."""
    mounts = {part.mountpoint: part for part in psutil.disk_partitions(all=True)}
    found = next(str(parent) for parent in (path.resolve(), *path.resolve().parents) if str(parent) in mounts)
    return f"{mounts[found].fstype}, {mounts[found].device}"


if __name__ == "__main__":
    main()
