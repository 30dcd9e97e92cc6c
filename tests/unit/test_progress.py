"""Tasks that say how far they are, and what is said of what is done."""

from __future__ import annotations

import io
import re
import threading
import time
from collections.abc import Iterator

import pytest

from snnir import progress, progress_bars, suggest
from snnir.progress import Task, counted, running


@pytest.fixture
def bars() -> Iterator[progress_bars._Bars]:
    """Bars that are drawn into a text, not by a thread."""
    progress_bars._prepare()
    yield progress_bars._Bars(io.StringIO(), 0.01)
    assert running() == ()


def started(bars: progress_bars._Bars) -> bool:
    return bars.drawn is not None and bars.drawn.live.is_started


def test_tasks_run_as_long_as_their_block() -> None:
    with Task("outer") as outer, progress.progress("inner", 3) as inner:
        assert running() == (outer, inner)
        inner()
        inner(2)
        assert (inner.done, inner.total, outer.total) == (3, 3, None)
    assert running() == ()
    with pytest.raises(ValueError, match="gone"), Task("fails"):
        raise ValueError("gone")
    assert running() == ()


def test_items_are_counted_when_they_are_done() -> None:
    seen = []
    for item in counted([10, 20], "items"):
        (task,) = running()
        seen.append((item, task.done, task.total))
    assert seen == [(10, 0, 2), (20, 1, 2)]
    assert [running()[0].total for _ in counted(iter("ab"), "items", 7)] == [7, 7]
    for _ in counted(range(5), "left early"):
        break
    assert running() == ()


def test_who_watches_is_told_of_every_end() -> None:
    ended: list[str] = []
    stop = progress.watch(lambda task: ended.append(task.what))
    with Task("a"), Task("b"):
        pass
    stop()
    with Task("c"):
        pass
    assert ended == ["b", "a"]


def test_tasks_of_several_threads_do_not_disturb_each_other() -> None:
    def work() -> None:
        for number in range(200):
            with Task(str(number), 5) as task:
                for _ in range(5):
                    task()
                assert task in running()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert running() == ()


def test_a_step_costs_next_to_nothing() -> None:
    with Task("steps", 100_000) as step:
        start = time.perf_counter()
        for _ in range(100_000):
            step()
        assert time.perf_counter() - start < 0.5  # 5 µs each, on a busy machine


def test_a_task_that_ended_is_erased_before_its_block_is_left(bars: progress_bars._Bars) -> None:
    stop = progress.watch(bars.ended)
    with Task("long"), Task("short") as inner:
        bars._draw([inner])
        assert started(bars)
    stop()
    assert not started(bars)


def test_names_are_text_and_fit_a_line(bars: progress_bars._Bars) -> None:
    with Task(f"[red]\x1b[2J{'x' * 200}", 4) as task:
        task(3)
        bars._draw([task])
        bars.erase()
    assert isinstance(bars.stream, io.StringIO)
    written = bars.stream.getvalue()
    assert "\x1b[2J" not in written


def test_a_stream_with_a_line_begun_is_not_drawn_over(bars: progress_bars._Bars) -> None:
    out = io.StringIO()
    above = progress_bars._Above(out, bars)
    above.write("a line begun")
    begun = bars.at_start
    above.writelines(["\n", "next\n"])
    assert (begun, bars.at_start) == (False, True)
    assert out.getvalue() == "a line begun\nnext\n"
    assert above.encoding == out.encoding


# --- Names that were meant -----------------------------------------------------------------------


def test_similar_names_are_named_best_first() -> None:
    known = ["discretize", "dead-code", "fold-batchnorm", "fold_constants"]
    assert suggest.close("discretise", known) == ["discretize"]
    assert suggest.close("Fold-Constant", known) == ["fold_constants"]
    assert suggest.close("zzz", known) == []
    assert suggest.close("d" * 1000, known) == []
    assert suggest.did_you_mean("zzz", known) is None
    assert suggest.hint("zzz", known, "passes") == f"passes: {', '.join(known)}"
    assert suggest.hint("zzz", [], "passes") == "there are none"
    many = [f"n{i}" for i in range(5000)]
    assert re.fullmatch(r"known: n0, .*, n39, … \(5000\)", suggest.hint("zzz", many))


def test_names_in_hints_are_safe() -> None:
    assert "\x1b" not in suggest.hint("evil", ["evi\x1b[2Jl"])
    assert "\x1b" not in suggest.hint("zzz", ["evi\x1b[2Jl"])


def test_hostile_names_are_compared_in_no_time() -> None:
    start = time.perf_counter()
    suggest.hint("a" * 100, ["a" * 99 + chr(c) for c in range(32, 3032)])
    suggest.hint("ab" * 50, {f"{'ba' * 40}{i}" for i in range(20_000)})
    assert time.perf_counter() - start < 6
