"""Progress bars on a terminal, for tasks that run for more than a second."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TextIO

from snnir import progress
from snnir.errors import shown

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: Seconds before a task is shown, and between two looks.
PATIENCE, PACE = 1.0, 0.1
#: A name is cut after this many characters, so that a bar fits a line.
_LONGEST = 48


@contextmanager
def show_progress(pace: float = PACE) -> Iterator[None]:
    """Show what takes more than a second, as bars on stderr that go when it is done.

    Nothing is shown where stderr is no terminal, and a script that does not ask for it shows
    nothing:

        with snnir.show_progress():
            compiled = snnir.compile(graph, "native", passes="quantize{budget=0.01}")

    Args:
        pace: Seconds between two looks. Drawing takes about a millisecond, so what measures times
            looks seldom.
    """
    if _active or not _can_show(sys.stderr):  # a terminal has room for one
        yield
        return
    bars = _Bars(sys.stderr, pace)
    _active.append(bars)
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = bars.before(sys.stdout), bars.before(sys.stderr)
    unwatch = progress.watch(bars.ended)
    bars.start()
    try:
        yield
    finally:
        unwatch()
        bars.stop()
        sys.stdout, sys.stderr = streams
        _active.remove(bars)


_active: list[_Bars] = []


def _can_show(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class _Bars:
    """Looks at the running tasks now and then, in a thread of its own, and draws them.

    Whatever is printed meanwhile goes above: the bars are erased first and drawn again later.
    """

    def __init__(self, stream: TextIO, pace: float) -> None:
        self.stream, self.pace = stream, pace
        self.lock = threading.RLock()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._look, name="snnir-progress", daemon=True)
        self.drawn: Progress | None = None
        self.lines: dict[progress.Task, TaskID] = {}
        #: Whether the cursor is at the start of a line, so that bars overwrite nothing.
        self.at_start = True

    def start(self) -> None:
        """Begin to look."""
        self.thread.start()

    def stop(self) -> None:
        """Erase what is drawn and look no more."""
        self.over.set()
        self.thread.join()
        self.erase()

    def before(self, stream: TextIO) -> Any:
        """Return a stream that erases the bars before anything is written to the terminal."""
        return _Above(stream, self) if stream.isatty() or stream is self.stream else stream

    def ended(self, task: progress.Task) -> None:
        """Erase the bars as soon as one of their tasks is done."""
        if task in self.lines:
            self.erase()

    def erase(self) -> None:
        """Erase what is drawn."""
        with self.lock:
            if self.drawn is not None:
                self.drawn.stop()
            self.drawn, self.lines = None, {}

    def _look(self) -> None:
        while not self.over.wait(self.pace):
            now = time.monotonic()
            old = [task for task in progress.running() if now - task.started > PATIENCE]
            if not old:
                continue
            _prepare()
            with self.lock:
                # A task that ends from here on waits in `ended` until its bar is drawn.
                still = set(progress.running())
                old = [task for task in old if task in still]
                if self.at_start and old:
                    self._draw(old)

    def _draw(self, tasks: list[progress.Task]) -> None:
        drawn = self.drawn = self.drawn or _display(self.stream)
        for task in tasks:
            if task not in self.lines:
                what = shown(task.what, _LONGEST)
                self.lines[task] = line = drawn.add_task(what, total=task.total)
                drawn.tasks[drawn.task_ids.index(line)].start_time = task.started
            drawn.update(self.lines[task], total=task.total, completed=task.done)
        drawn.start()  # nothing, if it was
        drawn.refresh()


@cache
def _prepare() -> None:
    """Import all that drawing needs: it must not wait for a module while the lock is held."""
    with _display(io.StringIO()) as drawn:
        drawn.add_task("", total=1)


def _display(stream: TextIO) -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column
    from rich.text import Text

    class Counted(ProgressColumn):
        """A column that only tasks with parts have."""

        def __init__(self, column: ProgressColumn) -> None:
            super().__init__()
            self.column = column

        def render(self, task: Any) -> Any:
            return Text("") if task.total is None else self.column.render(task)

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        Counted(BarColumn()),
        Counted(MofNCompleteColumn()),
        TimeElapsedColumn(),
        Counted(TimeRemainingColumn()),
        console=Console(file=stream),
        get_time=time.monotonic,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,  # what is data stays on stdout
        redirect_stderr=False,
    )


class _Above:
    """A stream on the terminal: what is written goes above the bars."""

    def __init__(self, stream: TextIO, bars: _Bars) -> None:
        self._stream, self._bars = stream, bars

    def write(self, text: str) -> int:
        with self._bars.lock:
            self._bars.erase()
            if text:
                self._bars.at_start = text.endswith("\n")
            return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _forget() -> None:
    """A forked child has no thread that draws, and must not wait for its lock."""
    for bars in _active:
        bars.lock, bars.drawn, bars.lines = threading.RLock(), None, {}


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
