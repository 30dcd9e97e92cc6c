"""One self-contained page: style, script and data inside, nothing fetched."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from snnir.reporting.markup import Section, text

#: Files of the style, in order.
_STYLES = ("report.css", "runs.css", "sections.css")
#: Files in `script/`, in the order in which they are put together.
_SCRIPTS = (
    "dom", "model", "place", "lines", "camera", "canvas", "panel", "find", "graph", "page",
    "sort",
)  # fmt: skip


def page(title: str, lead: str, sections: Sequence[Section], data: Mapping[str, Any]) -> str:
    """Return a whole page.

    Args:
        title: Heading, as plain text.
        lead: HTML of the first paragraph.
        sections: In order; each is linked from the top.
        data: What the script reads, by the id of the element it stands in; plain JSON values.
    """
    style, script = "".join(map(_part, _STYLES)), _script()
    links = "".join(f"<a href='#{each.key}'>{text(each.title)}</a>" for each in sections)
    parts = [
        "<!doctype html>",
        "<html lang='en'><head><meta charset='utf-8'>",
        f"<meta http-equiv='Content-Security-Policy' content=\"{_policy(script)}\">",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<title>{text(title)}</title><style>{style}</style></head><body>",
        "<a class='skip' href='#content'>Skip to the content</a>",
        # Empty: the script takes the name space of drawings from it.
        "<svg width='0' height='0' aria-hidden='true'></svg>",
        f"<header><div><h1>{text(title)}</h1><p>{lead}</p></div></header>",
        f"<nav aria-label='Sections'>{links}</nav><main id='content'>",
        *(
            f"<section id='{each.key}'><h2>{text(each.title)}</h2>\n{each.body}</section>"
            for each in sections
        ),
        "</main>",
        *(
            f"<script type='application/json' id='{name}'>{_inert(value)}</script>"
            for name, value in data.items()
        ),
        f"<script>{script}</script></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _part(name: str) -> str:
    return files("snnir.reporting").joinpath(name).read_text("utf-8")


def _script() -> str:
    """Return the whole script, in a scope of its own."""
    parts = (_part(f"script/{name}.js") for name in _SCRIPTS)
    return "\n".join(["(() => {", '"use strict";', *parts, "})();"])


def _policy(script: str) -> str:
    """Return a policy under which only this script runs and nothing is fetched."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )


def _inert(value: Any) -> str:
    """Return JSON that cannot end the element it stands in."""
    plain = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
