"""xarray's datasets as arrays with labels, in the encoding that the CF conventions prescribe, and back."""

from collections.abc import Mapping
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from overspill.storage.labels import Labels


def variables(dataset: xr.Dataset) -> tuple[dict[str, tuple[da.Array, Labels]], dict[str, Any]]:
    """The variables of `dataset`, coordinates among them, as lazy arrays with labels; and its own attributes.

    Times become numbers with units, as `xarray.Dataset.to_zarr` has them.
    """
    encoded, attributes = xr.conventions.cf_encoder(*xr.conventions.encode_dataset_coordinates(dataset))
    return {name: _labelled(variable) for name, variable in encoded.items()}, _plain(attributes)


def dataset(variables: Mapping[str, tuple[da.Array, Labels]], attributes: Mapping[str, Any]) -> xr.Dataset:
    """The dataset of `variables`: coordinates are read, what is no index stays lazy."""
    encoded = {name: (labels.dims, x, labels.attributes) for name, (x, labels) in variables.items()}
    return xr.decode_cf(xr.Dataset(encoded, attrs=dict(attributes)))


def _labelled(variable: xr.Variable) -> tuple[da.Array, Labels]:
    attributes = _plain(variable.attrs)
    # NaN needs no attribute to say that it is missing, and JSON has none.
    if attributes.get("_FillValue") != attributes.get("_FillValue"):
        del attributes["_FillValue"]
    data = variable.data if isinstance(variable.data, da.Array) else da.from_array(variable.data, chunks=-1)
    return data, Labels(tuple(map(str, variable.dims)), attributes)


def _plain(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """`attributes` in JSON's types, as far as NumPy's are what is in the way."""
    return {
        str(name): value.tolist() if isinstance(value, np.generic | np.ndarray) else value
        for name, value in attributes.items()
    }
