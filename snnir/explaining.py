"""What a diagnostic code means, from the texts in `snnir/error_index`.

Each text is Markdown and the only source of what `snnir explain` prints and of the page
`docs/errors.md`. Its examples are run, and their messages written, by `tests/error_index`.
"""

from __future__ import annotations

import re
from pathlib import Path

from snnir.errors import CODES, error, shown

_FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def explain(code: str) -> str:
    """Return the rule of a code, why it exists, what to do, and examples of both sides of it.

    Args:
        code: Such as "SNN204"; "snn204" and "204" are understood.

    Returns:
        Text for a terminal, without a line break at its end.

    Raises:
        SnnirError: SNN701 if there is no such code.
    """
    code = known(code)
    text = _FENCE.sub(lambda block: _indented(block[1]), entry(code))
    text = re.sub(r"^## (.*)$", r"\1:", text, flags=re.MULTILINE)
    return f"{code}: {CODES[code]}\n\n{text.strip()}"


def known(code: str) -> str:
    """Return a code as it is written in messages.

    Raises:
        SnnirError: SNN701 if there is no such code.
    """
    word = code.strip().upper()
    word = word if word.startswith("SNN") else f"SNN{word}"
    if word in CODES:
        return word
    hint = "`snnir explain` lists all of them"
    raise error("SNN701", f"there is no code '{shown(code)}'", hint=hint)


def entry(code: str) -> str:
    """Return the text of a code of `CODES` as Markdown, with headings of the second level."""
    path = Path(__file__).with_name("error_index") / f"{code}.md"
    return path.read_text("utf-8")


def _indented(block: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in block.splitlines())
