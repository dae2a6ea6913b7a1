"""The arithmetic itself: BLAS as SciPy exposes it, and exact integer products."""
