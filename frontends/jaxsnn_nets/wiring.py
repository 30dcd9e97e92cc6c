"""A topology as jaxsnn runs it: its nodes in the order of a step, and what kind each is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.errors import Diagnostic, SnnirError, error

Array = npt.NDArray[Any]

#: Module and qualified name of a generator function to what it generates.
_GENERATORS = {
    "jaxsnn.discrete.modules.input:Input.<locals>.generator": "input",
    "jaxsnn.discrete.modules.linear:Linear.<locals>.generator": "linear",
    "jaxsnn.discrete.modules.lif:LIF.<locals>.generator": "lif",
    "jaxsnn.discrete.modules.li:LI.<locals>.generator": "li",
    "jaxsnn.event.modules.source:Source.<locals>.generator": "input",
    "jaxsnn.event.modules.linear:Linear.<locals>.generator": "linear",
    "jaxsnn.event.utils.from_nir:node_from_nir.<locals>.generator": "linear",
    "jaxsnn.event.modules.lif.lif:LIF.<locals>.generator": "lif",
}


def paradigm_of(model: Any) -> str | None:
    """Return `discrete` or `event` for a jaxsnn topology, None for anything else."""
    for cls in type(model).__mro__:
        if cls.__name__ == "Topology" and cls.__module__.startswith("jaxsnn."):
            return "event" if ".event." in cls.__module__ else "discrete"
    return None


@dataclass(frozen=True)
class Wiring:
    """The nodes of a topology.

    Attributes:
        topology: The topology itself.
        order: Node names in the order jaxsnn goes through them in a step.
        groups: The strongly connected component of every node.
        kinds: `input`, `linear`, `lif` or `li` for every node.
    """

    topology: Any
    order: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    kinds: Mapping[str, str]

    def module(self, node: str) -> Any:
        """Return jaxsnn's module of a node."""
        return self.topology.graph.nodes[node]["module"]

    def before(self, node: str) -> list[str]:
        """Return what a node reads, in the order in which jaxsnn adds it up."""
        return list(self.topology.graph.predecessors(node))

    def after(self, node: str) -> list[str]:
        """Return what reads a node."""
        return list(self.topology.graph.successors(node))

    def is_back(self, source: str, target: str) -> bool:
        """Whether a node reads another before that has been computed in a step."""
        return self.place[source] >= self.place[target]

    @cached_property
    def place(self) -> dict[str, int]:
        """Position of every node in the order."""
        return {node: at for at, node in enumerate(self.order)}

    def sinks(self) -> list[str]:
        """Return the populations from which no population of another component is reached."""
        found = []
        for node in self.order:
            group = set(self.groups[node])
            leaves = any(after not in group for member in group for after in self.after(member))
            if self.kinds[node] in ("lif", "li") and not leaves:
                found.append(node)
        return found


def wiring_of(topology: Any) -> Wiring:
    """Return the wiring of a finished topology.

    Raises:
        SnnirError: SNN801 if it is not finished or has no population, SNN802 listing every node
            that is not one of jaxsnn's own modules for software.
    """
    order = topology.node_index_mapping
    nodes = list(topology.graph.nodes)
    if not nodes or set(order) != set(nodes):
        hint = "call its done() after the last add() and connect()"
        raise error("SNN801", "the topology is not finished", hint=hint)
    if any(not isinstance(node, str) or not node for node in nodes):
        raise error("SNN801", "the topology has a node whose name is not a text")
    kinds, problems = {}, []
    for node in nodes:
        module = topology.graph.nodes[node]["module"]
        kind = _kind(module)
        kinds[node] = kind or ""
        if kind is None:
            problems.append(_unknown(node, module))
    if problems:
        raise SnnirError(problems)
    return Wiring(topology, tuple(sorted(nodes, key=order.__getitem__)), _groups(topology), kinds)


def _groups(topology: Any) -> dict[str, tuple[str, ...]]:
    import networkx

    components = networkx.strongly_connected_components(topology.graph)
    return {node: tuple(sorted(group)) for group in components for node in group}


