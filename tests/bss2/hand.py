"""Small dense networks placed by hand, and what they do, tick by tick, written out plainly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

TICK = 0.008


@dataclass
class Layer:
    """Neurons that are all alike, except for what is given as a list."""

    size: int
    spiking: bool = True
    leak: Any = 80.0
    reset: Any = 70.0
    threshold: Any = 120.0
    tau_mem: Any = 6.0
    tau_exc: Any = 6.0
    tau_inh: Any = 6.0
    capacitance: Any = 63
    count: Any = 0
    holdoff: Any = 0
    slow: Any = False
    refractory_time: Any = 0.0
    offset: float = 0.0
    factor: float = 1.0

    def of(self, name: str) -> list[Any]:
        value = getattr(self, name)
        return value if isinstance(value, list) else [value] * self.size


@dataclass
class Net:
    """Inputs and layers by name, and weights [target, source] by (source, target)."""

    inputs: dict[str, int]
    layers: dict[str, Layer]
    weights: dict[tuple[str, str], Any]
    step_ticks: float = 125.0
    latency: int = 10
    gain: float = 0.2
    clocks: tuple[int, int] = (2, 5)
    constants: dict[str, tuple[float, float, bool]] = field(default_factory=dict)
    hemispheres: dict[str, int] = field(default_factory=dict)


def folder(net: Net) -> dict[str, Any]:
    """Return the content of `model.bss2.json`.

    A source has a driver of its own in each hemisphere where it has targets, which takes every
    event of its bus; labels tell them apart. Layers alternate between hemispheres.
    """
    sizes = {**net.inputs, **dict.fromkeys(net.constants, 1)}
    side = {name: k % 2 for k, name in enumerate(net.layers)} | net.hemispheres
    labels, used = [0] * 4, [0, 0]
    drivers: dict[tuple[int, int], dict[tuple[str, int], int]] = {}
    neurons: list[Any] = []
    events: list[Any] = []
    background: list[Any] = []
    place, source_at = {}, {}
    for name, layer in net.layers.items():
        for j in range(layer.size):
            k, used[side[name]] = used[side[name]], used[side[name]] + 1
            column = k % 8 * 32 + k // 8
            bus = column // 32 % 4
            place[name, j] = side[name], column
            source_at[name, j] = bus, labels[bus]
            neurons.append(
                _neuron(layer, name, j, side[name] * 256 + column, labels[bus] | j % 4 << 6)
            )
            labels[bus] += layer.spiking
    for name, size in sizes.items():
        for j in range(size):
            if name in net.constants and net.constants[name][2]:
                label = labels[0] | 3 << 6
                source_at[name, j], labels[0] = (0, labels[0]), labels[0] + 1
                start, period, _ = net.constants[name]
                background += [
                    {"bus": bus, "label": label, "period_ticks": int(period),
                     "start_ticks": int(start), "population": name, "index": 0}
                    for bus in (0, 4) if bus // 4 in {side[t] for s, t in net.weights if s == name}
                ]  # fmt: skip
                continue
            bus = min(range(4), key=lambda b: labels[b])
            source_at[name, j] = bus, labels[bus]
            label = labels[bus] | j % 32 << 6 | bus << 11 | bus << 14
            events.append({"population": name, "index": j, "labels": [label]})
            labels[bus] += 1
    synapses: dict[str, list[int]] = {
        k: [] for k in ("hemisphere", "row", "column", "weight", "label")
    }
    for (source, target), weights in net.weights.items():
        for j, i in np.argwhere(np.asarray(weights)).tolist():
            hemisphere, column = place[target, j]
            bus, label = source_at[source, i]
            on_bus = drivers.setdefault((hemisphere, bus), {})
            driver = bus + 4 * on_bus.setdefault((source, i), len(on_bus))
            w = int(weights[j][i])
            values = (hemisphere, 2 * driver + (w < 0), column, abs(w), label)
            for key, value in zip(synapses, values, strict=True):
                synapses[key].append(value)
    assert max(map(len, drivers.values()), default=0) <= 32
    assert max(labels) <= 64
    own = [(h, bus + 4 * k) for (h, bus), found in drivers.items() for k in found.values()]
    execution = {
        "id": 0, "clocks": dict(zip(("fast", "slow"), net.clocks, strict=True)),
        "neurons": neurons, "events": events, "background": background,
        "rows": [[h, 2 * d + k, mode] for h, d in own
                 for k, mode in enumerate(("excitatory", "inhibitory"))],
        "drivers": [[h, d, 0] for h, d in own],
        "synapses": synapses,
        "crossbar": [[o, o % 4 + k, 0, 0] for o in range(8) for k in (0, 4, 8)]
        + [[8 + b, b + k, 3 << 11, b << 11] for b in range(4) for k in (0, 4)]
        + [[12 + g["bus"], g["bus"], 0, 0] for g in background],
        "projections": [_projection(*ends, w) for ends, w in net.weights.items()],
    }  # fmt: skip
    return _file(net, execution)


def _neuron(layer: Layer, name: str, j: int, circuit: int, address: int) -> dict[str, Any]:
    value = {key: layer.of(key)[j] for key in vars(layer) if key not in ("size", "spiking")}
    return {
        "population": name, "index": j, "circuits": [circuit], "address": address,
        "leak": value["leak"], "reset": value["reset"],
        "threshold": value["threshold"] if layer.spiking else None,
        "tau_mem": value["tau_mem"], "tau_syn": [value["tau_exc"], value["tau_inh"]],
        "membrane_capacitance": value["capacitance"], "refractory_time": value["refractory_time"],
        "refractory_clock": "slow" if value["slow"] else "fast",
        "refractory_count": value["count"], "holdoff_count": value["holdoff"],
    }  # fmt: skip


def _projection(source: str, target: str, weights: Any) -> dict[str, Any]:
    found = np.argwhere(np.asarray(weights)).tolist()
    return {
        "source": source, "target": target, "pre": [i for _, i in found],
        "post": [j for j, _ in found], "weight": [int(weights[j][i]) for j, i in found],
    }  # fmt: skip


def _file(net: Net, execution: dict[str, Any]) -> dict[str, Any]:
    populations: list[dict[str, Any]] = [
        {"name": name, "size": size, "shape": [size], "kind": "input"}
        for name, size in net.inputs.items()
    ]
    populations += [
        {"name": name, "size": 1, "shape": [1], "kind": "constant", "start_ticks": start,
         "period_ticks": period} for name, (start, period, _) in net.constants.items()
    ]  # fmt: skip
    populations += [
        {"name": name, "size": layer.size, "shape": [layer.size], "kind": "neurons",
         "spiking": layer.spiking, "offset": [layer.offset] * layer.size,
         "factor": [layer.factor] * layer.size} for name, layer in net.layers.items()
    ]  # fmt: skip
    last, final = list(net.layers.items())[-1]
    return {
        "schema": "snnir.bss2/1",
        "meta": {
            "chip": "hicann-x-v3", "model": "hand", "source_sha256": None, "snnir": "0",
            "speedup": 1000.0, "step_ticks": net.step_ticks, "latency_ticks": net.latency,
            "gain": net.gain, "gain_nominal": True,
        },
        "global": {"i_synin_gm": [500, 500], "synapse_dac_bias": 600},
        "populations": populations,
        "inputs": [{"name": n, "population": n, "shape": [s]} for n, s in net.inputs.items()],
        "outputs": [{"name": "out", "population": last, "shape": [final.size],
                     "kind": "spikes" if final.spiking else "membrane"}],
        "executions": [execution], "report": {},
    }  # fmt: skip


def plainly(  # noqa: PLR0915
    net: Net, events: dict[str, Any], ticks: int
) -> tuple[list[tuple[int, str, int]], dict[str, Any]]:
    """Return spikes (tick, layer, index) and membranes [ticks + 1, n] of one sample.

    Args:
        net: Its weights, not where they are.
        events: [n, 2] (tick, index) by input.
        ticks: How many.
    """
    names = list(net.layers)
    first = np.cumsum([0, *(layer.size for layer in net.layers.values())])
    begin = dict(zip(names, first, strict=False))

    def all_of(name: str) -> Any:
        return np.concatenate([np.array(layer.of(name), float) for layer in net.layers.values()])

    leak, reset, tau_mem = all_of("leak"), all_of("reset"), all_of("tau_mem")
    spiking = np.concatenate([[layer.spiking] * layer.size for layer in net.layers.values()])
    threshold = np.where(spiking, all_of("threshold"), np.inf)
    gain = net.gain * 63 / all_of("capacitance") * TICK
    scale = np.where(all_of("slow") > 0, 2 ** net.clocks[1], 2 ** net.clocks[0])
    rest = all_of("count") * scale
    hold = (all_of("count") - all_of("holdoff")) * scale
    decay, rises = [], []
    for tau in (all_of("tau_exc"), all_of("tau_inh")):
        decay.append(np.exp(-TICK / tau))
        gap = TICK / tau_mem - TICK / tau
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(gap == 0, 1.0, np.expm1(gap) / gap)
        rises.append(np.exp(-TICK / tau_mem) * mean * gain)
    total = first[-1]
    v, s = leak.copy(), np.zeros((2, total))
    free, allowed = np.full(total, -1.0), np.zeros(total)
    coming = np.zeros((ticks + net.latency + 1, 2, total))
    for (source, target), w in net.weights.items():
        if source in events or source in net.constants:
            where = slice(begin[target], begin[target] + net.layers[target].size)
            for tick, index in np.asarray(events.get(source, np.zeros((0, 2)))).tolist():
                column = np.asarray(w)[:, int(index)]
                coming[int(tick), 0, where] += np.maximum(column, 0)
                coming[int(tick), 1, where] += np.maximum(-column, 0)
    spikes, trace = [], [v.copy()]
    for n in range(ticks + 1):
        if n:
            moved = leak + (v - leak) * np.exp(-TICK / tau_mem) + s[0] * rises[0] - s[1] * rises[1]
            v = np.where(n <= free, reset, moved)
            s = s * np.stack(decay)
            trace.append(v.copy())
        if n == ticks:
            break
        fired = (v > threshold) & (n >= allowed)
        v = np.where(fired, reset, v)
        free, allowed = np.where(fired, n + hold, free), np.where(fired, n + rest, allowed)
        for k in np.flatnonzero(fired).tolist():
            owner = int(np.searchsorted(first, k, "right")) - 1
            spikes.append((n, names[owner], k - int(first[owner])))
            for (source, target), w in net.weights.items():
                if source == names[owner]:
                    where = slice(begin[target], begin[target] + net.layers[target].size)
                    column = np.asarray(w)[:, k - first[owner]]
                    coming[n + net.latency, 0, where] += np.maximum(column, 0)
                    coming[n + net.latency, 1, where] += np.maximum(-column, 0)
        s = s + coming[n]
    whole = np.stack(trace)
    parts = {name: whole[:, begin[name] : begin[name] + net.layers[name].size] for name in names}
    return spikes, parts
