"""Parameters of a workflow: from ``name=value`` text to a typed dataclass, and to JSON and back."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from overspill.errors import UsageError, WorkflowError
from overspill.units import parse_nbytes

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_NONE = ("none", "auto")


class Nbytes(int):
    """A size in bytes, made from text like ``"48MiB"`` or from a number: the type of a parameter that is one.

    Raises
    ------
    UsageError
        If the text is no size, or is negative.

    Examples
    --------
    >>> import overspill as osp
    >>> osp.Nbytes("48MiB")
    50331648
    """

    def __new__(cls, size: str | int | float) -> Self:
        """Read `size`."""
        return super().__new__(cls, parse_nbytes(size))


def split(assignments: Sequence[str]) -> dict[str, str]:
    """``["n=8192"]`` as ``{"n": "8192"}``; of a name given twice the last value counts.

    Raises
    ------
    UsageError
        If there is no ``=``.
    """
    settings = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set {assignment} assigns nothing: write it like --set name=value")
        settings[name.strip()] = value.strip()
    return settings


def parse(params_class: type, settings: Mapping[str, str]) -> Any:
    """An instance of the dataclass `params_class` with the fields in `settings` read from text.

    Raises
    ------
    UsageError
        For a name that is no field, a value that is not of the field's type, a file that does not exist, a field
        without a value, and whatever the class itself refuses with a ValueError.
    WorkflowError
        If a field is of a type that cannot be read from text, or its default value is not of its type.
    """
    fields = {field.name: field for field in dataclasses.fields(params_class) if field.init}
    for name in settings:
        if name not in fields:
            raise UsageError(f"there is no parameter {name!r}: {_way_out(name, list(fields))}")
    kinds = types_of(params_class)
    for name, field in fields.items():
        if name not in settings and _is_required(field):
            raise UsageError(f"parameter {name!r} ({describe(kinds[name])}) has no value: add --set {name}=VALUE")
    given = {name: _read(name, text, kinds[name]) for name, text in settings.items()}
    left = {name: _default(field, kinds[name]) for name, field in fields.items() if name not in settings}
    return _construct(params_class, {**left, **given})


def types_of(params_class: type) -> dict[str, Any]:
    """The types of the fields of `params_class`.

    Raises
    ------
    WorkflowError
        If a field's type cannot be read from text.
    """
    try:
        hints = typing.get_type_hints(params_class)
    except NameError as error:
        raise WorkflowError(f"Params has a field of an unknown type: {error}") from None
    kinds = {field.name: hints[field.name] for field in dataclasses.fields(params_class) if field.init}
    for name, kind in kinds.items():
        if not all(_is_readable(choice) for choice in _choices(kind)):
            raise WorkflowError(
                f"Params.{name} is of type {describe(kind)}, which cannot be read from text: "
                "use int, float, bool, str, Literal, pathlib.Path or overspill.Nbytes (see docs/workflows.md)"
            )
    return kinds


def to_json(params: Any) -> dict[str, Any]:
    """The fields of `params` in JSON's types, paths made absolute."""
    return {field.name: _to_json(getattr(params, field.name)) for field in dataclasses.fields(params) if field.init}


def _to_json(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.resolve())
    # JSON has no infinities.
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def from_json(params_class: type, values: Any) -> Any:
    """What `to_json` was given.

    Raises
    ------
    UsageError
        If an input named in it is there no longer, or a value does not fit the class.
    """
    kinds = types_of(params_class)
    names = list(values) if isinstance(values, Mapping) else []
    if set(names) != set(kinds):
        raise UsageError(f"the recorded parameters ({', '.join(names)}) are not those of Params ({', '.join(kinds)})")
    read = {
        name: value if value is None or isinstance(value, bool) else _read(name, str(value), kinds[name])
        for name, value in values.items()
    }
    return _construct(params_class, read)


def describe(kind: Any) -> str:
    """A field's type, in the words of the command line."""
    return " or ".join(_describe(choice) for choice in _choices(kind))


def _describe(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        *others, last = map(str, typing.get_args(kind))
        return f"{', '.join(others)} or {last}" if others else last
    names = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        Path: "a file or directory",
        Nbytes: "a size in bytes like 48MiB",
        types.NoneType: "auto",
    }
    return names.get(kind) or getattr(kind, "__name__", None) or str(kind)


def _choices(kind: Any) -> tuple[Any, ...]:
    """The members of a union, None last; or the one type that `kind` is."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return tuple(sorted(typing.get_args(kind), key=lambda choice: choice is types.NoneType))
    return (kind,)


def _is_readable(kind: Any) -> bool:
    return kind in (int, float, bool, str, Path, Nbytes, types.NoneType) or typing.get_origin(kind) is Literal


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _default(field: dataclasses.Field[Any], kind: Any) -> Any:
    """The default value of `field` as `kind`, so that it stays the same when it is written as JSON and read again."""
    value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if value is None or isinstance(value, bool):
        return value
    choices = _choices(kind)
    if int in choices and isinstance(value, float) and value.is_integer():
        return int(value)
    try:
        return _read(field.name, str(value), kind)
    except UsageError:
        raise WorkflowError(f"Params.{field.name} is {describe(kind)}, but its default is {value!r}") from None


def _construct(params_class: type, values: Mapping[str, Any]) -> Any:
    try:
        params = params_class(**values)
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from None
    for field in dataclasses.fields(params):
        value = getattr(params, field.name)
        if isinstance(value, Path) and not value.exists():
            raise UsageError(f"parameter {field.name!r} names {value}, which does not exist")
    return params


def _read(name: str, text: str, kind: Any) -> Any:
    *choices, last = _choices(kind)
    if last is types.NoneType and text.lower() in _NONE:
        return None
    for choice in [*choices, last]:
        try:
            return _read_as(choice, text)
        except ValueError:
            continue
    raise UsageError(f"parameter {name!r} cannot be {text!r}: it takes {describe(kind)}")


def _read_as(kind: Any, text: str) -> Any:
    """`text` as a `kind`; ValueError, of which UsageError is one, if it is none."""
    if typing.get_origin(kind) is Literal:
        return _pick({str(value): value for value in typing.get_args(kind)}, text)
    if kind is bool:
        return _pick(dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False), text.lower())
    if kind is types.NoneType or (kind is Path and not text):
        raise ValueError
    value = kind(text)
    if kind is float and math.isnan(value):
        raise ValueError
    return value


def _pick(values: Mapping[str, Any], text: str) -> Any:
    if text not in values:
        raise ValueError
    return values[text]


def _way_out(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    listed = f"the parameters are {', '.join(names)}" if names else "this workflow takes none"
    return f"did you mean {close[0]!r}? {listed[0].upper()}{listed[1:]}" if close else listed
