"""Comparing a recovered graph with the run it was recovered from.

Each neuron's program is run on the input the framework's own neuron had: its output must be equal
in every bit. Where the first steps of the run were irregular, the whole graph is run as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from snnir.driver import run
from snnir.errors import error
from snnir.frontends.torch_nets.build import Builder
from snnir.frontends.torch_nets.cell import cell_maker
from snnir.frontends.torch_nets.events import Captured, Ref, outputs_of
from snnir.frontends.torch_nets.fold import Folded
from snnir.ir.graph import Graph, Value
from snnir.ir.infer import infer_signals
from snnir.streams import Kind, Signal

if TYPE_CHECKING:
    from snnir.frontends.torch_nets.load import NetRecorder

#: Largest share of a value by which sums in another order may differ.
_TOLERANCE = 1e-4
_CAUSES = "a hook, a patched method or another version of the framework may be the cause"


def confirm(rec: NetRecorder, captured: Captured, folded: Folded, x: Any, returned: Any) -> None:
    """Raise unless the graph does what the recorded run did.

    Raises:
        SnnirError: SNN808 naming the neuron that differs.
    """
    traces = _traces(rec)
    for path, (given, expected) in traces.items():
        _confirm_neuron(rec, path, given, expected, last_states(rec, path))
    if folded.irregular:
        expected = {path: out for path, (_, out) in traces.items()}
        nodes = {path: Value(node) for path, node in captured.neurons.items()}
        for name, tensor in outputs_of(returned):
            ref = rec.known(tensor)
            if isinstance(ref, Ref) and ref.time is None:
                nodes[f"output {name}"] = captured.graph.outputs[name]
                expected[f"output {name}"] = _time_first(rec, tensor, ref.lead)
        _confirm_graph(Graph(captured.graph.nodes, nodes), x, expected)


def _traces(rec: NetRecorder) -> dict[str, tuple[list[Any], Any]]:
    """Return inputs and output of every neuron as [T, B, *shape]."""
    found: dict[str, list[tuple[list[Any], Any]]] = {}
    for event in rec.events:
        if event.neuron:
            seen = event.seen
            xs = [_time_first(rec, x, seen["lead"]) for x in seen["x"]]
            found.setdefault(event.neuron, []).append(
                (xs, _time_first(rec, seen["out"], seen["lead"]))
            )
    return {
        path: (
            [np.concatenate(xs) for xs in zip(*(p[0] for p in pairs), strict=True)],
            np.concatenate([p[1] for p in pairs]),
        )
        for path, pairs in found.items()
    }


def _time_first(rec: NetRecorder, tensor: Any, lead: str) -> Any:
    data = tensor.detach().cpu().numpy()
    if lead == "B":
        return data[None]
    if lead == "BT":
        return data.swapaxes(0, 1)
    if lead == "M:BT":
        return data.reshape(rec.batch, -1, *data.shape[1:]).swapaxes(0, 1)
    if lead == "M:TB":
        return data.reshape(-1, rec.batch, *data.shape[1:])
    return data


def last_states(rec: NetRecorder, path: str) -> dict[str, Any]:
    """Return the states a neuron's module kept after its last call, [B, *shape]."""
    events = [event for event in rec.events if event.neuron == path]
    return {name: value.cpu().numpy() for name, value in events[-1].seen["states"].items()}


def _confirm_neuron(
    rec: NetRecorder, path: str, given: list[Any], expected: Any, states: dict[str, Any]
) -> None:
    cell = rec.cells[path]
    builder = Builder()
    inputs = {f"input{at}": x for at, x in enumerate(given)}
    sources = [
        builder.input(name, Signal(Kind.ANALOG, tuple(x.shape[2:]))) for name, x in inputs.items()
    ]
    made = cell_maker(cell, [])(builder, "neuron", sources)
    graph = Graph(builder.editor.nodes, {"out": made["out"]})
    infer_signals(graph)
    result = run(graph, inputs, [f"neuron:{name}" for name in states])
    got = result.output
    kept = {name: result.recorded[f"neuron:{name}"][-1] for name in states}
    # A matrix inside the layer sums in an order of its own, and libraries differ in exp.
    sums = bool(cell.drive or cell.feedback) or any(let.op == "exp" for let in cell.program.body)
    same = _near if sums else _equal
    if same(got, expected) and all(same(kept[name], states[name]) for name in states):
        return
    if _equal(got, expected):
        raise error(
            "SNN808", "gives the spikes its class is known for in the recorded steps, but not "
            f"the states ({', '.join(states)})", node=path, hint=_CAUSES,
        )  # fmt: skip
    step, *index = (int(i) for i in np.argwhere(got != expected)[0])
    raise error(
        "SNN808",
        f"does not do what its class is known for: at step {step}, {index} it gave "
        f"{expected[(step, *index)]}, the graph gives {got[(step, *index)]}",
        node=path,
        hint=_CAUSES,
    )


def _confirm_graph(graph: Graph, x: Any, expected: dict[str, Any]) -> None:
    got = run(graph, {"input": x.detach().cpu().numpy()}).outputs
    for path, values in expected.items():
        mine = got[path][: len(values)]
        if not np.allclose(mine, values, rtol=_TOLERANCE, atol=1e-5):
            wrong = ~np.isclose(mine, values, rtol=_TOLERANCE, atol=1e-5)
            raise error(
                "SNN808", "the first steps of the model differ from later ones in a way that the "
                f"graph does not repeat (step {int(np.argwhere(wrong)[0][0])})", node=path,
                hint="start recurrent values at zero",
            )  # fmt: skip


def _equal(a: Any, b: Any) -> bool:
    return bool(np.array_equal(a, b, equal_nan=True))


def _near(a: Any, b: Any) -> bool:
    return a.shape == b.shape and np.allclose(a, b, rtol=_TOLERANCE, atol=1e-5, equal_nan=True)
