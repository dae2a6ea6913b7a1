"""Sparse matrices larger than a GPU: row blocks of CSR, what makes them and what multiplies them."""

__all__: list[str] = []
