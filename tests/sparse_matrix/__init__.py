"""Tests of `overspill.sparse`. Under that name alone Dask would take them for the library `sparse`."""