def _kind(module: Any) -> str | None:
    generator = getattr(module, "generator", None)
    home = f"{getattr(generator, '__module__', '')}:{getattr(generator, '__qualname__', '')}"
    return _GENERATORS.get(home)


def _unknown(node: str, module: Any) -> Diagnostic:
    home = str(getattr(getattr(module, "generator", None), "__module__", type(module).__module__))
    if home.startswith("jaxsnn.event.modules.hx"):
        return Diagnostic(
            "SNN802", "is a module for BrainScaleS-2 hardware", node,
            hint="use jaxsnn.event.modules; the target bss2 maps the graph onto the chip",
        )  # fmt: skip
    return Diagnostic(
        "SNN802", f"is a module made in '{home}', whose step is not known", node,
        hint="give the step to snnir.from_jax as a function of state and input",
    )  # fmt: skip


def weights_of(wiring: Wiring, params: Any) -> dict[str, Array]:
    """Return the weights of every projection, [source, target] float32.

    Args:
        wiring: The topology.
        params: What jaxsnn's `init` returned, or trained from it.

    Raises:
        SnnirError: SNN801 if there are none; SNN807 listing those that do not fit.
    """
    if not isinstance(params, Mapping):
        hint = "give params=init(jax.random.PRNGKey(0)), or the trained ones"
        raise error("SNN801", "a jaxsnn topology needs its parameters", hint=hint)
    problems: list[Diagnostic] = []
    found: dict[str, Array] = {}
    for node in wiring.order:
        if wiring.kinds[node] == "linear":
            try:
                found[node] = _weight(wiring, node, params)
            except SnnirError as problem:
                problems.extend(problem.diagnostics)
    if problems:
        raise SnnirError(problems)
    return found


def _weight(wiring: Wiring, node: str, params: Mapping[str, Any]) -> Array:
    value = params.get(node)
    if value is None:
        raise error("SNN801", "has no weights in params", node=node)
    try:
        data = np.asarray(value)
    except (TypeError, ValueError):
        raise error("SNN807", "has weights that are no array", node=node) from None
    if data.dtype.name not in ("float32", "float16", "bfloat16"):
        raise error(
            "SNN807", f"has weights of type {data.dtype.name}, must be float32", node=node,
            hint="graphs compute in float32",
        )  # fmt: skip
    sources, targets = wiring.before(node), wiring.after(node)
    if len(sources) != 1:
        message = f"reads {len(sources)} nodes; jaxsnn's Linear takes one"
        raise error("SNN801", message, node=node)
    for target in targets:
        wanted = (size_of(wiring, sources[0]), size_of(wiring, target))
        if data.shape != wanted:
            message = f"has weights {list(data.shape)} between {sources[0]} and {target}"
            hint = f"they must be {list(wanted)}"
            raise error("SNN807", message, node=node, hint=hint)
    if not np.isfinite(data.astype(np.float32)).all():
        raise error("SNN105", "has weights that are NaN or infinite", node=node)
    return np.array(data, np.float32)


def numbers(node: str, name: str, value: Any) -> Array:
    """Return a parameter of a population as float32 numbers.

    Raises:
        SnnirError: SNN105 if it is none.
    """
    try:
        return np.asarray(value, np.float32)
    except (TypeError, ValueError):
        raise error("SNN105", f"{name} is {value!r}, no number", node=node) from None


def size_of(wiring: Wiring, node: str) -> int:
    """Return the size of a population or input.

    Raises:
        SnnirError: SNN801 for a projection, SNN807 for a size that is not a positive number.
    """
    if wiring.kinds[node] == "linear":
        raise error("SNN801", "a Linear cannot be next to another Linear", node=node)
    size = np.asarray(wiring.module(node).size)  # from_nir leaves an array of one number
    if size.size != 1 or size.dtype.kind not in "iu" or size.item() < 1:
        raise error("SNN807", f"has size {size}, must be a positive number", node=node)
    return int(size.item())
