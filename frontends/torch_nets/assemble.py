"""From a folded recording to a verified graph, and the check of its neurons against the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from snnir.errors import error
from snnir.frontends.torch_nets.build import Builder
from snnir.frontends.torch_nets.confirm import confirm
from snnir.frontends.torch_nets.events import INPUT, Captured, Constant, Operand, Ref, outputs_of
from snnir.frontends.torch_nets.fold import Folded
from snnir.ir.graph import Graph, Provenance, Value
from snnir.ir.structure import Current
from snnir.ir.timing import Delay
from snnir.streams import Kind, Signal

if TYPE_CHECKING:
    from snnir.frontends.torch_nets.load import NetRecorder, Request

_INPUT = "input"


def assemble(
    rec: NetRecorder, folded: Folded, returned: Sequence[Any], request: Request, layout: str,
    x: Any, dt: float | None, name: str | None,
) -> Captured:  # fmt: skip
    """Build and verify the graph, and compare it with the recorded run."""
    made = _Assembly(rec, folded)
    made.find_exposed(returned)
    shape = tuple(int(n) for n in x.shape[2:])
    made.streams[(INPUT, "out")] = made.builder.input(_INPUT, Signal(Kind.ANALOG, shape))
    made.add_events()
    outputs = made.outputs(returned, layout)
    graph = Graph(
        made.builder.editor.nodes, outputs, dt if dt is not None else made.dt(),
        name or type(request.net).__name__,
        provenance=Provenance(type(request.net).__name__, "", tuple(made.notes)),
    ).verify()  # fmt: skip
    captured = Captured(graph, layout, made.neurons)
    confirm(rec, captured, folded, x, returned[-1])
    return captured


class _Assembly:
    """The nodes of one step."""

    def __init__(self, rec: NetRecorder, folded: Folded) -> None:
        self.rec, self.folded = rec, folded
        self.builder = Builder()
        self.streams: dict[tuple[int, str], Value] = {}
        self.delays: dict[tuple[Value, int], Value] = {}
        self.pending: dict[tuple[int, str], str] = {}
        self.neurons: dict[str, str] = {}
        self.notes: list[str] = []

    def dt(self) -> float | None:
        """Return the step length, if the framework states one."""
        found = {cell.dt for cell in self.rec.cells.values() if cell.dt is not None}
        if len(found) > 1:
            raise error("SNN303", f"its neurons have different dt: {sorted(found)}")
        return found.pop() if found else None

    def find_exposed(self, returned: Sequence[Any]) -> None:
        """Note which states of neurons other nodes or the outputs read."""
        used: list[Operand | Any] = [o for e in self.folded.events for o in e.operands]
        used += [self.rec.known(t) for out in returned for _, t in outputs_of(out)]
        for ref in used:
            if isinstance(ref, Ref) and ref.source != INPUT and ref.result != "out":
                path = self.folded.events[ref.source].neuron
                names = self.rec.exposed.setdefault(path, [])
                if ref.result not in names:
                    names.append(ref.result)

    def add_events(self) -> None:
        """Add the nodes of what happens once, and of one step."""
        folded = self.folded
        last = set(folded.after)
        chosen = sorted({*folded.once, *folded.body, *folded.after})
        for number in chosen:
            event = folded.events[number]
            time: int | None = folded.steps - 1 if number in last else folded.steps - 2
            if event.time is None:
                time = None
            values = [self.operand(o, time) for o in event.operands]
            results = event.make(self.builder, event.path, values)
            self.streams |= {(number, name): value for name, value in results.items()}
            if event.neuron:
                self.neurons[event.neuron] = results["out"].node
        self._finish_pending()

    def _key(self, ref: Ref) -> tuple[int, str]:
        """Return the event of the body that stands for an event of any step."""
        source = self.folded.alias.get(ref.source, ref.source)
        if source != INPUT and source in self.folded.place:
            source = self.folded.body[self.folded.place[source]]
        return source, ref.result

    def operand(self, operand: Operand, time: int | None) -> Value | Constant:
        """Return the value an event of the body reads."""
        if isinstance(operand, Constant):
            return operand
        key = self._key(operand)
        lag = self._lag(operand, time)
        if key not in self.streams and not lag:
            raise error(
                "SNN805", f"reads a value of another step ({self.folded.events[key[0]].where})"
            )
        if not lag:
            return self.streams[key]
        return self._delayed(key, lag)

    @staticmethod
    def _lag(operand: Ref, time: int | None) -> int:
        """Return by how many steps a value is older than its reader."""
        return 0 if time is None or operand.time is None else time - operand.time

    def _delayed(self, key: tuple[int, str], lag: int) -> Value:
        """Return a delay on a value that may be defined later."""
        name = _INPUT if key[0] == INPUT else self.folded.events[key[0]].path
        if key in self.streams:
            source = self.streams[key]
            if (source, lag) not in self.delays:
                self.delays[source, lag] = self.builder.add(f"{name}.delay", Delay(lag), [source])
            return self.delays[source, lag]
        # The source comes later in the step: a name for it now, its operand at the end.
        stand_in = Value(f"\0{key[0]}\0{key[1]}")
        event = self.folded.events[key[0]]
        if event.neuron and key[1] == "out":
            cell = self.rec.cells[event.neuron]
            kind = Kind.ANALOG if cell.graded is not None else cell.program.outputs[0][1]
            self.builder.kinds[stand_in] = kind
        if (stand_in, lag) not in self.delays:
            self.delays[stand_in, lag] = self.builder.add(f"{name}.delay", Delay(lag), [stand_in])
        self.pending[key] = stand_in.node
        return self.delays[stand_in, lag]

    def _finish_pending(self) -> None:
        for key, name in self.pending.items():
            self.builder.editor.rewire(Value(name), self.streams[key])
            if self.builder.kind(self.streams[key]) is not self.builder.kind(Value(name)):
                self._as_current(Value(name))

    def _as_current(self, stand_in: Value) -> None:
        """Make a current of the delays of a value that turned out to be spikes."""
        editor = self.builder.editor
        for (source, _), delay in self.delays.items():
            if source == stand_in:
                name = editor.fresh(f"{delay.node}.current")
                editor.rewire(delay, Value(name))
                editor.add(name, Current(), [delay])

    # --- Outputs --------------------------------------------------------------------------------

    def outputs(self, returned: Sequence[Any], layout: str) -> dict[str, Value]:
        """Return the graph's outputs; what a model does with time at the end becomes a note."""
        found: dict[str, Value] = {}
        for name, tensor in outputs_of(returned[-1]):
            ref = self._output(name, tensor, layout)
            if ref is not None:
                found[name] = self.streams[self._key(ref)]
        if not found:
            raise error("SNN803", "the model's result does not depend on its input")
        return found

    def _output(self, name: str, tensor: Any, layout: str) -> Ref | None:
        readout = self.rec.readouts.get(id(tensor))
        if readout is not None:
            self.notes.append(
                f"{name}: the model returns the {readout[2]}; the graph gives every step"
            )
            return readout[1]
        ref = self.rec.known(tensor)
        if ref is None:
            return None
        if not isinstance(ref, Ref):
            raise error(
                "SNN803", f"output '{name}' comes from {ref.reason} ({ref.where}), which has no op",
                hint="return the spikes of every step, and decode them outside the model",
            )  # fmt: skip
        if layout != "step" and ref.time is not None:
            self.notes.append(
                f"{name}: the model returns its last step; the graph gives every step"
            )
        return ref
