"""Pictures that are drawn when they are asked for: building a target does not wait for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping


class Pictures(Mapping[str, str]):
    """Texts of SVG elements by title.

    Args:
        drawn: What draws them.
    """

    def __init__(self, drawn: Mapping[str, Callable[[], str]]) -> None:
        self._drawn = dict(drawn)

    def __getitem__(self, title: str) -> str:
        return self._drawn[title]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._drawn)

    def __len__(self) -> int:
        return len(self._drawn)
