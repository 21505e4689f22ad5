"""A report as Markdown and as one self-contained HTML page."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ddd; text-align: left; white-space: nowrap; }
th { border-bottom: 2px solid #888; }
svg { max-width: 100%; height: auto; } code { background: #f3f3f3; padding: .1rem .3rem; }
"""
_PICTURE = "%%picture%%"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def write_page(stem: Path, title: str, text: str, picture_svg: str, picture_png: bytes) -> None:
    """Writes `<stem>.md` with `<stem>.png` beside it, and `<stem>.html` with everything in it.

    Args:    stem: path without an ending.
             title: of the page.
             text: Markdown; the place of the picture is where `picture()` stands.
             picture_svg, picture_png: the same picture twice.
    """
    stem.with_suffix(".png").write_bytes(picture_png)
    stem.with_suffix(".md").write_text(f"# {title}\n\n" + text.replace(_PICTURE, f"![]({stem.name}.png)") + "\n")
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(f"# {title}\n\n{text}")
    page = body.replace(f"<p>{_PICTURE}</p>", picture_svg)
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    stem.with_suffix(".html").write_text(f"{head}<body>\n{page}</body></html>\n")


def picture() -> str:
    """Stands for the picture in a text."""
    return _PICTURE
