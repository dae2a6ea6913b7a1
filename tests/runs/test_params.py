"""Parameters are read from text by the types of their fields, and what cannot be read is refused in one sentence."""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from overspill.errors import UsageError, WorkflowError
from overspill.runs.params import Nbytes, from_json, parse, split, to_json

KIB = Nbytes("1KiB")


@dataclass(frozen=True)
class Params:
    n: int = 10
    scale: float = 1.5
    loud: bool = False
    name: str = "x"
    kind: Literal["row", "column", 0] = "row"
    memory: Nbytes | None = None
    where: Path | None = None

    def __post_init__(self) -> None:
        if self.n < 0:
            raise ValueError(f"n={self.n} is negative: take 0 or more")


@dataclass(frozen=True)
class Required:
    n: int
    size: Nbytes = KIB


def test_each_type_is_read(tmp_path: Path) -> None:
    settings = {
        "n": "20",
        "scale": "1e-3",
        "loud": "yes",
        "name": "a=b",
        "kind": "column",
        "memory": "48MiB",
        "where": str(tmp_path),
    }
    assert parse(Params, settings) == Params(20, 1e-3, True, "a=b", "column", Nbytes(48 * 2**20), tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("memory", "auto", None),
        ("memory", "none", None),
        ("memory", "1000", 1000),
        ("kind", "0", 0),
        ("loud", "False", False),
        ("scale", "2", 2.0),
        ("n", "1_000", 1000),
    ],
)
def test_forms_of_values(name: str, text: str, value: object) -> None:
    assert getattr(parse(Params, {name: text}), name) == value


@pytest.mark.parametrize(
    ("name", "text", "takes"),
    [
        ("n", "ten", "a whole number"),
        ("n", "1.5", "a whole number"),
        ("n", "", "a whole number"),
        ("scale", "nan", "a number"),
        ("loud", "perhaps", "true or false"),
        ("kind", "diagonal", "row, column or 0"),
        ("memory", "48 pounds", "a size in bytes like 48MiB or auto"),
        ("memory", "-1", "a size in bytes"),
        ("where", "", "a file or directory"),
    ],
)
def test_unparsable_value_names_field_and_type(name: str, text: str, takes: str) -> None:
    with pytest.raises(UsageError, match=f"parameter '{name}' cannot be '{text}': it takes {takes}"):
        parse(Params, {name: text})


def test_unknown_name_lists_the_names() -> None:
    with pytest.raises(
        UsageError, match="no parameter 'memry': did you mean 'memory'\\? The parameters are n, scale, "
    ):
        parse(Params, {"memry": "1"})


def test_missing_value_tells_what_to_add() -> None:
    with pytest.raises(UsageError, match=r"'n' \(a whole number\) has no value: add --set n=VALUE"):
        parse(Required, {})
    assert parse(Required, {"n": "1"}).size == 1024


def test_what_the_class_refuses_is_usage() -> None:
    with pytest.raises(UsageError, match="n=-1 is negative"):
        parse(Params, {"n": "-1"})


def test_missing_file_is_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'where' names .*gone, which does not exist"):
        parse(Params, {"where": str(tmp_path / "gone")})


def test_unreadable_type_is_the_workflows_fault() -> None:
    @dataclass(frozen=True)
    class Odd:
        values: list[int]

    with pytest.raises(WorkflowError, match=r"Params\.values is of type list.*Nbytes"):
        parse(Odd, {})


def test_assignments() -> None:
    assert split(["a=1", "b=x=y", "a=2"]) == {"a": "2", "b": "x=y"}
    for assignment in ("a", "=1"):
        with pytest.raises(UsageError, match=f"--set {assignment} assigns nothing"):
            split([assignment])


@pytest.mark.parametrize("settings", [{}, {"memory": "1GiB", "kind": "0", "loud": "true", "where": "."}])
def test_json_and_back(settings: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = parse(Params, settings)
    recorded: dict[str, Any] = json.loads(json.dumps(to_json(params)))
    monkeypatch.chdir(os.sep)
    again = from_json(Params, recorded)
    assert (again.memory, again.kind, again.loud) == (params.memory, params.kind, params.loud)
    assert again.where == (tmp_path if "where" in settings else None)


@dataclass(frozen=True)
class Loose:
    scale: float = 1
    n: int = 1e4  # type: ignore[assignment]
    where: Path = "."  # type: ignore[assignment]
    memory: Nbytes = "48MiB"  # type: ignore[assignment]
    limit: float = math.inf


def test_defaults_are_of_the_type_of_their_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = parse(Loose, {})
    assert [type(value) for value in vars(params).values()] == [float, int, type(tmp_path), Nbytes, float]
    recorded = json.dumps(to_json(params), allow_nan=False)
    monkeypatch.chdir(os.sep)
    again = from_json(Loose, json.loads(recorded))
    assert again.where == tmp_path
    assert json.dumps(to_json(again)) == recorded


def test_default_that_does_not_fit_its_field() -> None:
    @dataclass(frozen=True)
    class Odd:
        n: int = 1.5  # type: ignore[assignment]

    with pytest.raises(WorkflowError, match=r"Params\.n is a whole number, but its default is 1\.5"):
        parse(Odd, {})
    assert parse(Odd, {"n": "2"}).n == 2


@pytest.mark.parametrize("recorded", [to_json(Params()), [1], None, 3])
def test_json_of_another_class_is_refused(recorded: object) -> None:
    with pytest.raises(UsageError, match="recorded parameters"):
        from_json(Required, recorded)


def test_nbytes_is_a_whole_number() -> None:
    assert Nbytes("48MiB") // 2 == 24 * 2**20
    with pytest.raises(UsageError, match="is not a size"):
        Nbytes("much")
