"""Pictures by matplotlib as SVG that belongs to the page: its colours, its font, names that no other picture has.

matplotlib is imported when a picture is drawn, and none of its state is changed: figures are objects that no window
knows, and the settings are those it ships with, for the time of the drawing.
"""

import io
import re
import textwrap
import warnings
from collections.abc import Callable

from markupsafe import Markup

from tinydistill.report.text import visible, without_directions

# What a picture is drawn with stands for a colour of the page, which has others in the dark (templates/style.css).
INK, FAINT = "#010203", "#040506"
COLOURS = tuple(f"#a0b0{i:02x}" for i in range(8))
_OF_PAGE = {INK: "var(--ink)", FAINT: "var(--line)"} | {each: f"var(--c{i})" for i, each in enumerate(COLOURS)}
_NOT_OURS = ("backend", "interactive", "toolbar", "timezone", "webagg", "tk.", "keymap", "docstring", "date.epoch")
_STYLE = {
    "svg.fonttype": "none",  # text stays text
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.titlecolor"), INK),
    **dict.fromkeys(("axes.edgecolor", "grid.color"), FAINT),
}


def draw(
    name: str,
    alternative: str,
    plot: Callable[..., None],
    size: tuple[float, float] = (3.6, 2.7),
    left: float = 0.55,
    top: float = 0.3,
    panels: int = 1,
) -> Markup:
    """A picture as an <svg>. name: of no other picture of the page; plot: draws on the axes.

    panels: how many axes there are side by side, of the same scales, all given to `plot`.
    size: width and height in inches, of which the axes leave `left` and `top` free. matplotlib's layout engines would
    find such margins too, by drawing all twice.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    shipped = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith(_NOT_OURS)}
    with warnings.catch_warnings(), matplotlib.rc_context(shipped | _STYLE):
        warnings.simplefilter("ignore")  # a glyph that matplotlib's font lacks is the page's font's
        width, height = size
        figure = Figure(figsize=size)
        figure.subplots_adjust(left / width, 0.48 / height, 1 - 0.1 / width, 1 - top / height)
        every = figure.subplots(1, panels, sharex=True, sharey=True, squeeze=False)[0]
        figure.patch.set_visible(False)
        for axes in every:
            axes.patch.set_visible(False)
        plot(*every)
        file = io.StringIO()
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})  # savefig draws twice
    return Markup(_of_the_page(file.getvalue(), name, alternative))


def _of_the_page(text: str, name: str, alternative: str) -> str:
    """From what matplotlib wrote to a part of a page."""
    text = text[text.index("<svg") :].strip()
    for what in ("metadata", "style"):
        text = re.sub(rf"<{what}\b.*?</{what}>\s*", "", text, flags=re.DOTALL)
    numbers: dict[str, str] = {}  # in the order of the file: matplotlib's own names are other ones each time
    for found in re.finditer(r'\bid="([^"]+)"', text):
        numbers.setdefault(found[1], f"{name}-{len(numbers)}")
    new = lambda found: found[1] + numbers.get(found[2], found[2]) + found[3]  # noqa: E731
    text = re.sub(r'(\bid=")([^"]+)(")', new, text)
    text = re.sub(r'(href="#)([^"]+)(")', new, text)
    text = re.sub(r"(url\(#)([^)]+)(\))", new, text)
    for colour, of_page in _OF_PAGE.items():
        text = text.replace(colour, of_page)
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    assert size
    label = Markup('<svg role="img" aria-label="{}" viewBox="0 0 {} {}" width="{:.0f}" class="picture">').format(
        visible(alternative), size[1], size[2], float(size[1]) * 4 / 3
    )
    return label + Markup(re.sub(r"^<svg[^>]*>", "", text))


def plain(text: str, columns: int = 40, lines: int = 1) -> str:
    """A text for a picture, cut where it is long, without a meaning for matplotlib: dollars make formulas."""
    shown = textwrap.fill(without_directions(text), columns, max_lines=lines, placeholder="…")
    return shown.replace("$", r"\$")
