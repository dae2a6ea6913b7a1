"""What there is to mend, from facts alone: a line names the value, the limit and the way out."""

import pytest

from doctor.machines import GIB, H200, server
from overspill.doctor.advice import of_facts
from overspill.doctor.facts import Facts, Folder

UNUSABLE = {"gpus": (), "reach": ()}


def test_a_server_in_order_needs_nothing() -> None:
    assert list(of_facts(server())) == []


def test_a_machine_without_gpus_needs_nothing() -> None:
    bare = server(cuda={"present": 0, **UNUSABLE}, shm_nbytes=64 * 2**20)
    assert list(of_facts(bare)) == []


@pytest.mark.parametrize(
    ("facts", "parts"),
    [
        (server(shared_memory=False), ["no memfd_create", "use Linux"]),
        (
            server(cores=8, cores_worth=2.5),
            ["time of 2.5 cores, of 8", "n_workers=2", "--cpus=8"],
        ),
        (server(cores=8, cores_worth=0.5), ["time of 0.5 cores", "n_workers=1"]),
        (
            server(available_nbytes=20 * GIB),
            ["20 GiB of 512 GiB of memory is free", "run this again"],
        ),
        (
            server(available_nbytes=GIB, memory_limit_nbytes=16 * GIB),
            ["1 GiB of 16 GiB of memory is free"],
        ),
        (
            server(folder=Folder("/tmp", "tmpfs", 100 * GIB)),
            ["/tmp lies in memory (tmpfs)", "temporary-directory"],
        ),
        (
            server(folder=Folder("/scratch", "ext4", 5 * GIB)),
            ["/scratch has 5 GiB free", "512 GiB of memory", "make room"],
        ),
        (
            server(disagreements=(("dask-cuda", "dask<2026.7.2,>=2026.7.1", "2026.8.0"),)),
            ["dask-cuda asks for dask<2026.7.2,>=2026.7.1, but 2026.8.0", "pip install 'dask<2026.7.2,>=2026.7.1'"],
        ),
        (
            server(without=("cupy-cuda13x",), cuda={**UNUSABLE, "driver_cuda": 0}),
            ["4 GPUs are here, but CuPy is not installed", "overspill[gpu-cuda13]"],
        ),
        (
            server(without=("cupy-cuda13x",), cuda={**UNUSABLE, "driver": "560.35.03", "driver_cuda": 0, "present": 1}),
            ["a GPU is here, but CuPy is not installed", "'overspill[gpu]'"],
        ),
        (
            server(cuda={**UNUSABLE, "driver": "560.35.03", "driver_cuda": 12060, "error": "insufficient"}),
            ["driver 560.35.03 knows CUDA 12.6 at most", "made for 13.0", "'overspill[gpu]'"],
        ),
        (
            server(cuda={**UNUSABLE, "error": "cudaErrorNoDevice: no CUDA-capable device is detected"}),
            ["CuPy can use none (cudaErrorNoDevice", "CUDA_VISIBLE_DEVICES"],
        ),
        (
            server(versions={"cupy-cuda12x": "14.2.0"}),
            ["cupy-cuda12x and cupy-cuda13x overwrite each other", "pip uninstall cupy-cuda12x cupy-cuda13x"],
        ),
        (
            server(cuda={"missing": ("cublas", "nvrtc")}),
            ["cannot load cublas, nvrtc", "pip install 'cupy-cuda13x[ctk]'"],
        ),
        (server(without=("dask-cuda",)), ["dask-cuda, which starts their workers", "overspill[gpu-cuda13]"]),
        (server(without=("numba-cuda",)), ["numba-cuda is not installed", "overspill[gpu-cuda13]"]),
        (server(without=("rmm-cu13",)), ["rmm is not installed"]),
        (server(without=("distributed-ucxx-cu13",)), ["distributed-ucxx is not installed"]),
        (server(without=("nvidia-nccl-cu13",)), ["nvidia-nccl is not installed"]),
        (server(huge_shared_pages="never"), ["shmem_enabled is never", "as root, echo advise > /sys/"]),
        (server(shm_nbytes=64 * 2**20), ["/dev/shm is 64 MiB", "4 GPUs", "1 GiB", "--shm-size=1g"]),
        (
            server(cuda={"gpus": (H200,) * 2, "reach": ((True, False), (False, True))}),
            ["GPUs 0 and 1 cannot read each other's memory", "nvidia-smi topo"],
        ),
    ],
)
def test_one_fault_makes_one_line(facts: Facts, parts: list[str]) -> None:
    (line,) = of_facts(facts)
    assert [part for part in parts if part not in line] == []
    assert "\n" not in line


def test_one_gpu_needs_nothing_that_several_do() -> None:
    alone = {"present": 1, "gpus": (H200,), "reach": ((True,),)}
    lacking = ("rmm-cu13", "distributed-ucxx-cu13", "nvidia-nccl-cu13", "numba-cuda")
    assert list(of_facts(server(cuda=alone, shm_nbytes=0, without=lacking))) == []
