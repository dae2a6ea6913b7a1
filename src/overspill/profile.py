"""A machine's profile: what `overspill doctor` measured and stored, and the rates that plans take from it.

A profile that is damaged, of another version or of another machine is not used; the source of the rates says so.
"""

import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from overspill.errors import StorageError
from overspill.planning.resources import Rates

SCHEMA = 1
"""Version of the file's form; files of another one are measured anew."""

VARIABLE = "OVERSPILL_PROFILE"
"""Environment variable that names another file; empty for none."""

AGAIN = "run overspill doctor"

SLOWEST_PER_S, FASTEST_PER_S = 1.0, 1e18
"""What any rate is between: of others plans would last forever, or no time at all."""

LONGEST_TASK_S = 1e3

_logger = logging.getLogger("overspill")


@dataclass(frozen=True, slots=True)
class Machine:
    """What tells one machine's figures from another's.

    Attributes
    ----------
    processor
        Name of the processor.
    cores
        Cores that the process may run on.
    gpus
        Names of the GPUs that it may use.
    driver
        Version of the NVIDIA driver; empty without GPUs.
    """

    processor: str
    cores: int
    gpus: tuple[str, ...]
    driver: str


@dataclass(frozen=True, slots=True)
class Profile:
    """What was measured of a machine.

    Attributes
    ----------
    measured
        When, as ISO 8601.
    machine
        Of which machine.
    versions
        With which packages, by name.
    rates
        By ``"cpu"`` and ``"cuda"``, what could be measured of `Rates`, by name: one core's or one GPU's while all are
        busy. Of the disk, what one task reads while no other does.
    disk_per_s
        Bytes per second that all cores together read from the disk.
    figures
        Everything measured, for people.
    """

    measured: str
    machine: Machine
    versions: Mapping[str, str]
    rates: Mapping[str, Mapping[str, Any]]
    disk_per_s: float | None
    figures: Sequence[Mapping[str, Any]]


def path() -> Path | None:
    """Where this user's profile lies; None where the user wants none, or has no home."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named) if named else None
    try:
        config = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    except RuntimeError:
        return None
    return config / "overspill" / "machine.json"


def save(profile: Profile, target: Path) -> None:
    """Write `profile` to `target`, whole or not at all.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    text = json.dumps({"schema": SCHEMA, **asdict(profile)}, indent=1, allow_nan=False) + "\n"
    temporary = ""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary)
        raise StorageError(
            f"the profile cannot be written to {target} ({error.strerror}): name another file in {VARIABLE}"
        ) from None
    _read.cache_clear()


def rates(device: Literal["cpu", "cuda"], built_in: Rates, here: Machine, workers: int, threads: int) -> Rates:
    """The rates of `device` that the profile holds, or `built_in`; the source says which and why.

    Parameters
    ----------
    device
        Whose rates.
    built_in
        What counts where nothing was measured.
    here
        This machine; its GPUs and driver matter for ``"cuda"`` alone.
    workers, threads
        Processes, and tasks that each runs at a time: they share the disk.
    """
    profile, complaint = _load()
    if profile is not None:
        complaint = mismatch(profile.machine, here)
        if not complaint and not profile.rates.get(device):
            complaint = f"the profile in {path()} holds no figures of a {'GPU' if device == 'cuda' else 'core'}"
    if profile is None or complaint:
        if complaint:
            _say(complaint)
        return replace(built_in, source=f"{built_in.source} ({complaint})") if complaint else built_in
    measured = dict(profile.rates[device])
    if profile.disk_per_s is not None and "disk_per_s" in measured:
        measured["disk_per_s"] = min(measured["disk_per_s"], profile.disk_per_s / (workers * threads))
    measured["gemm_flop_per_s"] = {**built_in.gemm_flop_per_s, **measured.get("gemm_flop_per_s", {})}
    missing = [field.name for field in fields(Rates) if field.name not in {*measured, "source"}]
    source = f"measured on {profile.measured[:10]} by overspill doctor"
    busy, what = (len(profile.machine.gpus), "GPUs") if device == "cuda" else (profile.machine.cores, "cores")
    if (workers if device == "cuda" else workers * threads) < busy:
        source += f" with all {busy} {what} busy"
    if missing:
        source += f" ({', '.join(missing)}: built-in)"
    return replace(built_in, **measured, source=source)


def mismatch(measured: Machine, here: Machine) -> str:
    """Why figures of the machine `measured` do not hold `here`; empty where they do.

    Those of more cores or GPUs than there are here do: they were taken while all were busy.

    Examples
    --------
    >>> mismatch(Machine("A", 64, (), ""), Machine("A", 8, (), ""))
    ''
    >>> mismatch(Machine("A", 64, (), ""), Machine("B", 64, (), ""))
    'the profile is of a machine with another processor, A: run overspill doctor'
    """
    if here.processor != measured.processor:
        why = f"a machine with another processor, {measured.processor}"
    elif here.cores > measured.cores:
        why = f"{measured.cores} cores, here are {here.cores}"
    elif len(here.gpus) > len(measured.gpus):
        why = f"{len(measured.gpus)} GPUs, here are {len(here.gpus)}"
    elif not {*here.gpus} <= {*measured.gpus}:
        why = f"other GPUs, {', '.join(dict.fromkeys(measured.gpus))}"
    elif here.gpus and here.driver != measured.driver:
        why = f"driver {measured.driver}, here is {here.driver}"
    else:
        return ""
    return f"the profile is of {why}: {AGAIN}"


def _load() -> tuple[Profile | None, str]:
    file = path()
    return _read(file) if file else (None, "")


@cache
def _read(file: Path) -> tuple[Profile | None, str]:
    """The profile in `file`, or why there is none: empty where there is no file."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            return None, f"the profile in {file} is of another version of overspill: {AGAIN}"
        return _profile(content), ""
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"the profile in {file} cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None, f"the profile in {file} is damaged: {AGAIN}"


def _profile(content: Mapping[str, Any]) -> Profile:
    machine = content["machine"]
    disk_per_s = content["disk_per_s"]
    return Profile(
        measured=str(content["measured"]),
        machine=Machine(
            str(machine["processor"]), int(machine["cores"]), tuple(map(str, machine["gpus"])), str(machine["driver"])
        ),
        versions=dict(content["versions"]),
        rates={device: _known(content["rates"][device]) for device in ("cpu", "cuda")},
        disk_per_s=None if disk_per_s is None else _rate(disk_per_s),
        figures=list(content["figures"]),
    )


def _known(measured: Mapping[str, Any]) -> dict[str, Any]:
    """What is named as in `Rates`, checked: numbers, and those of products by element type."""
    names = {field.name for field in fields(Rates)} - {"source", "gemm_flop_per_s", "task_s"}
    known: dict[str, Any] = {name: _rate(value) for name, value in measured.items() if name in names}
    if "task_s" in measured:
        known["task_s"] = _between(measured["task_s"], 1 / FASTEST_PER_S, LONGEST_TASK_S)
    if products := measured.get("gemm_flop_per_s"):
        known["gemm_flop_per_s"] = {str(dtype): _rate(value) for dtype, value in products.items()}
    return known


def _rate(value: Any) -> float:
    return _between(value, SLOWEST_PER_S, FASTEST_PER_S)


def _between(value: Any, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"{value!r} is no rate")
    return float(value)


@cache
def _say(complaint: str) -> None:
    """Log `complaint` once a process."""
    _logger.warning("built-in figures are used: %s", complaint)
