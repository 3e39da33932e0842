"""Pictures as inline SVG: small frames in, text out; nothing is fetched when the page is opened."""

import html
import itertools
import zlib

import altair as alt
import pandas as pd
import vl_convert

# Okabe and Ito 2008: distinguished by people with any kind of colour blindness.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#595959"
SERIES = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4], [1, 3])
# As wide as a phone shows it, and never scaled: the letters keep their size on every screen.
WIDTH = 340
SHORT = "datum.value < 1 ? format(datum.value, '~g') : format(datum.value, '~s')"  # 12k; 0, not 0k; .2, not 200m
HEIGHT = 190
MOST_LABEL, LETTER = 130, 6.5  # pixels of a label beside a bar, and of one of its letters


def line_over_weeks(weeks: pd.DataFrame, column: str, *, label: str, unit: str) -> str:
    """A line through one figure per week, from zero up."""
    days = "%d %b" if len(weeks) < 26 else "%b %y"
    drawn = alt.Chart(weeks[["week_on", column]]).mark_line(
        color=BLUE, strokeWidth=2, point={"size": 14, "color": BLUE}
    )
    return svg(
        drawn.encode(
            x=alt.X("week_on:T", title=None, axis=alt.Axis(format=days, tickCount=5, grid=False)),
            y=alt.Y(f"{column}:Q", title=unit, scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=4, labelExpr=SHORT)),
        ),
        label=label,
    )


def bars(rows: pd.DataFrame, *, name: str, value: str, text: str, label: str, unit: str) -> str:
    """Lying bars in the order of the rows, each with its figure written beside it."""
    order = list(rows[name])
    # Where the page's font is missing here, widths are guessed: leave room for the widest that a reader may have.
    room = min(MOST_LABEL, LETTER * max(map(len, order), default=0))
    labels = alt.Axis(labelLimit=MOST_LABEL, minExtent=room, ticks=False, domain=False)
    base = alt.Chart(rows[[name, value, text]]).encode(
        y=alt.Y(f"{name}:N", sort=order, title=None, axis=labels),
        x=alt.X(
            f"{value}:Q",
            title=unit,
            scale=alt.Scale(domain=[0, max(float(rows[value].max()) * 1.75, 1e-9)]),
            axis=alt.Axis(tickCount=4, labelExpr=SHORT),
        ),
    )
    figures = base.mark_text(align="left", dx=4, color="#1a1a1a").encode(text=f"{text}:N")
    return svg(base.mark_bar(color=BLUE) + figures, label=label, height=max(34 * len(rows), 90))


def paired_bars(rows: pd.DataFrame, *, name: str, value: str, series: str, label: str, unit: str) -> str:
    """Lying bars side by side, one colour for each series; values are shares."""
    kinds = list(dict.fromkeys(rows[series]))
    drawn = (
        alt.Chart(rows[[name, value, series]])
        .mark_bar()
        .encode(
            y=alt.Y(f"{name}:N", sort=None, title=None, axis=alt.Axis(ticks=False, domain=False)),
            yOffset=alt.YOffset(f"{series}:N", sort=kinds),
            x=alt.X(f"{value}:Q", title=unit, axis=alt.Axis(tickCount=5, format="%")),
            color=_colour(series, kinds),
        )
    )
    return svg(drawn, label=label, height=max(40 * rows[name].nunique(), 90))


def heatmap(rows: pd.DataFrame, *, x: str, y: str, value: str, label: str, x_unit: str, y_unit: str) -> str:
    """A field for each x and y, the darker the larger its figure, which is written in it; y grows upwards."""
    axis = alt.Axis(labelAngle=0, ticks=False, domain=False)
    base = alt.Chart(rows[[x, y, value]]).encode(
        x=alt.X(f"{x}:O", title=x_unit, axis=axis), y=alt.Y(f"{y}:O", title=y_unit, sort="descending", axis=axis)
    )
    shade = alt.Color(f"{value}:Q", legend=None, scale=alt.Scale(range=["#eef5fa", BLUE], domainMin=0))
    is_dark = alt.datum[value] > 0.6 * float(rows[value].max())
    figures = base.mark_text(fontSize=11).encode(
        text=alt.Text(f"{value}:Q", format=",.0f"),
        color=alt.condition(is_dark, alt.value("#ffffff"), alt.value("#1a1a1a")),
    )
    return svg(base.mark_rect(stroke="#ffffff", strokeWidth=2).encode(color=shade) + figures, label=label)


def bubbles(rows: pd.DataFrame, *, x: str, y: str, size: str, name: str, label: str, x_unit: str, y_unit: str) -> str:
    """One circle per row, as large as its `size`, with its name in it."""
    base = alt.Chart(rows[[x, y, size, name]]).encode(
        x=alt.X(f"{x}:Q", title=x_unit, scale=_around(rows[x]), axis=alt.Axis(tickCount=5)),
        y=alt.Y(f"{y}:Q", title=y_unit, scale=_around(rows[y]), axis=alt.Axis(tickCount=5)),
    )
    circles = base.mark_circle(color=BLUE, opacity=0.35, stroke=BLUE).encode(
        size=alt.Size(f"{size}:Q", legend=None, scale=alt.Scale(domainMin=0, rangeMin=120, rangeMax=1800))
    )
    names = base.mark_text(fontWeight="bold", fontSize=12, color="#1a1a1a").encode(text=f"{name}:N")
    return svg(circles + names, label=label, height=230)


