"""xarray's datasets as arrays with labels, in the encoding that the CF conventions prescribe, and back."""

from collections.abc import Mapping
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from overspill.errors import UsageError, WorkflowError
from overspill.storage import node
from overspill.storage.labels import Labels, check_attributes

_MISSING = ("_FillValue", "missing_value")


def variables(name: str, dataset: xr.Dataset) -> tuple[dict[str, tuple[da.Array, Labels]], dict[str, Any]]:
    """The variables of `dataset`, coordinates among them, as lazy arrays with labels; and its own attributes.

    Times become numbers with units. Encodings, which say how a file that was read had them, are left out.

    Raises
    ------
    WorkflowError
        If xarray cannot encode it, a variable has another ``_FillValue`` than NaN, on which readers of Zarr do not
        agree, or attributes are not JSON; the message begins with `name`.
    """
    unencoded = dataset.drop_encoding()
    try:
        encoded, attributes = xr.conventions.cf_encoder(*xr.conventions.encode_dataset_coordinates(unencoded))
    except Exception as error:  # encoders raise whatever they meet
        raise WorkflowError(
            f"build returns a dataset {name!r} that cannot be stored ({node.brief(error)}): change what that names"
        ) from error
    arrays = {str(each): _labelled(f"{name}/{each}", variable) for each, variable in encoded.items()}
    return arrays, _plain(name, attributes)


def dataset(variables: Mapping[str, tuple[da.Array, Labels]], attributes: Mapping[str, Any]) -> xr.Dataset:
    """The dataset of `variables`: coordinates are read, what is no index stays lazy."""
    encoded = {name: (labels.dims, x, labels.attributes) for name, (x, labels) in variables.items()}
    return xr.decode_cf(xr.Dataset(encoded, attrs=dict(attributes)))


def _labelled(name: str, variable: xr.Variable) -> tuple[da.Array, Labels]:
    # NaN needs no attribute to say that it is missing, and JSON has none.
    given = {key: value for key, value in variable.attrs.items() if key not in _MISSING or not _is_nan(value)}
    if "_FillValue" in given:
        raise WorkflowError(
            f"variable {name!r} has the _FillValue {given['_FillValue']}: put NaN in its place, and drop the attribute"
        )
    data = variable.data if isinstance(variable.data, da.Array) else da.from_array(variable.data, chunks=-1)
    return data, Labels(tuple(map(str, variable.dims)), _plain(name, given))


def _is_nan(value: Any) -> bool:
    return np.asarray(value).dtype.kind in "fc" and bool(np.all(np.isnan(value)))


def _plain(name: str, attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """`attributes` in JSON's types, as far as NumPy's are what is in the way."""
    plain = {
        str(key): value.tolist() if isinstance(value, np.generic | np.ndarray) else value
        for key, value in attributes.items()
    }
    try:
        check_attributes(plain)
    except UsageError as error:
        raise WorkflowError(f"build returns {name!r} whose {error}") from None
    return plain
