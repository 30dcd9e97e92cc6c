"""The chip's semantics once more, as plainly as possible: one event, one neuron, one number."""

from __future__ import annotations

from typing import Any

LOW, HIGH = -32768, 32767


def sat(value: int) -> int:
    return LOW if value < LOW else HIGH if value > HIGH else value


def decay(value: int, dash: int) -> int:
    change = value >> dash
    if change == 0 and value != 0:
        change = 1 if value > 0 else -1
    return change


class Neuron:
    def __init__(self, threshold: int, bias: int, dash_mem: int, dash_syns: list[int], cap: int):
        self.threshold, self.bias, self.dash_mem = threshold, bias, dash_mem
        self.dash_syns, self.cap = dash_syns, cap
        self.i, self.v = [0] * len(dash_syns), 0

    def receive(self, synapse: int, weight: int) -> None:
        self.i[synapse] = sat(self.i[synapse] + weight)

    def step(self) -> int:
        self.i = [i - decay(i, d) for i, d in zip(self.i, self.dash_syns, strict=True)]
        change = -decay(self.v, self.dash_mem)
        if change == 32768:  # int16
            change = -32768
        change = sat(change + sum(self.i))
        change = sat(change + self.bias)
        self.v = sat(self.v + change)
        spikes = 0
        while spikes < self.cap and self.v >= self.threshold:
            self.v -= self.threshold
            spikes += 1
        return spikes


def run(config: dict[str, Any], events: Any) -> dict[str, Any]:
    """Return traces by name for events [T][channels]."""
    biased = config["has_bias"]

    def block(tail: str, cap: int) -> list[Neuron]:
        keys = ("threshold", "bias", "dash_mem", "dash_syns")
        columns = zip(*(config[key + tail] for key in keys), strict=True)
        return [Neuron(t, b if biased else 0, m, s, cap) for t, b, m, s in columns]

    hidden, readout = block("", 31), block("_out", 1)
    earlier = [0] * len(hidden)
    traces: dict[str, list[Any]] = {
        name: [] for name in ("spikes", "v", "i", "spikes_out", "v_out", "i_out")
    }
    for now in events:
        for key, sources, targets, shift in (
            ("synapses_in", [min(n, 15) for n in now], hidden, config["weight_shift_inp"]),
            ("synapses_rec", earlier, hidden, config["weight_shift_rec"]),
            ("synapses_out", earlier, readout, config["weight_shift_out"]),
        ):
            for connections, count in zip(config[key], sources, strict=True):
                for _ in range(count):
                    for target, synapse, weight in connections:
                        targets[target].receive(synapse, weight << shift)
        earlier = [neuron.step() for neuron in hidden]
        traces["spikes_out"].append([neuron.step() for neuron in readout])
        traces["spikes"].append(earlier)
        for tail, neurons in (("", hidden), ("_out", readout)):
            traces["v" + tail].append([neuron.v for neuron in neurons])
            traces["i" + tail].append([list(neuron.i) for neuron in neurons])
    return traces
