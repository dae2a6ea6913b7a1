"""What the GPUs are and whether CuPy can use them; looks only, and starts nothing on them."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

from cupy.cuda import runtime
from cupy_backends.cuda import libs

from overspill import machine
from overspill.doctor.facts import CUDAFacts, GPUFacts

LIBRARIES = ("cublas", "cusparse", "cusolver", "curand")

PCIE_PER_LANE_PER_S = {1: 0.25e9, 2: 0.5e9, 3: 0.985e9, 4: 1.969e9, 5: 3.938e9, 6: 7.563e9}
"""Bytes per second of one lane in one direction, by generation of PCI Express."""


def look(present: int) -> CUDAFacts:
    """The GPUs that CuPy can use, of `present` ones that the system shows."""
    found = CUDAFacts(
        present=present,
        driver=machine.driver(),
        runtime_cuda=int(runtime.runtimeGetVersion()),
        missing=missing(),
    )
    try:
        found = replace(found, driver_cuda=int(runtime.driverGetVersion()))
        count = int(runtime.getDeviceCount())
        gpus = tuple(_gpu(index) for index in range(count))
        reach = tuple(
            tuple(here == there or bool(runtime.deviceCanAccessPeer(here, there)) for there in range(count))
            for here in range(count)
        )
    except runtime.CUDARuntimeError as error:
        return replace(found, error=str(error))
    return replace(found, gpus=gpus, reach=reach)


def missing() -> tuple[str, ...]:
    """CUDA libraries that CuPy cannot load: its wheels bring none."""
    names = []
    for name in LIBRARIES:
        try:
            getattr(libs, name)  # which finds the libraries of NVIDIA's own wheels first, where importing would not
        except ImportError:
            names.append(name)
    try:
        libs.nvrtc.getVersion()
    except Exception:  # what the loader raises is of no public class
        names.append("nvrtc")
    return tuple(names)


def _gpu(index: int) -> GPUFacts:
    properties = runtime.getDeviceProperties(index)
    return GPUFacts(
        properties["name"].decode(), int(properties["totalGlobalMem"]), **_managed(runtime.deviceGetPCIBusId(index))
    )


def _managed(bus_id: str) -> dict[str, Any]:
    """What NVIDIA's management library tells of the GPU on `bus_id`; what it does not is left out."""
    told: dict[str, Any] = {}
    try:
        import pynvml
    except ImportError:  # it comes with dask-cuda
        return told
    with suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByPciBusId(bus_id)
        with suppress(pynvml.NVMLError):
            generation = pynvml.nvmlDeviceGetMaxPcieLinkGeneration(handle)
            width = pynvml.nvmlDeviceGetMaxPcieLinkWidth(handle)
            if generation in PCIE_PER_LANE_PER_S:
                told["pcie_per_s"] = width * PCIE_PER_LANE_PER_S[generation]
        with suppress(pynvml.NVMLError):
            told["ecc"] = bool(pynvml.nvmlDeviceGetEccMode(handle)[0])
        with suppress(pynvml.NVMLError):
            told["mig"] = bool(pynvml.nvmlDeviceGetMigMode(handle)[0])
        pynvml.nvmlShutdown()
    return told
