"""SVG plots that are readable on a phone: few lines, big letters, a white background.

The same figures make the same bytes, so a plot changes in git only with its figures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from cycler import cycler

mpl.use("svg")  # before pyplot selects a backend with a window

from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter

Line = Sequence[tuple[float, float]]

_STYLE: Final[dict[Any, Any]] = {
    "figure.figsize": (6.4, 4.2),
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.size": 13,
    "font.family": "sans-serif",
    "svg.fonttype": "none",  # text instead of paths: smaller and searchable
    "svg.hashsalt": "finpay",  # otherwise ids are random
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "lines.linewidth": 2.5,
    "lines.markersize": 7,
    # Distinguishable without seeing red and green (Okabe and Ito).
    "axes.prop_cycle": cycler(
        color=["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
    ),
}


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines by name over one scale. `ticks` are its measured values."""

    title: str
    across: str
    up: str
    lines: Mapping[str, Line]
    ticks: Mapping[float, str]
    logarithmic: bool = True


def draw(plot: Plot, path: Path) -> None:
    """Writes the plot as SVG."""
    with mpl.rc_context(_STYLE):
        figure, axes = plt.subplots()
        for name, line in plot.lines.items():
            axes.plot([x for x, _ in line], [y for _, y in line], marker="o", label=name)
        if plot.logarithmic:
            axes.set_xscale("symlog" if 0 in plot.ticks else "log")
        axes.set_xticks(list(plot.ticks), list(plot.ticks.values()))
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_title(plot.title, loc="left", fontweight="bold")
        axes.set_xlabel(plot.across)
        axes.set_ylabel(plot.up)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.legend(frameon=False, fontsize=12)
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
