"""What a workflow builds, as single arrays to store: datasets are taken apart, and put together again when stored."""

import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np

from overspill.errors import WorkflowError
from overspill.storage.labels import Labels

_NAME = re.compile(r"[A-Za-z]\w*")


@dataclass(frozen=True, slots=True)
class Outputs:
    """The arrays of a run.

    Attributes
    ----------
    arrays
        By name; a variable of a dataset has the name ``DATASET/VARIABLE``.
    labels
        Of the variables, by the same names.
    datasets
        Attributes of each dataset, by its name.
    """

    arrays: dict[str, da.Array]
    labels: dict[str, Labels]
    datasets: dict[str, dict[str, Any]]

    def __or__(self, other: "Outputs") -> "Outputs":
        """Both; no name is in both."""
        return Outputs(self.arrays | other.arrays, self.labels | other.labels, self.datasets | other.datasets)


def lazy(value: Any) -> Any:
    """Numbers and NumPy arrays as lazy arrays, anything else as it is."""
    return da.from_array(np.asarray(value)) if isinstance(value, np.ndarray | np.generic | int | float) else value


def take_apart(built: Any, function: str, workflow_name: str) -> Outputs:
    """The outputs that the mapping `built`, which a workflow's `function` returned, is made of.

    Raises
    ------
    WorkflowError
        If it is anything else than named Dask arrays, or datasets of them, that can be stored.
    """
    if not isinstance(built, Mapping) or not built:
        raise WorkflowError(f"{function} of workflow {workflow_name} returns no mapping of names to arrays")
    outputs = Outputs({}, {}, {})
    for name, value in built.items():
        _check_name(name, function)
        if _is_dataset(value):
            from overspill.runs import datasets

            variables, outputs.datasets[name] = datasets.variables(name, value)
            for variable, (array, labels) in variables.items():
                _check_name(variable, function)
                outputs.arrays[f"{name}/{variable}"] = array
                outputs.labels[f"{name}/{variable}"] = labels
        elif isinstance(value, da.Array):
            outputs.arrays[name] = value
        else:
            raise WorkflowError(
                f"{function} returns a {type(value).__name__} as {name!r}: it must be a lazy Dask array or an "
                "xarray.Dataset"
            )
    if not outputs.arrays:
        raise WorkflowError(
            f"{function} of workflow {workflow_name} returns datasets without variables: give them some"
        )
    for name, array in outputs.arrays.items():
        _check_storable(name, array, function)
    return outputs


def put_together(outputs: Outputs, stored: Mapping[str, da.Array]) -> dict[str, Any]:
    """The results for a workflow to look at: scalars in place of arrays of no dimensions, and datasets as they were.

    Parameters
    ----------
    outputs
        What was stored.
    stored
        The arrays as they were stored, by the names that they have in `outputs`.
    """
    results = {name: x if x.ndim else x.compute()[()] for name, x in stored.items() if "/" not in name}
    for dataset, attributes in outputs.datasets.items():
        from overspill.runs import datasets

        variables = {name: (stored[f"{dataset}/{name}"], labels) for name, labels in _labels_in(outputs, dataset)}
        results[dataset] = datasets.dataset(variables, attributes)
    return results


def scalars(results: Mapping[str, Any]) -> dict[str, np.generic]:
    """Those of `results` that had no dimensions."""
    return {name: result for name, result in results.items() if isinstance(result, np.generic)}


def _labels_in(outputs: Outputs, dataset: str) -> Iterator[tuple[str, Labels]]:
    for name, labels in outputs.labels.items():
        first, _, variable = name.partition("/")
        if first == dataset:
            yield variable, labels


def _is_dataset(x: Any) -> bool:
    # Whoever made a dataset has imported xarray; nobody else needs to have it.
    xarray = sys.modules.get("xarray")
    return xarray is not None and isinstance(x, xarray.Dataset)


def _check_name(name: Any, function: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise WorkflowError(f"{function} names a result {name!r}: use letters, digits and underscores")


def _check_storable(name: str, array: da.Array, function: str) -> None:
    if any(math.isnan(size) for sizes in array.chunks for size in sizes):
        raise WorkflowError(
            f"{function} returns {name!r} with chunks of unknown size, as a mask makes them: return an array of known "
            "shape"
        )
    if array.dtype.hasobject or array.dtype.fields is not None:
        raise WorkflowError(
            f"{function} returns {name!r} with {array.dtype} elements, which cannot be stored: "
            "convert them to numbers or strings of fixed length"
        )
