"""From the events of a few steps to one step: the proof that the run is periodic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from snnir.frontends.torch_nets.events import INPUT, Constant, Event, Operand, Ref


class NotPeriodic(Exception):
    """Two steps of the run differ.

    Attributes:
        event: The event where they do, if there is one.
    """

    def __init__(self, event: Event | None, reason: str) -> None:
        super().__init__(reason)
        self.event, self.reason = event, reason


@dataclass
class Folded:
    """One step of a recorded run.

    Attributes:
        events: All events of the run.
        steps: Number of steps recorded.
        once: Events outside the steps: sequences, and what is the same in every step.
        body: Events of one step, in order, as they stand in the step before the last.
        after: Events after the last step that read its results.
        place: Position in the body of every event of every step that has one.
        alias: For repeated events that are the same in every step, the first of them.
        irregular: Whether a first step differs, as where a recurrence has nothing to read yet;
            the graph must then be compared with the run by numbers.
    """

    events: Sequence[Event]
    steps: int
    once: list[int] = field(default_factory=list)
    body: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)
    place: dict[int, int] = field(default_factory=dict)
    alias: dict[int, int] = field(default_factory=dict)
    irregular: bool = False


def fold(events: Sequence[Event], steps: int) -> Folded:
    """Return the step that the last two recorded steps share.

    Raises:
        NotPeriodic: If they differ.
    """
    folded = Folded(events, steps)
    by_time: list[list[int]] = [[] for _ in range(steps)]
    for number, event in enumerate(events):
        if event.time is not None:
            by_time[event.time].append(number)
    _find_once(folded)
    if not any(by_time):
        return folded
    if steps < 2:
        raise NotPeriodic(None, "the run has fewer than two steps")
    folded.body = by_time[steps - 2]
    folded.place = {number: at for at, number in enumerate(folded.body)}
    _align_early(folded, by_time)
    last = by_time[steps - 1]
    count = len(folded.body)
    for at, number in enumerate(last[:count]):
        folded.place[number] = at
    folded.after = last[count:]
    _compare(folded, last[:count])
    return folded


def _find_once(folded: Folded) -> None:
    """Number the events outside steps; equal ones on equal operands are one."""
    known: dict[Any, int] = {}
    for number, event in enumerate(folded.events):
        if event.time is not None:
            continue
        key = (event.key, tuple(_once_key(folded, o) for o in event.operands))
        if event.lead == "B" and key in known:
            folded.alias[number] = known[key]
        else:
            known[key] = number
            folded.once.append(number)


def _once_key(folded: Folded, operand: Operand) -> Any:
    if isinstance(operand, Constant):
        return operand.identity()
    return (folded.alias.get(operand.source, operand.source), operand.result, operand.time)


def _align_early(folded: Folded, by_time: list[list[int]]) -> None:
    """Find the counterparts of the first steps' events in the body."""
    keys = [folded.events[number].key for number in folded.body]
    for time in range(folded.steps - 2):
        at = 0
        for number in by_time[time]:
            key = folded.events[number].key
            while at < len(keys) and keys[at] != key:
                at += 1
            if at == len(keys):
                raise NotPeriodic(
                    folded.events[number], f"step {time} does something later steps do not"
                )
            folded.place[number] = at
            at += 1
        if len(by_time[time]) != len(keys):
            folded.irregular = True
    for time in range(folded.steps - 2):
        found = {folded.place[n]: n for n in by_time[time]}
        for at, number in enumerate(folded.body):
            early = found.get(at)
            if early is not None and not _same_start(folded, number, early, time):
                folded.irregular = True


def _same_start(folded: Folded, number: int, early: int, time: int) -> bool:
    """Whether an early event reads what its counterpart reads, or zero before the start."""
    body_time = folded.steps - 2
    one, two = folded.events[number], folded.events[early]
    if len(one.operands) != len(two.operands):
        return False
    for a, b in zip(one.operands, two.operands, strict=True):
        wanted = canonical(folded, a, body_time)
        if isinstance(b, Constant) and isinstance(a, Ref):
            lag = 0 if a.time is None else body_time - a.time
            if not b.is_zero or lag <= time:
                return False
        elif canonical(folded, b, time) != wanted:
            return False
    return True


def canonical(folded: Folded, operand: Operand, time: int) -> Any:
    """Return an operand in a form that does not depend on the step it was recorded in."""
    if isinstance(operand, Constant):
        return operand.identity()
    lag = None if operand.time is None else time - operand.time
    source = folded.alias.get(operand.source, operand.source)
    if source == INPUT or folded.events[source].time is None:
        return ("once", source, operand.result, operand.lead, lag)
    return ("body", folded.place.get(source), operand.result, operand.lead, lag)


def _compare(folded: Folded, last: Sequence[int]) -> None:
    """Raise `NotPeriodic` unless the last step repeats the one before it."""
    events, time = folded.events, folded.steps - 1
    for number, again in zip(folded.body, last, strict=False):
        one, two = events[number], events[again]
        if one.key != two.key:
            raise NotPeriodic(two, f"step {time - 1} and step {time} do different things")
        a = [canonical(folded, o, time - 1) for o in one.operands]
        b = [canonical(folded, o, time) for o in two.operands]
        if a != b:
            raise NotPeriodic(two, f"step {time - 1} and step {time} read different values")
    if len(last) < len(folded.body):
        # The last step may lack what only the next step would read.
        folded.irregular = True