def lines_by_decile(rows: pd.DataFrame, *, value: str, series: str, label: str, unit: str) -> str:
    """One line per series over deciles 1 to 10, with a dashed line at 1."""
    kinds = list(dict.fromkeys(rows[series]))
    drawn = (
        alt.Chart(rows[["decile", value, series]])
        .mark_line(point={"size": 30})
        .encode(
            x=alt.X("decile:O", title="decile of predicted risk (1: highest)", axis=alt.Axis(labelAngle=0)),
            y=alt.Y(f"{value}:Q", title=unit, scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=5)),
            color=_colour(series, kinds, legend=alt.Legend(symbolType="stroke", symbolSize=260)),
            strokeDash=alt.StrokeDash(f"{series}:N", sort=kinds, scale=alt.Scale(domain=kinds, range=list(DASHES))),
        )
    )
    level = alt.Chart(pd.DataFrame({"level": [1.0]})).mark_rule(color=GREY, strokeDash=[3, 3]).encode(y="level:Q")
    return svg(level + drawn, label=label)


def calibration(rows: pd.DataFrame, *, predicted: str, observed: str, series: str, label: str) -> str:
    """What came against what was predicted; points on the dashed line are right."""
    kinds = list(dict.fromkeys(rows[series]))
    shares = alt.Scale(domain=[0, 1])
    drawn = (
        alt.Chart(rows[[predicted, observed, series]])
        .mark_point(filled=True, size=55, opacity=0.9)
        .encode(
            x=alt.X(
                f"{predicted}:Q", title="predicted probability", scale=shares, axis=alt.Axis(format="%", tickCount=5)
            ),
            y=alt.Y(f"{observed}:Q", title="share that left", scale=shares, axis=alt.Axis(format="%", tickCount=5)),
            color=_colour(series, kinds),
            shape=alt.Shape(f"{series}:N", sort=kinds, scale=alt.Scale(domain=kinds)),
        )
    )
    right = alt.Chart(pd.DataFrame({"a": [0, 1], "b": [0, 1]})).mark_line(color=GREY, strokeDash=[3, 3], strokeWidth=1)
    return svg(right.encode(x="a:Q", y="b:Q") + drawn, label=label, height=230)


def decile_columns(rows: pd.DataFrame, *, value: str, label: str, unit: str, of: str = "predicted risk") -> str:
    """One standing bar per decile `of` a prediction, with its figure on top."""
    base = alt.Chart(rows[["decile", value]]).encode(
        x=alt.X("decile:O", title=f"decile of {of} (1: highest)", axis=alt.Axis(labelAngle=0)),
        y=alt.Y(f"{value}:Q", title=unit, axis=alt.Axis(tickCount=5, labelExpr=SHORT)),
    )
    figures = base.mark_text(dy=-6, fontSize=10, color="#1a1a1a").encode(text=alt.Text(f"{value}:Q", format=",.0f"))
    return svg(base.mark_bar(color=ORANGE) + figures, label=label)


def decile_pairs(rows: pd.DataFrame, *, value: str, series: str, label: str, unit: str, of: str) -> str:
    """Standing bars side by side for each decile `of` a prediction, one colour for each series."""
    kinds = list(dict.fromkeys(rows[series]))
    drawn = (
        alt.Chart(rows[["decile", value, series]])
        .mark_bar()
        .encode(
            x=alt.X("decile:O", title=f"decile of {of} (1: highest)", axis=alt.Axis(labelAngle=0)),
            xOffset=alt.XOffset(f"{series}:N", sort=kinds),
            y=alt.Y(f"{value}:Q", title=unit, axis=alt.Axis(tickCount=5, labelExpr=SHORT)),
            color=_colour(series, kinds),
        )
    )
    return svg(drawn, label=label)


def svg(chart: alt.Chart | alt.LayerChart, *, label: str, height: int = HEIGHT) -> str:
    """The chart as an `<svg>` element that screen readers announce by its label."""
    sized = chart.properties(width=WIDTH, height=height, autosize={"type": "fit", "contains": "padding"})
    styled = sized.configure(
        font="Arial, Helvetica, sans-serif", background="#ffffff", aria=False, padding=7
    ).configure_axis(
        labelColor="#1a1a1a", titleColor="#1a1a1a", titleFontWeight="normal", labelFontSize=11, titleFontSize=11,
        gridColor="#e3e3e3", domainColor="#8a8a8a", tickColor="#8a8a8a",
    ).configure_view(stroke=None).configure_legend(
        orient="top", title=None, labelFontSize=11, labelColor="#1a1a1a", offset=4, columns=2, symbolStrokeWidth=2,
        labelLimit=150,
    )  # fmt: skip
    drawn = _with_own_ids(vl_convert.vegalite_to_svg(styled.to_dict()), prefix=f"c{zlib.crc32(label.encode()):08x}")
    return drawn.replace("<svg ", f'<svg role="img" aria-label="{html.escape(label)}" ', 1)


def _around(values: pd.Series) -> alt.Scale:
    """From zero to a little beyond the largest, with room for the circles at both ends."""
    most = max(float(values.max()), 1e-9)
    return alt.Scale(domain=[-0.09 * most, 1.15 * most], nice=False)


def _colour(series: str, kinds: list[str], *, legend: alt.Legend | None = None) -> alt.Color:
    colours = list(itertools.islice(itertools.cycle(SERIES), len(kinds)))
    scale = alt.Scale(domain=kinds, range=colours)
    return alt.Color(f"{series}:N", sort=kinds, scale=scale, legend=legend or alt.Legend())


def _with_own_ids(drawn: str, *, prefix: str) -> str:
    # Two pictures in one page must not clip each other: vega numbers its ids from zero in each.
    return drawn.replace(' id="', f' id="{prefix}').replace("url(#", f"url(#{prefix}")
