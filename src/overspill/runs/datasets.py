"""xarray's datasets as arrays with labels, in the encoding that the CF conventions prescribe, and back."""

from collections.abc import Mapping
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from overspill.errors import WorkflowError
from overspill.storage.labels import Labels


def variables(dataset: xr.Dataset) -> tuple[dict[str, tuple[da.Array, Labels]], dict[str, Any]]:
    """The variables of `dataset`, coordinates among them, as lazy arrays with labels; and its own attributes.

    Times become numbers with units. Encodings, which say how a file that was read had them, are left out.

    Raises
    ------
    WorkflowError
        If a variable has another ``_FillValue`` than NaN, on which readers of Zarr do not agree.
    """
    unencoded = dataset.drop_encoding()
    encoded, attributes = xr.conventions.cf_encoder(*xr.conventions.encode_dataset_coordinates(unencoded))
    return {str(name): _labelled(str(name), variable) for name, variable in encoded.items()}, _plain(attributes)


def dataset(variables: Mapping[str, tuple[da.Array, Labels]], attributes: Mapping[str, Any]) -> xr.Dataset:
    """The dataset of `variables`: coordinates are read, what is no index stays lazy."""
    encoded = {name: (labels.dims, x, labels.attributes) for name, (x, labels) in variables.items()}
    return xr.decode_cf(xr.Dataset(encoded, attrs=dict(attributes)))


def _labelled(name: str, variable: xr.Variable) -> tuple[da.Array, Labels]:
    attributes = _plain(variable.attrs)
    missing = attributes.pop("_FillValue", np.nan)
    # NaN needs no attribute to say that it is missing, and JSON has none.
    if not np.isnan(missing):
        raise WorkflowError(
            f"variable {name!r} has the _FillValue {missing}: put NaN in its place, and drop the attribute"
        )
    data = variable.data if isinstance(variable.data, da.Array) else da.from_array(variable.data, chunks=-1)
    return data, Labels(tuple(map(str, variable.dims)), attributes)


def _plain(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """`attributes` in JSON's types, as far as NumPy's are what is in the way."""
    return {
        str(name): value.tolist() if isinstance(value, np.generic | np.ndarray) else value
        for name, value in attributes.items()
    }
