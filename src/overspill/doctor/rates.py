"""The profile that figures make: those that plans know, by the names that plans have for them."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from overspill.doctor.facts import Facts
from overspill.doctor.figures import Figure, Side
from overspill.doctor.measure import TASKS
from overspill.doctor.products import RATES
from overspill.profile import Machine, Profile

TAKEN = {
    "cpu": {
        "upload_per_s": "memory copy",
        "download_per_s": "memory copy",
        "both_ways_per_s": "memory copy",
        "recompute_per_s": "random numbers",
        "memory_per_s": "elementwise, in memory",
        "elementwise_per_s": "elementwise, in cache",
    },
    "cuda": {
        "upload_per_s": "link, up",
        "download_per_s": "link, down",
        "both_ways_per_s": "link, both ways at once",
        "memory_per_s": "device memory copy",
        "elementwise_per_s": "fused elementwise",
    },
}
"""Which figure each rate is, one worker's while all are busy."""

DISK = "disk, reading"


def profile(measured: str, here: Machine, facts: Facts, figures: Sequence[Figure]) -> Profile:
    """What is stored of `figures`, which were `measured` at that time, in ISO 8601, on the machine `here`."""
    by_name = {(figure.side, figure.name): figure for figure in figures if figure.share_per_s}
    disk = by_name.get(("cpu", DISK))
    rates = {side: _rates(side, by_name) for side in TAKEN}
    if rates["cuda"]:
        # A worker with a GPU makes chunks and reads them on its cores.
        rates["cuda"] |= {
            name: rates["cpu"][name] for name in ("recompute_per_s", "disk_per_s") if name in rates["cpu"]
        }
    return Profile(
        measured=measured,
        machine=here,
        versions=facts.versions,
        rates=rates,
        disk_per_s=disk.all_per_s if disk else None,
        figures=[asdict(figure) for figure in figures],
    )


def _rates(side: str, by_name: dict[tuple[Side, str], Figure]) -> dict[str, Any]:
    found = {name: figure for (of, name), figure in by_name.items() if of == side}
    rates: dict[str, Any] = {rate: found[name].share_per_s for rate, name in TAKEN[side].items() if name in found}
    products = {rate: found[f"product, {rate}"].share_per_s for rate in RATES if f"product, {rate}" in found}
    if products:
        rates["gemm_flop_per_s"] = products
    if DISK in found:
        rates["disk_per_s"] = found[DISK].alone_per_s
    if TASKS in found and (per_s := found[TASKS].share_per_s):
        rates["task_s"] = 1 / per_s
    return rates
