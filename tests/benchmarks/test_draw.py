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

PAGE, README = ROOT / "docs" / "performance.md", ROOT / "README.md"

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


PLACE = "<!-- figures: made_up -->\n<!-- end of figures -->\n"


def draw(results: Path, pictures: Path, page: Path, readme: Path) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, str(ROOT / "benchmarks" / "draw.py")]
    arguments = ["--results", results, "--pictures", pictures, "--page", page, "--readme", readme]
    return subprocess.run([*program, *map(str, arguments)], capture_output=True, text=True, env=environment())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of the committed results and of one that is made up, and beside them the page."""
    results, pictures = (tmp_path_factory.mktemp(name) for name in ("results", "pictures"))
    page = pictures.with_suffix(".md")
    page.write_text(PAGE.read_text() + PLACE)
    for path in RESULTS:
        shutil.copy(path, results)
    (results / "made_up.json").write_text(json.dumps(MADE_UP))
    readme = Path(shutil.copy(README, pictures.with_name("readme.md")))
    done = draw(results, pictures, page, readme)
    assert done.returncode == 0, done.stderr
    assert {path.stem for path in pictures.iterdir()} == {path.stem for path in results.iterdir()}
    assert readme.read_text() == README.read_text(), "run benchmarks/draw.py"
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
                elif speed := one.get("tflop_per_s", one.get("gb_per_s", one.get("killed_s"))):
                    yield contender, speed
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
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n{PLACE}After.\n")
    readme = tmp_path / "readme.md"
    readme.write_text("No place for a digest.\n")
    assert draw(tmp_path, tmp_path, page, readme).returncode == 0
    assert readme.read_text() == "No place for a digest.\n"
    text = page.read_text()
    assert text.startswith("Before.\n") and text.endswith("<!-- end of figures -->\nAfter.\n")
    assert drawn.with_suffix(".md").read_text().endswith(text.removeprefix("Before.\n").removesuffix("After.\n"))
    assert (tmp_path / "made_up.svg").read_bytes() == (drawn / "made_up.svg").read_bytes()


def test_the_page_says_what_was_measured(drawn: Path) -> None:
    page = drawn.with_suffix(".md").read_text()
    committed, made_up = page.rsplit("<!-- figures: made_up -->", 1)
    assert committed == PAGE.read_text(), "run benchmarks/draw.py"
    assert "| juggling | **overspill** | 1.43 GB/s | 1.07 to 2.15 | 0.537 | 0.57 of 2.50 | 2 GiB | 1 GiB |" in made_up
    assert "|  | somebody & <others> |" in made_up and "| failed: MemoryError: no room |" in made_up
    for result in RESULTS:
        assert page.count(f"../benchmarks/results/{result.name}") == 1


def test_figures_without_a_place_and_places_without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    tables = importlib.import_module("tables")
    results = {"made_up": MADE_UP}
    once = tables.filled(PLACE, results)
    assert tables.filled(once, results) == once != PLACE
    for page, told in [("", "no place for the figures of made_up"), (PLACE * 2, "made_up have a place more")]:
        with pytest.raises(tables.PlaceError, match=told):
            tables.filled(page, results)
    with pytest.raises(tables.PlaceError, match="made_up have a place more"):
        tables.filled(PLACE, {})


def test_the_digest_tells_our_figure_beside_the_best_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    digest = importlib.import_module("digest")
    assert README.read_text().count("<!-- digest -->\n") == 1
    speeds = {"overspill": [2.0, 4.0], "overspill, slowly": [9.0], "slow": [12.0], "slower": [15.0]}
    results = {
        "made_up": MADE_UP,
        "races": {"where": MADE_UP["where"] | {"gpus": []}, "seconds": {"running": speeds}},
    }
    headlines = [
        digest.Headline("juggling with two", "made_up", "juggling"),
        digest.Headline("a run", "races", "running"),
    ]
    assert digest.table(headlines, results).splitlines()[2:] == [
        "| juggling with two | 2 × slide rule, 2026-01-02 | 1.43 GB/s | 0.57 | none was in time |  |",
        "| a run | 3 cores, 2026-01-02 | 3.00 s |  | slow: 12.0 s | 4.00 |",
    ]
    for missing, told in (
        (digest.Headline("x", "unknown", ""), "no result unknown.json"),
        (digest.Headline("x", "races", "walking"), "races.json has no figure of 'overspill' for the work 'walking'"),
    ):
        with pytest.raises(digest.MissingError, match=told):
            digest.table([missing], results)


def test_products_are_told_beside_peaks_and_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    tables, captions, panels = map(importlib.import_module, ("tables", "captions", "panels"))
    one = {"n": 77, "nbytes": 2**30, "flop": 10**12, "first_s": 2.0, "warm_s": [0.5], "tflop_per_s": 2.0, "gpus": 2}
    plan = {"predicted_s": 0.4, "planned_device_nbytes": 2**30, "peak_device_nbytes": 2**29}
    measured = {"peak_tflop_per_s": 2.5, "one_gpu_tflop_per_s": 1.6, "limit_nbytes": 2**31}
    outcomes = {"scaling": {"overspill, 2 GPUs": one | plan | measured, "overspill, 1 GPU": one | {"gpus": 1}}}
    found = panels.read("matmul_gpu_2", {"outcomes": outcomes})
    titles, _, first, second = tables.table(captions.subject("matmul_gpu_2"), found).splitlines()
    told = dict(zip(titles.split(" | "), first.split(" | "), strict=True))
    assert told["median"] == "2.00 TFLOP/s" and told["of the ceiling"] == "0.80 of 2.50"
    assert told["of single GPUs, summed"] == "0.62 of 3.20" and told["a GPU"] == "1.00"
    assert told["planned seconds"] == "400 ms, took 500 ms (1.25 of it)"
    assert told["planned bytes on a GPU"] == "1 GiB, in use 512 MiB"
    assert told["n"] == "77" and "| 2.00 |" in second


def test_what_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    panels = importlib.import_module("panels")
    with pytest.raises(ValueError, match=r"novel has no .*panels\.py"):
        panels.read("novel", {"where": {}, "chapters": []})
