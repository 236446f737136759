"""Plots: one look for all of them, and one colour for each system wherever it is seen."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

COLOURS: Final = {
    "leaderless": "#d7263d",
    "leaderless-compiled": "#8f1023",
    "raft": "#1f6fb2",
    "raft-compiled": "#0d3b66",
    "etcd": "#2f9e60",
    "zookeeper": "#8d5a2b",
    "gryadka": "#e8871e",
    "pysyncobj": "#7b4fa3",
    "redis": "#6c757d",
}
MARKERS: Final = {
    "leaderless": "o",
    "leaderless-compiled": "*",
    "raft": "s",
    "raft-compiled": "h",
    "etcd": "^",
    "zookeeper": "D",
    "gryadka": "v",
    "pysyncobj": "P",
    "redis": "X",
}
_STYLE: Final[Any] = {
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.8,
    "axes.edgecolor": "#888888",
    "axes.axisbelow": True,
    "figure.facecolor": "white",
    "legend.frameon": False,
    "svg.fonttype": "none",
    # Or else the same figures would make another file every time.
    "svg.hashsalt": "paxoskv",
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture that can be drawn; `name` is its file's, without the ending."""

    name: str
    title: str
    draw: Callable[[Any], None]
    """Given matplotlib's figure."""
    size: tuple[float, float] = (10.0, 4.2)


def write(plot: Plot, folder: Path, ending: str = "svg") -> Path:
    """Draw it into a file. Raises ImportError where matplotlib is missing."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    with mpl.rc_context(_STYLE):
        figure = pyplot.figure(figsize=plot.size, layout="constrained")
        figure.suptitle(plot.title, fontsize=13, fontweight="bold", x=0.01, ha="left")
        plot.draw(figure)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{plot.name}.{ending}"
        figure.savefig(path, dpi=110, metadata={"Date": None} if ending == "svg" else None)
        pyplot.close(figure)
    return path


def line(axes: Any, system: str, xs: list[float], ys: list[float], label: str, **more: Any) -> None:
    """One system's; nothing where it has no points."""
    if not xs:
        return
    axes.plot(xs, ys, color=COLOURS[system], marker=MARKERS[system], label=label, linewidth=2, markersize=5, **more)


def logarithmic(axes: Any, ticks: list[float]) -> None:
    """Both axes; with these ticks below, and 1,000 rather than 10^3."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

    if not axes.has_data():
        axes.text(0.5, 0.5, "nothing to show", ha="center", color="#888888", transform=axes.transAxes)
        return
    axes.set_xscale("log")
    axes.set_yscale("log")
    show = FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(show)
        axis.set_minor_formatter(NullFormatter())


def logarithmic_heights(axes: Any) -> None:
    """Of bars; with powers of ten alone beside them, written out."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def bars(axes: Any, groups: list[str], series: dict[str, list[float | None]], labels: dict[str, str]) -> None:
    """Groups of bars, one bar for each system, its figure above it."""
    width = 0.8 / max(1, len(series))
    for index, (system, values) in enumerate(series.items()):
        places = [group + (index - (len(series) - 1) / 2) * width for group in range(len(groups))]
        drawn = axes.bar(places, [value or 0 for value in values], width * 0.92, color=COLOURS[system])
        drawn.set_label(labels[system])
        for place, value in zip(places, values, strict=True):
            if value is not None:
                shown = f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
                axes.annotate(shown, (place, value), ha="center", va="bottom", fontsize=8, rotation=0)
    axes.set_xticks(range(len(groups)), groups)
    axes.grid(axis="x", visible=False)
