"""Pictures for reports: matplotlib without a display, colours that colour-blind readers can tell apart."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

#: Okabe and Ito's palette.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


#: Names are names, even with dollar signs in them.
plain_text = mpl.rc_context({"text.parse_math": False})


def shortened(name: str, most: int = 32) -> str:
    """A name of any length as there is room for it in a picture; its beginning and its end stay."""
    return name if len(name) <= most else f"{name[: most - most // 3 - 1]}…{name[-(most // 3) :]}"


@dataclass(frozen=True)
class Band:
    """A curve and its interval.

    Args:    x: ascending.
             mean, low, high: as many as x.
    """

    x: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def forest(rows: Sequence[tuple[str, float, float, tuple[float, float] | None]], axis: str) -> Figure:
    """Claimed value (hollow) beside confirmed mean and interval (filled), a row each, the first on top.

    Args:    rows: name, claimed, confirmed, interval.
             axis: what the values are.
    """
    figure, axes = panel(width=6.4, height=1.4 + 0.42 * len(rows))
    if not rows:
        nothing(axes, "nothing to draw: no run ended well")
        return figure
    known = any(interval is not None for *_, interval in rows)
    filled = "confirmed, 95 % interval" if known else "confirmed (no interval)"
    for position, (_, claimed, confirmed, interval) in enumerate(rows):
        if interval is not None:
            axes.plot(interval, [position, position], color=COLOURS[0], linewidth=2, solid_capstyle="butt")
        axes.plot(confirmed, position, "o", color=COLOURS[0])
        axes.plot(claimed, position, "D", color=COLOURS[1], fillstyle="none")
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(axis)
    # Of its own room above the axes, however few the rows; its entries stand for all rows.
    entries = [
        Line2D([], [], marker="o", color=COLOURS[0], linewidth=2 if known else 0, label=filled),
        Line2D([], [], marker="D", color=COLOURS[1], fillstyle="none", linewidth=0, label="in the search"),
    ]
    figure.legend(handles=entries, loc="outside upper center", ncols=2, frameon=False)
    return figure


def nothing(axes: Axes, why: str) -> None:
    """A sentence in the place of axes that would be empty.

    Args:    why: there is nothing to draw.
    """
    axes.clear()
    axes.set_axis_off()
    axes.text(0.5, 0.5, why, ha="center", va="center", transform=axes.transAxes, fontsize=8, wrap=True)


def curves(bands: Mapping[str, Band], x_axis: str, y_axis: str, *, log: bool = False) -> Figure:
    """Curves with their intervals, one colour each.

    Args:    bands: name → curve.
             x_axis, y_axis: what is drawn, with units.
             log: whether y is logarithmic, where it is above 0.
    """
    figure, axes = panel(width=6.8, height=4.2)
    for index, (name, band) in enumerate(bands.items()):
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(band.x, band.mean, color=colour, label=name, drawstyle="steps-post")
        axes.fill_between(band.x, band.low, band.high, color=colour, alpha=0.15, step="post", linewidth=0)
    if log and all(min(band.mean) > 0 for band in bands.values()):
        axes.set_yscale("log")
    axes.set_xlabel(x_axis)
    axes.set_ylabel(y_axis)
    axes.legend(frameon=False)
    return figure


def panel(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    return figure, axes


def panels(count: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with a grid of small axes.

    Args:    count: how many, 1 or more.
             columns: at most so many side by side.
             width, height: of each, in inches.
    """
    across = min(count, columns)
    down = -(-count // across)
    figure = Figure(figsize=(width * across, height * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False).flatten().tolist()
    for unused in grid[count:]:
        unused.set_axis_off()
    return figure, grid[:count]


def png(figure: Figure) -> bytes:
    """The figure as a PNG, 150 dots an inch."""
    return _saved(figure, "png")


def svg(figure: Figure) -> str:
    """The figure as SVG to stand in a page: text stays text, and the same figure gives the same bytes."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dermtune"}):
        text = _saved(figure, "svg").decode()
    return text[text.index("<svg") :]


@plain_text
def _saved(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    return buffer.getvalue()


def img(picture: bytes) -> str:
    """A PNG as an HTML image that holds it: for what is made of pixels, or of many points."""
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(picture).decode()}">'
