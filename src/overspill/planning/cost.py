"""How long a product takes: its traffic over the rates, overlapped as the streams overlap it."""

from collections.abc import Sequence
from dataclasses import dataclass

from overspill.planning.resources import Resources

HALF_RATE_WIDTH = {"cpu": 24, "cuda": 96}
"""Panel width at which a product runs at half its rate, because every panel passes over the whole accumulator."""


OVERLAP = 4
"""How well things that happen at once overlap: times t, u take (t^p + u^p)^(1/p). A product on four H200s took 0.40 s
where the link and the arithmetic alone need 0.33 s each (a run without a file): p = 3.6."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What all tasks together do.

    Attributes
    ----------
    tasks
        Number of output tiles.
    flop
        Operations.
    uploaded_nbytes, downloaded_nbytes
        To the devices and back.
    read_nbytes, recomputed_nbytes
        From disk, and made anew, inside the tasks.
    prepared_nbytes
        Of held operands, made once before.
    largest_tile
        Share of the result that the largest tile is, 0 to 1.
    panel_width
        Of a K panel, on average, in elements.
    first_panels
        Shares of K that the panels are, 0 to 1, up to the first of full width; none if they are on the GPUs already.
    last_panel
        Share of K that the last panel is.
    last_band
        Share of the largest tile that is brought away when nothing is multiplied any more, 0 to 1.
    """

    tasks: int
    flop: int
    uploaded_nbytes: int
    downloaded_nbytes: int
    read_nbytes: int
    recomputed_nbytes: int
    prepared_nbytes: int
    largest_tile: float
    panel_width: float
    first_panels: tuple[float, ...]
    last_panel: float
    last_band: float


def predict(traffic: Traffic, resources: Resources, rate: str) -> tuple[float, str]:
    """Seconds of the product, its operands made, and what bounds it: compute, link, disk or recompute.

    Parameters
    ----------
    traffic
        What there is to do.
    resources
        Who does it.
    rate
        Name of the rate of the product, a key of `Rates.gemm_flop_per_s`.
    """
    rates, on_cpu = resources.rates, resources.device == "cpu"
    slots = resources.workers * (resources.threads if on_cpu else 1)
    rounds = -(-traffic.tasks // slots)
    # The busiest slot's share of all work: an even share, or what whole tasks make of it. Tiles are dealt out by their
    # number, not by their size, so that one slot may get the largest ones alone.
    share = max(1 / slots, rounds * traffic.largest_tile)
    # Tasks that share a GPU each read and recompute in a thread of their own.
    readers = 1 if on_cpu else resources.threads
    efficiency = traffic.panel_width / (traffic.panel_width + HALF_RATE_WIDTH[resources.device])
    # Nothing goes up while a tile goes down, unless another task runs beside it.
    alone = on_cpu or 1 in (resources.threads, rounds)
    crossing_nbytes = 0 if alone else traffic.uploaded_nbytes + traffic.downloaded_nbytes
    upload_s = share * traffic.uploaded_nbytes / rates.upload_per_s
    spent = {
        "compute": share * traffic.flop / (rates.gemm_flop_per_s[rate] * efficiency),
        "link": max(upload_s, share * crossing_nbytes / rates.both_ways_per_s),
        "disk": share * traffic.read_nbytes / (rates.disk_per_s * readers),
        "recompute": share * traffic.recomputed_nbytes / (rates.recompute_per_s * readers),
    }
    bound = max(spent, key=lambda name: spent[name])
    if on_cpu:  # one core does it all, and the result is made where it stays
        return sum(spent.values()) + rounds * rates.task_s, bound
    tile_s = traffic.largest_tile * traffic.downloaded_nbytes / rates.download_per_s
    download_s = share * traffic.downloaded_nbytes / rates.download_per_s
    if download_s > spent[bound]:
        bound = "link"
    # Nothing comes down yet.
    start_s = starting(upload_s / rounds, spent["compute"] / rounds, traffic.first_panels)
    # The bands of a tile's last panel go down while others are multiplied.
    hidden_s = spent["compute"] / rounds * traffic.last_panel * (1 - traffic.last_band)
    edges_s = start_s + max(tile_s * traffic.last_band, tile_s - hidden_s)
    if alone:
        return overlapped(*spent.values()) + rounds * (edges_s + rates.task_s), bound
    return overlapped(*spent.values(), download_s) + edges_s + rounds * rates.task_s, bound


def prepare_s(traffic: Traffic, resources: Resources) -> float:
    """Seconds until the held operands are made, on all slots at once."""
    return traffic.prepared_nbytes / (resources.rates.recompute_per_s * resources.workers * resources.threads)


def starting(link_s: float, compute_s: float, shares: Sequence[float]) -> float:
    """Seconds that a tile's first panels take beyond those of what bounds it.

    A product waits for the upload of its panels, which waits for the product two before, whose buffers they take.

    Parameters
    ----------
    link_s, compute_s
        What the whole tile takes of each.
    shares
        Of K, for each of the panels.

    Examples
    --------
    >>> starting(1.0, 2.0, (0.25,)), starting(1.0, 1.5, (0.25, 0.5))
    (0.25, 0.375)
    """
    up = done = done_before = 0.0
    for share in shares:
        up = max(up, done_before) + link_s * share
        done_before, done = done, max(done, up) + compute_s * share
    return done - max(link_s, compute_s) * sum(shares)


def overlapped(*seconds: float) -> float:
    """Seconds of things that happen at once and hinder each other a little."""
    longest = max(seconds)
    return float(longest * sum((each / longest) ** OVERLAP for each in seconds) ** (1 / OVERLAP)) if longest else 0.0
