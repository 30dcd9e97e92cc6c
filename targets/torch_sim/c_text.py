"""Filling in templates of C."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence


def filled(template: str, parts: Mapping[str, Sequence[str]]) -> str:
    """Return a template with lines in place of every `$word`, indented as the word is.

    Args:
        template: Text in which a `$word` stands alone on its line.
        parts: The lines by word.
    """

    def lines(match: re.Match[str]) -> str:
        text = "\n".join(parts[match[2]])
        return "".join(f"{match[1]}{line}\n" for line in text.splitlines())

    return re.sub(r"^( *)\$(\w+)\n", lines, template, flags=re.MULTILINE)
