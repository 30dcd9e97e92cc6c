"""The integer core of Xylo in NumPy, bit for bit the vendor's `xylosim` 0.1.3; goes into folders.

One step, for the hidden block and then for the readout (which sees the hidden spikes of the step
before):

1. Every event adds its weight, shifted left, to the synaptic current of its target; input events
   first, then recurrent spikes, by source; each addition saturates at 16 bits.
2. The current decays: `i -= i >> dash`, by at least 1 towards zero.
3. The membrane changes by its own decay and the sum of its currents, then by the bias; each of the
   two additions, and that to the membrane, saturates.
4. A neuron at or above its threshold fires as often as the threshold goes into the membrane, at
   most 31 times (hidden) or once (readout), and as many thresholds are subtracted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

LOW, HIGH = -(2**15), 2**15 - 1
#: Most events of one channel, spikes of a hidden neuron and of a readout neuron in a step.
MOST_EVENTS, MOST_SPIKES, MOST_OUTPUTS = 15, 31, 1
#: What `Core.run` can record, with the block it belongs to.
TRACES = {
    "spikes": "hidden", "v": "hidden", "i": "hidden",
    "spikes_out": "readout", "v_out": "readout", "i_out": "readout",
}  # fmt: skip


@dataclass(frozen=True)
class Weights:
    """Whole weights [sources, columns], already shifted, and what fast sums of them need."""

    whole: Any
    real: Any = field(init=False)
    largest: Any = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "real", self.whole.astype(np.float32))
        object.__setattr__(self, "largest", np.abs(self.whole).max(axis=1, initial=0))

    def add(self, current: Any, events: Any) -> Any:
        """Add the weights of events [B, sources] to currents [B, columns], one after another."""
        active = np.flatnonzero(events.any(axis=0))
        if not active.size:
            return current
        counts = events[:, active]
        reach = int((counts @ self.largest[active]).max())
        # Whole numbers are exact in float32 below 2^24; sums that may be larger saturate anyway.
        rows, factors = self.real[active], counts.astype(np.float32)
        total = current + (factors @ rows).astype(np.int64)
        if reach + np.abs(current).max(initial=0) <= HIGH:
            return total
        at_most = np.abs(current) + factors @ np.abs(rows)
        samples, columns = np.nonzero(at_most > HIGH)
        if samples.size:  # only there does the order matter
            total[samples, columns] = self._in_order(
                current[samples, columns], counts[samples], active, columns
            )
        return total

    def _in_order(self, current: Any, counts: Any, active: Any, columns: Any) -> Any:
        for place, source in enumerate(active):
            step = counts[:, place] * self.whole[source, columns]
            # All events of a source have one sign, so that saturating once is saturating each.
            current = np.clip(current + step, LOW, HIGH)
        return current


@dataclass(frozen=True)
class Block:
    """Neurons of one block.

    Attributes:
        threshold, bias, dash_mem: [neurons], whole.
        dash_syn: [neurons, synapses], whole.
        most: Spikes a neuron can fire in a step.
    """

    threshold: Any
    bias: Any
    dash_mem: Any
    dash_syn: Any
    most: int

    def step(self, v: Any, i: Any) -> tuple[Any, Any, Any]:
        """Return membrane, currents and spikes after a step whose events are in the currents.

        Args:
            v: [B, neurons].
            i: [B, neurons, synapses].
        """
        i = i - decayed(i, self.dash_syn)
        change = -decayed(v, self.dash_mem)
        change[change > HIGH] = LOW  # the negative of the lowest number wraps around
        change = np.clip(change + i.sum(axis=2), LOW, HIGH)
        v = np.clip(v + np.clip(change + self.bias, LOW, HIGH), LOW, HIGH)
        spikes = np.where(v >= self.threshold, np.minimum(v // self.threshold, self.most), 0)
        return v - spikes * self.threshold, i, spikes


def decayed(value: Any, dash: Any) -> Any:
    """Return by how much a state decays: a part of it, at least 1 towards zero."""
    part = value >> dash
    return np.where(part == 0, np.sign(value), part)


@dataclass(frozen=True)
class Core:
    """A configured chip.

    Attributes:
        inputs, recurrent: Weights to [neurons * synapses] columns of the hidden block.
        outputs: Weights to the readout.
        hidden, readout: The neurons.
    """

    inputs: Weights
    recurrent: Weights
    outputs: Weights
    hidden: Block
    readout: Block

    def start(self, batch: int) -> dict[str, Any]:
        """Return the state at rest."""
        neurons, synapses = self.hidden.dash_syn.shape
        out = len(self.readout.threshold)
        shapes = {
            "v": (neurons,), "i": (neurons, synapses), "spikes": (neurons,),
            "v_out": (out,), "i_out": (out, 1),
        }  # fmt: skip
        return {name: np.zeros((batch, *shape), np.int64) for name, shape in shapes.items()}

    def run(self, events: Any, state: dict[str, Any], record: Any = ()) -> dict[str, Any]:
        """Run and return the readout's spikes and what is recorded, by the names of `TRACES`.

        Args:
            events: [T, B, channels], whole numbers from 0 to 15.
            state: From `start`; it is brought to the end of the run.
            record: Names of `TRACES`.

        Returns:
            [T, B, neurons] by name; `i` is [T, B, neurons, synapses].
        """
        kept: dict[str, list[Any]] = {name: [] for name in {"spikes_out", *record}}
        for now in events:
            fresh = self._step(now, state)
            for name, values in kept.items():
                values.append(fresh[name].astype(np.int16))
            state.update({name: fresh[name] for name in state})
        return {name: np.stack(values) for name, values in kept.items()}

    def _step(self, now: Any, state: dict[str, Any]) -> dict[str, Any]:
        batch, earlier = len(now), state["spikes"]
        i = self.inputs.add(state["i"].reshape(batch, -1), now)
        i = self.recurrent.add(i, earlier).reshape(state["i"].shape)
        v, i, spikes = self.hidden.step(state["v"], i)
        i_out = self.outputs.add(state["i_out"][:, :, 0], earlier)[:, :, None]
        v_out, i_out, out = self.readout.step(state["v_out"], i_out)
        return {
            "v": v, "i": i, "spikes": spikes, "v_out": v_out, "i_out": i_out, "spikes_out": out,
        }  # fmt: skip
