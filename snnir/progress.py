"""What is going on, for whoever wants to see it: tasks that take long say how far they are.

Code that may take more than a second wraps it in a task:

    with progress("calibrating", len(batches)) as step:
        for batch in batches:
            ...
            step()

A task is a name and two numbers in a list. Nothing is printed and no library is loaded until
somebody watches the list, as `snnir.show_progress` does and the command line on a terminal.

What was done is told to the logger `snnir` of Python's `logging`: each step at level INFO, its
particulars at level DEBUG. `snnir -v` and `snnir -vv` show them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")

#: Where `tell` tells.
LOGGER = logging.getLogger("snnir")


class Task:
    """Something that is being done; a context manager, and a function that counts.

    Attributes:
        what: What is done, as a person reads it.
        total: Number of parts, None if it has none that can be counted.
        done: Parts that are done.
        started: When it began, by `time.monotonic`, in seconds.
    """

    __slots__ = ("done", "started", "total", "what")

    def __init__(self, what: str, total: int | None = None) -> None:
        self.what, self.total, self.done = what, total, 0
        self.started = 0.0

    def __call__(self, parts: int = 1) -> None:
        """Count parts that are done."""
        self.done += parts

    def __enter__(self) -> Task:
        self.started = time.monotonic()
        _running.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        _running.remove(self)
        for ended in _watchers:
            ended(self)


#: Tasks that have begun and not ended, the outermost first. Appending and removing are atomic.
_running: list[Task] = []
_watchers: list[Callable[[Task], None]] = []


def progress(what: str, total: int | None = None) -> Task:
    """Return a task to be done in a `with` block; calling it counts.

    Args:
        what: What is done, as a person reads it; names in it may be anything.
        total: Number of parts, None if it has none that can be counted.
    """
    return Task(what, total)


def counted(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Return the items of an iterable one by one; a task counts them.

    Args:
        items: The items.
        what: What is done with them.
        total: How many they are, if they do not say so by `len`.
    """
    size = getattr(items, "__len__", None)
    with progress(what, size() if total is None and size is not None else total) as step:
        for item in items:
            yield item
            step()


def running() -> tuple[Task, ...]:
    """Return the tasks that have begun and not ended, the outermost first."""
    return tuple(_running)


def watch(ended: Callable[[Task], None]) -> Callable[[], None]:
    """Call a function whenever a task has ended, in the thread that it ran in.

    Returns:
        A function that ends this.
    """
    _watchers.append(ended)
    return lambda: _watchers.remove(ended)


def tell(text: str, *values: object) -> None:
    """Say that something was done: `text % values` at level INFO."""
    LOGGER.info(text, *values)


def tell_more(text: str, *values: object) -> None:
    """Say a particular of what was done: `text % values` at level DEBUG."""
    LOGGER.debug(text, *values)
