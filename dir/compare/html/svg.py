"""A matplotlib figure as SVG text: no script, no font, no link; texts and axes follow the colours of the page."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from dir.figures.style import INK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A point in the units of the SVG (x, y), the text that a pointer on it shows, and the method it belongs to.
Hover = tuple[float, float, str, str]


def svg_text(figure: Figure, name: str, points: Iterable[Hover] = ()) -> str:
    """Return the SVG of a figure drawn with ``INK``, with an invisible circle and a title over each point.

    Args:
        figure: lines with a group id (gid) ``NAME--mN`` belong to the method N, which the page can switch off.
        name: unique on the page; the identities in the SVG start with it.
        points: points with a text.
    """
    import matplotlib

    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}):
        # The resolution is that of rasterised maps alone.
        figure.savefig(
            buffer, format="svg", dpi=100, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    # Six decimals of a pixel are a third of the page.
    text = re.sub(r'\b(?:d|x|y|transform)="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), text)
    # Identities are unique on the page; the groups of the lines keep theirs as data-method.
    text = re.sub(r'<g id="\w+--(m\d+)">', r'<g data-method="\1">', text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(xlink:href="#|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px system-ui, sans-serif", text)
    circles = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="transparent" data-method="{method}">'
        f"<title>{html.escape(shown)}</title></circle>"
        for x, y, shown, method in points
    )
    return text.replace("</svg>", f"{circles}</svg>")
