"""A report as Markdown and as one self-contained HTML page."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; font-variant-numeric: tabular-nums; }
table { font-size: .9rem; }
th, td { padding: .25rem .55rem; border-bottom: 1px solid #ddd; text-align: left; white-space: nowrap; }
td:last-child { white-space: normal; } td:nth-child(n+5):last-child { min-width: 12rem; }
th { border-bottom: 2px solid #888; white-space: normal; vertical-align: bottom; }
svg, img { max-width: 100%; height: auto; } figure { margin: 1rem 0; } code { background: #f3f3f3; padding: .1rem .3rem; }
"""

_HEADING = re.compile(r"<th>.*?</th>")
#: Where the name of a metric or a field may go on in the next line; nothing else of a heading is broken but between words.
_WITHIN_NAME = re.compile(r"(?<=\w)[/_](?=\w)")


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def html_page(title: str, text: str, pictures: Mapping[str, str]) -> str:
    """One self-contained page.

    Args:    title: of the page.
             text: Markdown; a picture's place is where `picture(name)` stands, in a paragraph of its own.
             pictures: name → HTML.
    """
    # No links and no images: a trial's reason or a class's name may look like one, and the page must need nothing else.
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["image", "link", "autolink", "reference"])
    body = _HEADING.sub(lambda heading: _WITHIN_NAME.sub(r"\g<0><wbr>", heading[0]), markdown.render(f"# {title}\n\n{text}"))
    for name, html in pictures.items():
        label = escape(name.replace("_", " "))
        body = body.replace(f"<p>{picture(name)}</p>", f'<figure role="img" aria-label="{label}">{html}</figure>')
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'{head}<link rel="icon" href="data:,"><body>\n{body}</body></html>\n'


def write_page(stem: Path, title: str, text: str, picture_svg: str, picture_png: bytes) -> None:
    """Writes `<stem>.md` with `<stem>.png` beside it, and `<stem>.html` with everything in it.

    Args:    stem: path without an ending.
             title: of the page.
             text: Markdown; the place of the picture is where `picture(<stem's name>)` stands.
             picture_svg, picture_png: the same picture twice.
    """
    stem.with_suffix(".png").write_bytes(picture_png)
    stem.with_suffix(".md").write_text(f"# {title}\n\n" + text.replace(picture(stem.name), f"![]({stem.name}.png)") + "\n")
    stem.with_suffix(".html").write_text(html_page(title, text, {stem.name: picture_svg}))


def picture(name: str) -> str:
    """Stands for a picture in a text.

    Args:    name: letters, digits, "-" and "_".
    """
    return f"%%{name}%%"
