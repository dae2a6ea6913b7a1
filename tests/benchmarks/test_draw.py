"""Pictures of results say what the results say, the committed ones too; what failed is told in words."""

import importlib
import json
import re
import shutil
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from cases import environment

ROOT = Path(__file__).parents[2]

RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))

COMMITTED = ROOT / "docs" / "pictures" / "results"

LARGEST_NBYTES = 150_000

MADE_UP = {
    "where": {"date": "2026-01-02", "processor": "abacus", "cores": 3, "gpus": ["slide rule"] * 2},
    "outcomes": {
        "juggling": {
            "overspill": {
                "nbytes": 2**31,
                "limit_nbytes": 2**30,
                "first_s": 4.0,
                "warm_s": [2.0, 1.0],
                "gb_per_s": 2**31 / 1.5e9,
                "link_gb_per_s": 2.5,
                "unended": "took longer than 25 s",
            },
            "somebody & <others>": {"failed": "MemoryError: no room\nfor a second line"},
        },
        "balance": {"overspill": {"alone": {"seconds": {"overspill": [0.5, 0.25], "nobody": [1.0]}}}},
    },
}


def draw(results: Path, pictures: Path) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, str(ROOT / "benchmarks" / "draw.py")]
    arguments = ["--results", str(results), "--pictures", str(pictures)]
    return subprocess.run([*program, *arguments], capture_output=True, text=True, env=environment())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of the committed results and of one that is made up."""
    results, pictures = (tmp_path_factory.mktemp(name) for name in ("results", "pictures"))
    for path in RESULTS:
        shutil.copy(path, results)
    (results / "made_up.json").write_text(json.dumps(MADE_UP))
    done = draw(results, pictures)
    assert done.returncode == 0, done.stderr
    assert {path.stem for path in pictures.iterdir()} == {path.stem for path in results.iterdir()}
    return pictures


def texts(picture: Path) -> list[str]:
    found = ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}text")
    return ["".join(text.itertext()).strip() for text in found]


def words(picture: Path) -> list[str]:
    """All texts but the numbers along the axes, which are for matplotlib to choose."""
    return [text for text in texts(picture) if not re.fullmatch(r"[\d.]+", text)]


def recorded(figures: dict[str, Any]) -> Iterator[tuple[str, float | None]]:
    """Contenders from the first to the last, and what they reached, in the unit in which it is drawn."""
    if "outcomes" in figures:
        for found in figures["outcomes"].values():
            if "seconds" in found:
                yield from medians(found["seconds"])
                continue
            for contender, one in found.items():
                if "failed" in one:
                    yield contender, None
                elif "gb_per_s" in one:
                    yield contender, one["gb_per_s"]
            alike = {name: one["seconds"] for name, one in found.items() if isinstance(one.get("seconds"), list)}
            yield from medians(alike)
            for one in (one for name, one in found.items() if name not in alike):
                for part in (one, *(value for value in one.values() if isinstance(value, dict))):
                    yield from medians(part.get("seconds", {}))
    elif "matrices" in figures:
        for types in figures["matrices"].values():
            for found in types.values():
                for contender, one in found["matvec"].items():
                    yield contender, one["gb_per_s"]
    elif "tflop_per_s" in figures:
        yield "overspill", figures["tflop_per_s"]
    else:
        nbytes = figures.get("settings", {}).get("nbytes")
        seconds = figures["seconds"]
        for race in [seconds] if isinstance(next(iter(seconds.values())), list) else seconds.values():
            for contender, median in medians(race):
                yield contender, median if nbytes is None else nbytes / 1e9 / median


def medians(seconds: dict[str, list[float]]) -> Iterator[tuple[str, float]]:
    return ((contender, statistics.median(times)) for contender, times in seconds.items())


def check(picture: Path, figures: dict[str, Any]) -> None:
    """The picture names every contender as often as it competed, with its figure, or why there is none."""
    told = texts(picture)
    rows = list(recorded(figures))
    assert rows
    for contender, count in Counter(contender for contender, _ in rows).items():
        assert told.count(contender) == count, contender
    values = [float(found[1]) for text in told if (found := re.match(r"([\d.]+) (GB/s|TFLOP/s|s)\b", text))]
    assert values == pytest.approx([value for _, value in rows if value is not None], rel=5e-3)
    assert sum(text.startswith("failed: ") for text in told) == sum(value is None for _, value in rows)
    where = figures["where"]
    assert any(where["date"] in text and where["processor"] in text for text in told)


@pytest.mark.parametrize("result", RESULTS, ids=lambda path: path.stem)
def test_a_picture_says_what_was_measured(result: Path, drawn: Path) -> None:
    figures = json.loads(result.read_text())
    check(drawn / f"{result.stem}.svg", figures)
    committed = COMMITTED / f"{result.stem}.svg"
    assert committed.exists() and words(committed) == words(drawn / committed.name), "run benchmarks/draw.py"
    assert committed.stat().st_size < LARGEST_NBYTES
    assert min(float(size) for size in re.findall(r"font-size: ([\d.]+)px", committed.read_text())) >= 9


def test_no_picture_outlives_its_result() -> None:
    assert {path.stem for path in COMMITTED.glob("*.svg")} == {path.stem for path in RESULTS}


def test_names_and_words_come_from_the_file(drawn: Path) -> None:
    check(drawn / "made_up.svg", MADE_UP)
    told = texts(drawn / "made_up.svg")
    assert {"juggling", "balance, alone", "failed: MemoryError: no room", "links: 2.50 GB/s"} <= set(told)
    assert told[told.index("1.43 GB/s of 2 GiB, limit 1 GiB") + 1] == "but its program took longer than 25 s"
    assert any(text.startswith("2 × slide rule, 3 cores of abacus") for text in told)


def test_the_same_results_give_the_same_bytes(drawn: Path, tmp_path: Path) -> None:
    (tmp_path / "made_up.json").write_text(json.dumps(MADE_UP))
    draw(tmp_path, tmp_path)
    assert (tmp_path / "made_up.svg").read_bytes() == (drawn / "made_up.svg").read_bytes()


def test_what_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    panels = importlib.import_module("panels")
    with pytest.raises(ValueError, match=r"novel has no .*panels\.py"):
        panels.read("novel", {"where": {}, "chapters": []})
