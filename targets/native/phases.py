"""Step programs that join the samples of a batch, in C: cut where they sum over samples."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from snnir.dynamics.c_source import c_operand, c_statements
from snnir.dynamics.program import Dynamics, Operand, only
from snnir.targets.native.writer import Body

_DECLARED = re.compile(r"(?:const )?\w+ (?:\*(?:const |restrict )?)?(\w+) = ")


@dataclass(frozen=True)
class Phase:
    """What is computed of every sample before some sums over samples are known.

    Attributes:
        sums: (result, operand) of those sums.
        known: Results of the sums before.
    """

    sums: tuple[tuple[str, Operand], ...]
    known: tuple[str, ...]


def phases(program: Dynamics) -> list[Phase]:
    """Return the parts of a program that end in sums over samples; each needs those before."""
    level: dict[Operand, int] = {}
    found: list[list[tuple[str, Operand]]] = []
    for let in program.body:
        depth = max((level.get(arg, 0) for arg in let.args), default=0)
        if let.op == "batch_sum":
            found += [[]] * (depth + 1 - len(found))
            found[depth] = [*found[depth], (let.target, let.args[0])]
            depth += 1
        level[let.target] = depth
    known: list[str] = []
    made = []
    for sums in found:
        made.append(Phase(tuple(sums), tuple(known)))
        known += [target for target, _ in sums]
    return made


@dataclass
class Elements:
    """How the elements that a program steps lie in C.

    Attributes:
        program: The program, with names of C.
        real: C type of the arithmetic.
        lanes: The most elements that are stepped at once.
        before: Declarations of a sample: pointers, and what all its elements read.
        each: Declarations of an element of a sample, in order, with what is recorded of them.
        shared: Declarations of an element that is the same for all samples.
        stores: Statements that end the step of an element of a sample.
        results: Operands that those read.
        lasting: Name in the program and place of every lasting state.
    """

    program: Dynamics
    real: str
    lanes: int
    before: list[str] = field(default_factory=list)
    each: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    stores: list[str] = field(default_factory=list)
    results: list[Operand] = field(default_factory=list)
    lasting: Mapping[str, str] = field(default_factory=dict)

    def write(self, body: Body) -> None:
        """Add the step of elements 0 to n of all samples at step t."""
        cut = phases(self.program)
        known = tuple(name for phase in cut for name, _ in phase.sums)
        body.add(*(f"{self.real} sum_{name}[{self.lanes}];" for name in known))
        if cut or self.stores:
            body.add("long b;")
        for phase in cut:
            self.sum(body, phase)
        if self.stores:
            lines = [*self.shared, *self.each, *self.statements(self.results, known)]
            self.samples(body, needed(lines, self.stores), self.stores)
        if self.lasting:
            self.last(body, known)

    def statements(self, results: Sequence[Operand], known: Sequence[str]) -> list[str]:
        """Return what computes some results once some sums are known."""
        rest = only(self.program, results, known)
        sums = [f"const {self.real} {name} = sum_{name}[i];" for name in known]
        return [*sums, *c_statements(rest, self.real)]

    def sum(self, body: Body, phase: Phase) -> None:
        """Add up over samples, beginning with the first."""
        operands = [operand for _, operand in phase.sums]
        rest = self.statements(operands, phase.known)
        adds = []
        for name, operand in phase.sums:
            value = c_operand(operand, self.real)
            adds.append(f"sum_{name}[i] = b ? sum_{name}[i] + {value} : {value};")
        lines = [*self.shared, *declarations(self.each), *rest]
        self.samples(body, needed(lines, adds), adds)

    def samples(self, body: Body, lines: Sequence[str], ends: Sequence[str]) -> None:
        """Add a loop over samples, of which there is at least one, and elements."""
        inside = [*lines, *ends]
        row = "const long row = t * r->batch + b;"
        body.add("b = 0;")
        with body.block("do"):
            body.add(*needed([row, *self.before], inside))
            with body.block("for (long i = 0; i < n; i++)"):
                for line in inside:
                    body.append(line) if line.startswith("#") else body.add(line)
        body[-1] += " while (++b < r->batch);"

    def last(self, body: Body, known: Sequence[str]) -> None:
        """Give lasting states their new values, which no sample has of its own."""
        updates = dict(self.program.updates)
        lines = [*self.shared, *self.statements([updates[name] for name in self.lasting], known)]
        for name in self.lasting:
            value = c_operand(updates[name], self.real)
            lines.append(f"const {self.real} new_{name} = {value};")
        stores = [f"{place} = new_{name};" for name, place in self.lasting.items()]
        with body.block("for (long i = 0; i < n; i++)"):
            body.add(*needed(lines, stores), *stores)


def declarations(lines: Sequence[str]) -> list[str]:
    """Return the lines that declare something."""
    return [line for line in lines if _DECLARED.match(line)]


def needed(lines: Sequence[str], uses: Sequence[str]) -> list[str]:
    """Return the declarations that others read, or statements in `uses`."""
    words = {word for line in uses for word in re.findall(r"\w+", line)}
    kept = []
    for line in reversed(lines):
        found = _DECLARED.match(line)
        if found is None or found[1] in words:
            kept.append(line)
            words |= set(re.findall(r"\w+", line))
    return kept[::-1]
