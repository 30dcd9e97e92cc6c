"""What of a graph is neurons of the chip, and what their synapses: the side of training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.dynamics.lif import LifStep
from snnir.errors import Diagnostic, SnnirError, error
from snnir.ir import Add, Current, Delay, Flatten, Graph, Input, Linear, Node, Op, Reshape, Step
from snnir.targets.bss2.training.variations import Variation
from snnir.tensors import FrozenDict, Tensor

Array = npt.NDArray[Any]

#: What a neuron of the chip is as a step: choices of `LifStep` by attribute.
FORMS: dict[str, tuple[Any, ...]] = {
    "synapse": ("factor",), "membrane": ("factor",), "inputs": (1,), "synapse_leak": (False,),
    "spikes": ("single",), "reset_timing": ("same-step",), "clamp": ("none",),
    "exposes_v": (False,),
}  # fmt: skip


@dataclass(frozen=True)
class Population:
    """Neurons and the synapses onto them.

    Attributes:
        name: The node.
        size: Number of neurons.
        spiking: Whether they spike.
        params: Of the step, one number per neuron each: `alpha` and `beta` (what is left of
            current and membrane after a step), `gain`, `cross`, `through`, `w_in` where it has
            them, `leak`, and of spiking ones `threshold` and `v_reset`.
        synapses: Names of the linear nodes whose sums it reads.
    """

    name: str
    size: int
    spiking: bool
    params: dict[str, Array]
    synapses: tuple[str, ...]

    def on_chip(self, varied: Variation | None, lsb: Array) -> dict[str, Array]:
        """Return the parameters of the step, [N] each.

        Args:
            varied: What differs on the chip; None for the targets themselves.
            lsb: LSB per unit of the model.
        """
        own = dict(self.params)
        leak = own.pop("leak")
        if varied is not None:
            read = 0.0 if self.spiking else varied.cadc_offset  # moves all that is read, as a leak
            leak = leak + (varied.leak + read) / lsb
            before = coupling(own["alpha"], own["beta"])
            own["alpha"] = own["alpha"] ** (1 / varied.tau_syn)
            own["beta"] = own["beta"] ** (1 / varied.tau_mem)
            # An event moves the current and the slope of the membrane by what it did.
            ratio = coupling(own["alpha"], own["beta"]) / before
            own |= {name: own[name] * ratio for name in ("gain", "cross", "through") if name in own}
            if self.spiking:
                own["threshold"] = own["threshold"] + varied.threshold / lsb
                own["v_reset"] = own["v_reset"] + varied.reset / lsb
        return own | {"bias": (1 - own["beta"]) * leak, "v_start": leak}


def coupling(alpha: Array, beta: Array) -> Array:
    """Return what a current of 1 before a step adds to the membrane in it, in steps.

    Both decay in continuous time; alpha and beta are what is left of them after the step.
    """
    i, v = -np.log(alpha), -np.log(beta)  # rates per step
    gap = v - i
    close = np.abs(gap) < 1e-9
    ratio: Array = np.exp(-v) * np.where(close, 1.0, np.expm1(gap) / np.where(close, 1.0, gap))
    return ratio


def populations_of(graph: Graph) -> dict[str, Population]:
    """Return the populations of a discretised graph, in its order.

    Raises:
        SnnirError: SNN501 listing everything that is no network of such a chip.
    """
    problems = list(_problems(graph))
    if problems:
        raise SnnirError(problems)
    found = {
        node.name: _population(graph, node)
        for node in (graph.nodes[name] for name in graph.order)
        if isinstance(node.op, Step)
    }
    readers: dict[str, str] = {}
    for population in found.values():
        for name in population.synapses:
            if readers.setdefault(name, population.name) != population.name:
                what = f"synapses onto '{readers[name]}' and '{population.name}' at once"
                raise error("SNN501", what, node=name, hint="give each its own linear node")
    idle = [
        n.name for n in graph.nodes.values() if isinstance(n.op, Linear) if n.name not in readers
    ]
    if idle:
        raise error("SNN501", "has a sum that is not read by neurons", node=idle[0])
    return found


def _problems(graph: Graph) -> Iterator[Diagnostic]:
    allowed = (Input, Linear, Step, Add, Current, Delay, Flatten, Reshape)
    for node in graph.nodes.values():
        if not isinstance(node.op, allowed):
            hint = "train linear layers, or unroll it to one"
            yield Diagnostic(
                "SNN501", f"'{node.op.name}' has no synapses to train", node.name, hint=hint
            )
        if isinstance(node.op, Step):
            yield from _neuron_problems(graph, node, node.op)
        if isinstance(node.op, Linear) and node.op.unit is not None:
            hint = "train the graph before quantize"
            yield Diagnostic("SNN501", "has whole weights", node.name, hint=hint)


def _neuron_problems(graph: Graph, node: Node, op: Step) -> Iterator[Diagnostic]:
    step = op.dynamics
    if not isinstance(step, LifStep):
        yield Diagnostic("SNN501", "is no neuron of the LIF family", node.name)
        return
    if step.synapse == "none":
        hint = "use cubalif or cubali, with the synapses' time constant"
        yield Diagnostic("SNN501", "has no synaptic current", node.name, hint=hint)
        return
    rules = {**FORMS, "reset": ("none",) if step.fire == "never" else ("to", "zero")}
    for name, choices in rules.items():
        value = getattr(step, name)
        if value not in choices:
            known = " or ".join(str(choice) for choice in choices)
            message = f"{name} is {value}; such a chip is trained with {known}"
            yield Diagnostic("SNN501", message, node.name)
    if len(graph.signal(node.name).shape) != 1:
        yield Diagnostic("SNN501", "is no row of neurons", node.name, hint="flatten its input")


def _population(graph: Graph, node: Node) -> Population:
    op = node.op
    assert isinstance(op, Step)
    assert isinstance(op.dynamics, LifStep)
    (size,) = graph.signal(node.name).shape
    own = {name: np.broadcast_to(np.float64(p.numpy()), (size,)) for name, p in op.params.items()}
    leak = own.pop("bias", np.zeros(size)) / (1 - own["beta"])
    own.pop("v_start", None)
    spiking = op.dynamics.fire != "never"
    if spiking:
        own.setdefault("v_reset", np.zeros(size))
    return Population(
        node.name, size, spiking, {**own, "leak": leak}, tuple(_synapses(graph, node))
    )


def _synapses(graph: Graph, node: Node) -> Iterator[str]:
    """Yield the linear nodes whose sums a population reads."""
    for value in node.operands:
        before = graph.nodes[value.node]
        if isinstance(before.op, Linear):
            yield before.name
        elif isinstance(before.op, (Input, Step)):
            hint = "put a linear node between them"
            raise error(
                "SNN501", f"reads '{before.name}' without synapses", node=node.name, hint=hint
            )
        else:
            yield from _synapses(graph, before)


def template(graph: Graph, populations: dict[str, Population]) -> Graph:
    """Return the graph with a number per neuron for everything that differs on a chip."""
    editor = graph.edit()
    for population in populations.values():
        op = graph.nodes[population.name].op
        assert isinstance(op, Step)
        assert isinstance(op.dynamics, LifStep)
        own = population.on_chip(None, np.ones(population.size))
        changes: dict[str, Any] = {"leak": True, "start": True}
        if population.spiking:
            changes["reset"] = "to"
        dynamics = replace(op.dynamics, **changes)
        names = [name for name, _ in dynamics.program.params]
        params = FrozenDict({name: Tensor(own[name].astype(np.float32)) for name in names})
        changed: Op = replace(op, dynamics=dynamics, params=params)
        editor.set_op(population.name, changed)
    return editor.graph().verify()
