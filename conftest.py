"""Which modules pytest may look into for examples: those of the CUDA side cannot be imported without cupy."""

import importlib.util

CUDA_SIDE = [
    "src/overspill/kernels/*_cuda.py",
    "src/overspill/memory/pinning.py",
    "src/overspill/memory/store/cuda.py",
    "src/overspill/stream/cuda.py",
]

collect_ignore_glob = [] if importlib.util.find_spec("cupy") else CUDA_SIDE
