"""A NIR file as jaxsnn's own reader takes it (`jaxsnn/event/utils/from_nir.py` of 0.3.0).

It reads Input, Linear and CubaLIF only, times in milliseconds, the first element of each parameter,
and weights as they are stored, [source, target], where NIR has [target, source]. It knows no delay.
Such a file is for this reader; `snnir.save` writes one for all others.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from snnir.errors import Diagnostic
from snnir.ir.graph import Graph
from snnir.ir.neuron import Neuron
from snnir.targets.jaxsnn_nets.event import EventPlanner

f32 = np.float32


def nir_problems(graph: Graph, paradigm: str) -> list[Diagnostic]:
    """Return what keeps a graph that fits jaxsnn from a file for its reader."""
    if paradigm != "event":
        message = "jaxsnn's reader of NIR makes event topologies"
        return [Diagnostic("SNN501", message, hint="leave nir out, or use a continuous graph")]
    planner = EventPlanner(graph, 1.0, 1)
    found = [
        Diagnostic("SNN501", f"has a delay of {made.delay:g} s; jaxsnn's reader knows none", name)
        for name, made in planner.projections.items()
        if made.delay
    ]
    if planner.plan.order is not None:
        found.append(Diagnostic(
            "SNN501", "populations read several others whose order jaxsnn leaves to chance",
            hint="use the Python file",
        ))  # fmt: skip
    return found


def nir_bytes(graph: Graph, file: BinaryIO) -> None:
    """Write the file of a graph that `nir_problems` finds nothing in."""
    import nir

    with tempfile.TemporaryDirectory(prefix="snnir-nir-") as folder:
        path = Path(folder, "jaxsnn.nir")
        nir.write(str(path), reader_graph(graph))
        file.write(path.read_bytes())


def reader_graph(graph: Graph) -> Any:
    """Return the `nir.NIRGraph` of a graph that `nir_problems` finds nothing in."""
    import nir

    planner = EventPlanner(graph, 1.0, 1)
    nodes: dict[str, Any] = {}
    edges = []
    for name, reads in planner.plan.edges.items():
        op = graph.nodes[name].op
        size = graph.signal(name).shape[0]
        if name in planner.plan.weights:
            nodes[name] = nir.Linear(weight=planner.plan.weights[name])
        elif isinstance(op, Neuron):
            nodes[name] = _cubalif(op, size)
        else:
            nodes[name] = nir.Input(input_type={"input": np.array([size])})
        edges += [(source, name) for source in reads]
    for name, node in planner.plan.outputs.items():
        size = graph.signal(node).shape[0]
        taken = name if name not in nodes else f"{name}.output"
        nodes[taken] = nir.Output(output_type={"output": np.array([size])})
        edges.append((node, taken))
    return nir.NIRGraph(nodes, edges, type_check=False)


def _cubalif(op: Neuron, size: int) -> Any:
    import nir

    values = {name: float(t.numpy().reshape(-1)[0]) for name, t in op.params.items()}

    def full(value: float) -> Any:
        return np.full(size, value, np.float64)

    return nir.CubaLIF(
        tau_syn=full(_milliseconds(values["tau_syn"])),
        tau_mem=full(_milliseconds(values["tau_mem"])),
        r=full(1.0),
        v_leak=full(0.0),
        v_reset=full(values["v_reset"]),
        v_threshold=full(values["v_threshold"]),
        w_in=full(1.0),
    )


def _milliseconds(seconds: float) -> float:
    """Return milliseconds that the reader takes for the same float32 seconds."""
    wanted = f32(seconds)
    near = float(str(wanted)) * 1e3
    tries = [round(near, 6), near, np.nextafter(near, 0), np.nextafter(near, np.inf)]
    return next((float(t) for t in tries if f32(float(t) * 1e-3) == wanted), near)
