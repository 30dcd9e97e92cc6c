"""What of a graph goes where on the chip, and how late: populations, who reads whom, latencies.

On the chip input events reach hidden neurons in the step they come in; hidden spikes reach hidden
and readout neurons one step later. A population's latency is how many steps later than in the
graph its spikes come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from snnir.dynamics.lif import LifStep
from snnir.errors import Diagnostic
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Neuron, Step
from snnir.ir.structure import Flatten, Input, Reshape
from snnir.ir.timing import Delay
from snnir.linear_forms import LINEAR, Read, follow_reads
from snnir.targets.xylo.response import decays


@dataclass(frozen=True)
class Population:
    """Neurons that go onto the chip together.

    Attributes:
        name: Node of the graph.
        op: Its step, a member of the LIF family.
        reads: The events behind its operands.
        late: Steps by which its synapse holds its input back (`synapse_order="late"`).
        block: `hidden` or `readout`.
        latency: Steps by which the chip is later than the graph.
    """

    name: str
    op: Step
    reads: frozenset[Read]
    late: int = 0
    block: str = "hidden"
    latency: int = 0

    @property
    def rules(self) -> LifStep:
        """Its rules."""
        assert isinstance(self.op.dynamics, LifStep)
        return self.op.dynamics

    @property
    def fires(self) -> bool:
        """Whether it spikes, rather than being read by its membrane."""
        return self.rules.fire != "never"


@dataclass(frozen=True)
class Output:
    """An output of the graph: the population it is, its shape, and the delay behind it."""

    name: str
    population: str
    shape: tuple[int, ...]
    delay: int = 0


@dataclass
class Structure:
    """What was found; `problems` says what does not fit.

    Attributes:
        graph: The graph.
        populations: By name, in order of flow.
        outputs: The graph's outputs.
        reads: Events behind every linear node.
        problems: Everything the chip has no form for.
    """

    graph: Graph
    populations: dict[str, Population] = field(default_factory=dict)
    outputs: list[Output] = field(default_factory=list)
    reads: dict[str, frozenset[Read]] = field(default_factory=dict)
    problems: list[Diagnostic] = field(default_factory=list)

    def size(self, name: str) -> int:
        """Return the number of elements of a source."""
        return self.graph.signal(name).size

    def is_input(self, name: str) -> bool:
        """Whether a source is an input of the graph."""
        return isinstance(self.graph.nodes[name].op, Input)

    def report(self, node: str | None, what: str, hint: str | None = None) -> None:
        """Note a problem."""
        self.problems.append(Diagnostic("SNN501", what, node, hint=hint))


def find_structure(graph: Graph) -> Structure:
    """Return where everything goes, or why it does not."""
    found = Structure(graph)
    for name in graph.order:
        _check_op(found, graph.nodes[name])
    _follow_reads(found)
    for name in graph.order:
        node = graph.nodes[name]
        if isinstance(node.op, Step) and isinstance(node.op.dynamics, LifStep):
            reads = frozenset[Read]().union(*(_reads_of(found, node, v) for v in node.operands))
            late = int(node.op.dynamics.synapse_order == "late")
            found.populations[name] = Population(name, node.op, reads, late)
    _find_outputs(found)
    _choose_blocks(found)
    _find_latencies(found)
    return found


def _check_op(found: Structure, node: Node) -> None:
    op = node.op
    if any(not tensor.is_resolved for tensor in op.tensors().values()):
        found.report(node.name, "its weights are not at hand", "load the file itself")
    if isinstance(op, Neuron):
        found.report(node.name, "is still continuous", "run the pass discretize")
    elif isinstance(op, Step):
        _check_step(found, node.name, op)
    elif isinstance(op, Delay):
        if op.longest != op.shortest:
            what = f"delays its elements by {op.shortest} to {op.longest} steps"
            found.report(node.name, what, "connections of the chip all take one step")
    elif not isinstance(op, (Input, *LINEAR)):
        what = f"op '{op.name}' is no sum of weighted events"
        hint = "use sum or mean pools instead" if op.name == "max_pool2d" else None
        found.report(node.name, what, hint)


def _check_step(found: Structure, name: str, op: Step) -> None:
    rules = op.dynamics
    if any(not tensor.is_resolved for tensor in op.params.values()):
        return
    if not isinstance(rules, LifStep):
        what = f"model '{op.model or op.program.name}' is no member of the LIF family"
        hint = "the chip has leaky integrate-and-fire neurons with a synaptic current each"
        if op.unit is not None:
            hint = "compile the graph before it is quantised: the target has a quantiser of its own"
        found.report(name, what, hint)
        return
    if rules.fire == "never" and rules.membrane == "none":
        found.report(name, "has no membrane that could be read")
    if rules.fire != "never":
        lowest = float(op.params["threshold"].numpy().min())
        if lowest <= 0:
            what = f"has a threshold of {lowest:g}; the chip's are positive"
            found.report(name, what, "remove neurons that always fire")
    if rules.fire != "never" and rules.reset == "none" and rules.membrane != "none":
        what = "keeps its membrane after a spike; the chip always subtracts the threshold"
        found.report(name, what, "train with a reset by subtraction")
    for kind, factor in zip(("current", "membrane"), decays(op), strict=True):
        if factor is not None and (factor.min() < 0.0 or factor.max() > 1.0):
            what = f"its {kind} is multiplied by {factor.min():.4g} to {factor.max():.4g} per step"
            found.report(name, what, "a decay of the chip is from 0 to 1; take a smaller dt")


def _follow_reads(found: Structure) -> None:
    """Find the events behind every linear node and delay."""
    reads, cyclic = follow_reads(found.graph, lambda node, value: _reads_of(found, node, value))
    found.reads.update(reads)
    for name in cyclic:
        found.report(name, "is in a cycle without neurons, which the chip cannot have")


def _reads_of(found: Structure, user: Node, value: Value) -> frozenset[Read]:
    """Return the events behind an operand; note it if it carries none."""
    node = found.graph.nodes[value.node]
    if node.name in found.reads:
        return found.reads[node.name]
    if isinstance(node.op, Input):
        return frozenset({(node.name, 0)})
    if not isinstance(node.op, Step) or not isinstance(node.op.dynamics, LifStep):
        return frozenset()  # reported where it stands
    if node.op.dynamics.fire == "never" or value.result:
        what = f"reads the membrane of '{node.name}'; on the chip neurons exchange spikes only"
        found.report(user.name, what)
        return frozenset()
    return frozenset({(node.name, 0)})


def _find_outputs(found: Structure) -> None:
    for name, value in found.graph.outputs.items():
        shape, delay = found.graph.signals[value].shape, 0
        node = found.graph.nodes[value.node]
        while isinstance(node.op, (Delay, Flatten, Reshape)):
            delay += node.op.shortest if isinstance(node.op, Delay) else 0
            value = node.operands[0]  # noqa: PLW2901
            node = found.graph.nodes[value.node]
        if node.name in found.populations and not value.result:
            found.outputs.append(Output(name, node.name, shape, delay))
        elif not isinstance(node.op, (Neuron, Step)) or value.result:
            what = f"output '{name}' is neither the spikes nor the membrane of a population"
            hint = "end with a LIF population, or with a leaky integrator to read membranes"
            found.report(node.name, what, hint)


def _choose_blocks(found: Structure) -> None:
    """Put outputs that only hidden neurons feed into the readout, everything else is hidden."""
    read = {source for population in found.populations.values() for source, _ in population.reads}
    given = {output.population for output in found.outputs}
    for name, population in found.populations.items():
        fed = any(found.is_input(source) for source, _ in population.reads)
        if name in given and name not in read and not fed:
            found.populations[name] = replace(population, block="readout")
        elif not population.fires:
            what = "is read by its membrane and fed by an input; inputs reach hidden neurons only"
            if name not in given:
                what = "has no spikes and is no output"
            found.report(name, what, "put a spiking population before it")


def _find_latencies(found: Structure) -> None:
    """Walk from the inputs; paths that meet must agree."""
    lags: dict[str, int] = dict.fromkeys(found.graph.inputs, 0)
    edges = list(_edges(found))
    known = deque(lags)
    waiting = deque(found.populations)
    while known or waiting:
        if not known:  # what no input reaches keeps time by itself
            name = waiting.popleft()
            if name not in lags:
                lags[name] = 0
                known.append(name)
            continue
        here = known.popleft()
        for source, target, lag in edges:
            for one, other, change in ((source, target, lag), (target, source, -lag)):
                if one == here and other not in lags:
                    lags[other] = lags[one] + change
                    known.append(other)
    for name, population in found.populations.items():
        found.populations[name] = replace(population, latency=lags[name])
        _check_agreement(found, population, lags)


def _edges(found: Structure) -> Iterator[tuple[str, str, int]]:
    for population in found.populations.values():
        for source, delay in sorted(population.reads):
            if source in found.graph.inputs or source in found.populations:
                yield source, population.name, _lag(found, population, source, delay)


def _lag(found: Structure, population: Population, source: str, delay: int) -> int:
    """Return by how much a connection makes its target later than in the graph."""
    hop = 0 if found.is_input(source) else 1
    return hop - delay - population.late


def _check_agreement(found: Structure, population: Population, lags: dict[str, int]) -> None:
    arrivals = {
        (source, delay): lags[source] + _lag(found, population, source, delay)
        for source, delay in sorted(population.reads)
        if source in lags
    }
    if set(arrivals.values()) <= {lags[population.name]}:
        return
    own = [delay for source, delay in arrivals if source == population.name]
    if own and any(lag != lags[population.name] for (s, _), lag in arrivals.items()
                   if s == population.name):  # fmt: skip
        takes = ", ".join(str(delay + population.late) for delay in own)
        found.report(
            population.name,
            f"its recurrence takes {takes} steps in the graph; on the chip it takes one",
            "give its recurrent connection a delay of exactly one step",
        )
        return
    listed = ", ".join(
        f"from '{source}'{f' (delay {delay})' if delay else ''} {_late(lag)}"
        for (source, delay), lag in arrivals.items()
    )
    found.report(
        population.name,
        f"events that meet in the graph would not meet on the chip: they come {listed}",
        "each connection between hidden neurons takes one step on the chip; give the paths the "
        "delays in the graph that make them agree",
    )


def _late(lag: int) -> str:
    return f"{abs(lag)} step{'s' if abs(lag) != 1 else ''} {'early' if lag < 0 else 'late'}"
