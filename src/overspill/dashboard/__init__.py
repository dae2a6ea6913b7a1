"""The page ``/overspill`` of Dask's dashboard: where the workers' data lie, and what moves between the tiers.

A scheduler serves it once it has loaded `overspill.dashboard.preload`.
"""
