"""How charts look: colours, words, axes. Nothing is black or white, so that light and dark pages can be read."""

from bokeh.models import AdaptiveTicker, Axis, CustomJSTickFormatter, HoverTool, Range1d
from bokeh.models.annotations import Title
from bokeh.plotting import figure

from overspill.memory.ledger import Link
from overspill.memory.store.meter import Cause, Tier

# Okabe and Ito's palette, which colour-blind readers can tell apart: https://jfly.uni-koeln.de/color/
BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"

INK = "#7A7A7A"
"""Text and lines: contrast of 4 to both backgrounds."""

TIER_COLOURS: dict[Tier, str] = {"device": BLUE, "host": ORANGE, "disk": GREEN}
TIER_TITLES: dict[Tier, str] = {"device": "Device memory", "host": "Host memory", "disk": "Disk"}

LINK_TITLES: dict[Link, str] = {
    "device_to_host": "device → host",
    "host_to_device": "host → device",
    "host_to_disk": "host → disk",
    "disk_to_host": "disk → host",
}
LINK_DASHES: dict[Link, str] = {
    "device_to_host": "solid",
    "host_to_device": "dashed",
    "host_to_disk": "solid",
    "disk_to_host": "dashed",
}
"""Down is solid, up is dashed."""

CAUSE_COLOURS: dict[Cause, str] = {
    "device_limit": BLUE,
    "device_allocation": BLUE,
    "host_limit": ORANGE,
    "host_allocation": ORANGE,
}
"""That of the tier that was left."""

HEIGHT = 240
"""Of a chart over time, in pixels."""

HEADROOM = 1.08
"""How far an axis reaches beyond the largest value."""

_SCALED = """
const units = %s
let value = tick, unit = 0
while (Math.abs(value) >= %d && unit < units.length - 1) { value /= %d; unit += 1 }
return `${+value.toFixed(2)} ${units[unit]}`
"""
_AGE = """
if (tick == 0) return "now"
return tick % 60 == 0 ? `${tick / 60} min` : `${tick} s`
"""


def byte_axis(axis: Axis, ticks: int = 6) -> None:
    """Label an axis in binary units, at powers of two, in about as many places as `ticks`."""
    powers = [2**power for power in range(10)]
    axis.ticker = AdaptiveTicker(base=1024, mantissas=powers, min_interval=1, desired_num_ticks=ticks)
    axis.formatter = CustomJSTickFormatter(code=_SCALED % (["B", "KiB", "MiB", "GiB", "TiB", "PiB"], 1024, 1024))


def rate_axis(axis: Axis) -> None:
    """Label an axis in bytes per second, decimally, as rates are given."""
    axis.formatter = CustomJSTickFormatter(code=_SCALED % (["B/s", "kB/s", "MB/s", "GB/s", "TB/s"], 1000, 1000))


def count_axis(axis: Axis) -> None:
    """Label an axis with whole numbers."""
    axis.ticker = AdaptiveTicker(min_interval=1, mantissas=[1, 2, 5], desired_num_ticks=4)


def age_axis(axis: Axis) -> None:
    """Label an axis of seconds up to now."""
    axis.ticker = AdaptiveTicker(base=60, mantissas=[1, 5, 10, 15, 30], desired_num_ticks=5)
    axis.formatter = CustomJSTickFormatter(code=_AGE)


def title(text: str = "") -> Title:
    """A chart's title."""
    return Title(text=text, text_color=INK, text_font_size="14px")


def dressed(plot: figure, *hovers: HoverTool) -> figure:
    """`plot` without tools but `hovers`, in neutral ink."""
    plot.add_tools(*hovers)
    plot.toolbar_location = None
    plot.outline_line_color = None
    plot.grid.grid_line_color = INK
    plot.grid.grid_line_alpha = 0.2
    for axis in plot.axis:
        axis.axis_label_text_color = axis.major_label_text_color = INK
        axis.axis_label_text_font_style = "normal"
        axis.axis_line_color = axis.major_tick_line_color = INK
        axis.minor_tick_line_color = None
    plot.margin = (0, 10, 15, 0)
    return plot


def window() -> Range1d:
    """The time that charts share; they set its start as history grows."""
    return Range1d(start=-60, end=0)
