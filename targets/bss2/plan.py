"""From a graph to configured chips: populations, integers, places and routes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from snnir.errors import Diagnostic
from snnir.ir.graph import Graph
from snnir.ir.names import fresh_name
from snnir.targets.bss2.chips import MOST_PERIOD, MOST_TICKS, TICK_NS
from snnir.targets.bss2.execution import Execution
from snnir.targets.bss2.mapping.calibration import Array, Rules, Targets, map_population
from snnir.targets.bss2.mapping.ranges import (
    check_potentials,
    check_times,
    check_weights,
    feasible_speedups,
)
from snnir.targets.bss2.mapping.structure import Model, Population, find_model
from snnir.targets.bss2.network import Cells, LogicalNetwork, Projection, Source
from snnir.targets.bss2.routing.partition import partition
from snnir.targets.bss2.routing.problems import NotRouted

#: A spike reaches synapses in the tick after the one in which it comes.
LATENCY = 1
#: Shortest step of a model in ticks.
LEAST_STEP = 1e-3
#: Weights are stored in float32.
_SLACK = 1e-6


@dataclass(frozen=True)
class Wishes:
    """What the user asked for besides the graph.

    Attributes:
        speedup: How much faster than the model's time the chip runs.
        gain: LSB/us, see `calibration`.
        tau_syn: Microseconds of the chip, for neurons without a synaptic current; None to refuse.
        refractory: Microseconds of the chip, for neurons without a refractory time; 0 for half a
            step.
        common: Whether a population has one threshold distance.
        bias: `host`, `generator` or `refuse`: where the events of biases come from.
        bias_every: Steps between two of them; 0 to choose.
        reach: See `calibration.Rules`.
    """

    speedup: float
    gain: float
    tau_syn: float | None
    refractory: float
    common: bool
    bias: str
    bias_every: int
    reach: tuple[tuple[str, tuple[float, float]], ...] = ()


@dataclass(frozen=True)
class Plan:
    """A network on a chip.

    Attributes:
        model: In real numbers.
        targets: Calibration targets and integers by population.
        network: The integers.
        executions: Configurations that run one after another.
        step_ticks: Ticks in a step of the model.
        constant: Name of the source that is always on, if there is one.
        every: Steps between its events.
        wishes: What was asked for.
    """

    model: Model
    targets: Mapping[str, Targets]
    network: LogicalNetwork
    executions: tuple[Execution, ...]
    step_ticks: float
    constant: str
    every: int
    wishes: Wishes

    @property
    def generators(self) -> bool:
        """Whether biases come from background generators."""
        return bool(self.constant) and self.wishes.bias == "generator"

    @property
    def period(self) -> float:
        """Ticks between the events of what is always on; whole for generators."""
        return _period(self.every * self.step_ticks, self.generators)


def _period(exact: float, whole: bool) -> float:
    return max(float(np.floor(exact + 0.5)), 1.0) if whole else exact


def make_plan(graph: Graph, wishes: Wishes) -> tuple[Plan | None, list[Diagnostic]]:
    """Return a graph on the chip, or everything that does not fit."""
    if graph.dt is None:
        return None, [Diagnostic("SNN501", "has no dt", hint="give the model one: --dt")]
    return _Maker(graph, graph.dt, wishes).run()


class _Maker:
    def __init__(self, graph: Graph, dt: float, wishes: Wishes) -> None:
        self.wishes, self.dt = wishes, dt
        own = None if wishes.tau_syn is None else wishes.tau_syn * 1e-6 * wishes.speedup
        self.model = find_model(graph, dt, own)
        self.problems = list(self.model.problems)

    def run(self) -> tuple[Plan | None, list[Diagnostic]]:
        populations = self.model.populations
        if self.problems:
            return None, self.problems
        self.problems += check_times(populations.values(), self.wishes.speedup)
        self._check_step()
        for population in populations.values():
            self.problems += check_potentials(population)
        every = self._bias_steps()
        if self.problems:
            return None, self.problems
        rules = rules_of(self.wishes, self.dt, every)
        targets = {name: map_population(p, rules) for name, p in populations.items()}
        speedups = self.wishes.speedup, feasible_speedups(populations.values())[0]
        for name, population in populations.items():
            self.problems += check_weights(population, targets[name], speedups)
        if self.problems:
            return None, self.problems
        network, constant = self._network(targets)
        executions = self._placed(network)
        if executions is None:
            return None, self.problems
        ticks = self._step_ticks
        found = Plan(self.model, targets, network, executions, ticks, constant, every, self.wishes)
        return found, []

    @property
    def _step_ticks(self) -> float:
        return step_ticks(self.dt, self.wishes.speedup)

    def _check_step(self) -> None:
        if not LEAST_STEP <= self._step_ticks <= MOST_TICKS:
            what = (
                f"a step of {self.dt:g} s is {self._step_ticks:.4g} ticks of {TICK_NS} ns on the "
                f"chip; {LEAST_STEP:g} to {MOST_TICKS} can be counted"
            )
            hint = "give the model another dt: --dt; or choose another --set speedup=..."
            self.problems.append(Diagnostic("SNN501", what, hint=hint))

    def _bias_steps(self) -> int:
        """Return the steps between events of biases; rarer events have larger weights."""
        biased = _biased(self.model.populations)
        if self.wishes.bias == "refuse":
            for name, population in biased.items():
                worst = float(np.abs(population.constant).max())
                what = f"has biases, the largest is {worst:.4g}; the chip's circuits have none"
                hint = "--set bias=host or bias=generator makes events of them"
                self.problems.append(Diagnostic("SNN501", what, name, hint=hint))
        if not biased:
            return 1
        steps = bias_steps(self.model.populations, self.dt, self.wishes)
        ticks = steps * self._step_ticks
        if self.wishes.bias == "generator" and not 1 <= ticks <= MOST_PERIOD:
            what = f"a bias would be an event every {ticks:.6g} ticks of {TICK_NS} ns"
            hint = f"generators have periods of 1 to {MOST_PERIOD}: --set bias-every=..."
            self.problems.append(Diagnostic("SNN501", what, next(iter(biased)), hint=hint))
        return steps

    def _network(self, targets: Mapping[str, Targets]) -> tuple[LogicalNetwork, str]:
        model = self.model
        sources = {name: Source(name, int(np.prod(shape))) for name, shape in model.inputs.items()}
        cells = {
            name: Cells(name, population.size, population.neurons.spiking)
            for name, population in model.populations.items()
        }
        projections = [
            Projection(source, name, weights)
            for name, own in targets.items()
            for source, weights in own.weights.items()
            if weights.any()
        ]
        constant = ""
        if any(own.constant.any() for own in targets.values()):
            constant = fresh_name("always on", {**sources, **cells})
            background = self.wishes.bias == "generator"
            sources[constant] = Source(constant, 1, "constant", background)
            projections += [
                Projection(constant, name, own.constant[:, None])
                for name, own in targets.items()
                if own.constant.any()
            ]
        return LogicalNetwork(sources, cells, tuple(projections)), constant

    def _placed(self, network: LogicalNetwork) -> tuple[Execution, ...] | None:
        try:
            return tuple(partition(network))
        except NotRouted as failure:
            self.problems += [
                Diagnostic("SNN501", problem.message, problem.node or None, hint=problem.hint)
                for problem in failure.problems
            ]
            return None


def rules_of(wishes: Wishes, dt: float, every: int) -> Rules:
    """Return how populations are mapped.

    Args:
        wishes: What was asked for.
        dt: Seconds per step.
        every: Steps between events of biases.
    """
    ticks = step_ticks(dt, wishes.speedup)
    period = _period(every * ticks, wishes.bias == "generator")
    return Rules(
        dt=1e6 * dt / wishes.speedup, speedup=wishes.speedup, gain=wishes.gain,
        common=wishes.common, refractory=wishes.refractory, every=period / ticks,
        reach=dict(wishes.reach),
    )  # fmt: skip


def step_ticks(dt: float, speedup: float) -> float:
    """Return the ticks of the chip in a step of `dt` seconds."""
    return dt * 1e9 / speedup / TICK_NS


def bias_steps(populations: Mapping[str, Population], dt: float, wishes: Wishes) -> int:
    """Return the steps between events of biases; 1 if there are none."""
    biased = list(_biased(populations).values())
    return (wishes.bias_every or _steps_between(biased, dt)) if biased else 1


def _biased(populations: Mapping[str, Population]) -> dict[str, Population]:
    return {name: p for name, p in populations.items() if np.any(p.constant)}


def _steps_between(populations: list[Population], dt: float) -> int:
    """Return a power of two: weights no larger than others, intervals within half of tau_syn."""
    steps = 1
    while all(_bears(population, 2 * steps, dt) for population in populations):
        steps *= 2
    return steps


def _bears(population: Population, steps: int, dt: float) -> bool:
    others: Array = np.max(
        [np.zeros(population.size)]
        + [np.abs(w).max(axis=1, initial=0.0) for w in population.weights.values()],
        axis=0,
    )
    bias = np.abs(population.constant)
    short = steps * dt <= 0.5 * population.neurons.tau_syn.min(initial=np.inf)
    return bool(short and np.all(steps * bias <= others * (1 + _SLACK)))


def with_reach(wishes: Wishes, reach: Mapping[str, tuple[float, float]]) -> Wishes:
    """Return wishes that know how far membranes move."""
    return replace(wishes, reach=tuple(sorted(reach.items())))
