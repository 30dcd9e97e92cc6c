"""Reading `config.json` with distrust, and the network it describes; copied into folders."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from snnir.targets.xylo.chips import CHIPS, Chip
from snnir.targets.xylo.emulator import (
    HIGH,
    LOW,
    MOST_EVENTS,
    MOST_OUTPUTS,
    MOST_SPIKES,
    Block,
    Core,
    Weights,
)

FORMAT = 1
#: What a decay may be shifted by, and weights: one of 8 bits then still fits 16.
MOST_DASH, MOST_SHIFT = 15, 8
_LISTS = (
    "inputs", "outputs", "populations", "synapses_in", "synapses_rec", "synapses_out", "aliases",
    "threshold", "threshold_out", "bias", "bias_out", "dash_mem", "dash_mem_out", "dash_syns",
    "dash_syns_out",
)  # fmt: skip


class ConfigError(ValueError):
    """A configuration that no chip could hold, or that is damaged."""


class InputError(ValueError):
    """An input that the chip cannot take."""


@dataclass(frozen=True)
class Span:
    """A stretch of channels or neurons that carries a name.

    Attributes:
        name: Of the input, output or population.
        block: `input`, `hidden` or `readout`.
        first: Where it begins.
        shape: How its elements were arranged in the graph.
        latency: Steps by which the chip's spikes are later than the graph's (earlier if negative).
        read: Of outputs: `spikes` or `membrane`.
        unit: Of membranes: what one is in the graph's numbers, per neuron.
    """

    name: str
    block: str
    first: int
    shape: tuple[int, ...]
    latency: int = 0
    read: str = "spikes"
    unit: tuple[float, ...] = ()

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    def cut(self, values: Any) -> Any:
        """Return its part of [T, B, elements] as [T, B, *shape]."""
        part = values[:, :, self.first : self.first + self.size]
        return part.reshape(*values.shape[:2], *self.shape)


@dataclass(frozen=True)
class Network:
    """A configured chip with the names of the graph.

    Attributes:
        chip: What it is for.
        core: The integers.
        inputs, outputs, populations: Where the graph's streams are.
    """

    chip: Chip
    core: Core
    inputs: tuple[Span, ...]
    outputs: tuple[Span, ...]
    populations: tuple[Span, ...]

    @property
    def records(self) -> dict[str, tuple[Span, str]]:
        """What can be recorded: populations, and their states `v` and `i`."""
        found = {}
        for span in self.populations:
            tail = "" if span.block == "hidden" else "_out"
            found[span.name] = (span, "spikes" + tail)
            found |= {f"{span.name}:{state}": (span, state + tail) for state in ("v", "i")}
        return found

    def events(self, given: dict[str, Any]) -> Any:
        """Return [T, B, channels] from arrays [T, B, *shape] by input name.

        Raises:
            InputError: Unless all are whole numbers from 0 to 15.
        """
        for span in self.inputs:
            check_events(span.name, given[span.name])
        parts = [np.asarray(given[s.name], np.int64) for s in self.inputs]
        return np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], axis=2)

    def run(
        self, given: dict[str, Any], record: Any = (), state: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, float]]:
        """Return outputs, records, and the spikes of every population.

        Args:
            given: [T, B, *shape] by input name.
            record: Names out of `records`.
            state: Where to go on from, of `Core.start`; brought to the end of the run.
        """
        events = self.events(given)
        chosen = {name: self.records[name] for name in record}
        wanted = {trace for _, trace in chosen.values()} | {"spikes", "v_out"}
        made = self.core.run(events, state or self.core.start(events.shape[1]), wanted)
        made |= {name: made[name][..., 0] for name in ("i", "i_out") if name in made}
        outputs = {span.name: output_of(span, made) for span in self.outputs}
        records = {name: span.cut(made[trace]) for name, (span, trace) in chosen.items()}
        sums = {
            span.name: float(span.cut(made[self.records[span.name][1]]).sum(dtype=np.float64))
            for span in self.populations
        }
        return outputs, records, sums


def output_of(span: Span, made: dict[str, Any]) -> Any:
    """Return an output: spikes, or the membrane in the graph's numbers."""
    if span.read == "spikes":
        return span.cut(made["spikes_out"]).astype(np.float32)
    unit = np.asarray(span.unit, np.float64).reshape(span.shape)
    return (span.cut(made["v_out"]) * unit).astype(np.float32)


def check_events(name: str, values: Any) -> None:
    """Raise `InputError` unless values are whole numbers from 0 to 15."""
    wrong = (values < 0) | (values > MOST_EVENTS) | (values != np.rint(values))
    if not wrong.any():
        return
    step, sample, *place = (int(n) for n in np.argwhere(wrong)[0])
    value = values[(step, sample, *place)]
    raise InputError(
        f"input {name!r}: {value:g} at step {step}, sample {sample}, channel {place}; the chip "
        f"takes whole numbers of events from 0 to {MOST_EVENTS} per step and channel. Turn real "
        "numbers into spikes, or spread events over more steps"
    )


# --- Reading -------------------------------------------------------------------------------------


def read_config(text: str) -> Network:
    """Return the network of a `config.json`.

    Raises:
        ConfigError: Naming the field that is wrong.
    """
    try:
        facts = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as problem:
        raise ConfigError(f"is not JSON: {problem}") from None
    if not isinstance(facts, dict):
        raise ConfigError("is not an object")
    if facts.get("format") != FORMAT:
        raise ConfigError(f"has format {facts.get('format')!r}, known is {FORMAT}")
    chip = CHIPS.get(str(facts.get("chip")))
    if chip is None:
        raise ConfigError(f"is for chip {facts.get('chip')!r}, known are {', '.join(CHIPS)}")
    for key in _LISTS:
        if not isinstance(facts.get(key), list):
            raise ConfigError(f"{key} is missing or no list")
    return _network(facts, chip)


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _network(facts: dict[str, Any], chip: Chip) -> Network:
    channels, neurons = len(facts["synapses_in"]), len(facts["threshold"])
    readouts = len(facts["threshold_out"])
    for what, found, most in (
        ("input channels", channels, chip.inputs),
        ("hidden neurons", neurons, chip.hidden),
        ("readout neurons", readouts, chip.outputs),
    ):
        if found > most:
            raise ConfigError(f"has {found} {what}, {chip.name} has {most}")
    if any(alias != [] for alias in facts["aliases"]) or len(facts["aliases"]) != neurons:
        raise ConfigError(f"aliases must be {neurons} empty lists: snnir uses none")
    hidden = _block(facts, "", neurons, chip.synapses, MOST_SPIKES)
    readout = _block(facts, "_out", readouts, 1, MOST_OUTPUTS)
    synapses = hidden.dash_syn.shape[1]
    core = Core(
        _weights(facts, "synapses_in", "weight_shift_inp", (channels, neurons, synapses)),
        _weights(facts, "synapses_rec", "weight_shift_rec", (neurons, neurons, synapses)),
        _weights(facts, "synapses_out", "weight_shift_out", (neurons, readouts, 1)),
        hidden,
        readout,
    )
    room = {"input": channels, "hidden": neurons, "readout": readouts}
    inputs = _spans(facts, "inputs", room, ("input",))
    if sum(span.size for span in inputs) != channels:
        raise ConfigError(f"inputs do not fill the {channels} channels of synapses_in")
    outputs = _spans(facts, "outputs", room, ("readout",))
    populations = _spans(facts, "populations", room, ("hidden", "readout"))
    return Network(chip, core, inputs, outputs, populations)


def _block(facts: dict[str, Any], tail: str, neurons: int, synapses: int, most: int) -> Block:
    dash_syns = facts[f"dash_syns{tail}"]
    found = {len(row) if isinstance(row, list) else -1 for row in dash_syns} or {1}
    if len(found) > 1 or not 1 <= min(found) <= synapses or len(dash_syns) != neurons:
        raise ConfigError(f"dash_syns{tail} must be {neurons} lists of 1 to {synapses} numbers")
    has_bias = facts.get("has_bias")
    if not isinstance(has_bias, bool):
        raise ConfigError("has_bias must be true or false")
    bias = _numbers(facts, f"bias{tail}", neurons, LOW, HIGH)
    flat = [number for row in dash_syns for number in row]
    dash_syn = _whole(f"dash_syns{tail}", flat, 0, MOST_DASH).reshape(neurons, -1)
    return Block(
        _numbers(facts, f"threshold{tail}", neurons, 1, HIGH),
        bias if has_bias else np.zeros_like(bias),
        _numbers(facts, f"dash_mem{tail}", neurons, 0, MOST_DASH),
        dash_syn if neurons else dash_syn.reshape(0, 1),
        most,
    )


def _numbers(facts: dict[str, Any], key: str, count: int, low: int, high: int) -> Any:
    values = facts[key]
    if len(values) != count:
        raise ConfigError(f"{key} has {len(values)} entries, must have {count}")
    return _whole(key, values, low, high)


def _whole(key: str, values: list[Any], low: int, high: int) -> Any:
    for value in values:
        if type(value) is not int or not low <= value <= high:
            raise ConfigError(f"{key} has {value!r}, must be whole numbers from {low} to {high}")
    return np.array(values, np.int64)


def _weights(
    facts: dict[str, Any], key: str, shift_key: str, shape: tuple[int, int, int]
) -> Weights:
    rows, shift = facts[key], facts.get(shift_key)
    if len(rows) != shape[0]:
        raise ConfigError(f"{key} has {len(rows)} sources, must have {shape[0]}")
    (shift,) = _whole(shift_key, [shift], 0, MOST_SHIFT)
    whole = np.zeros(shape, np.int64)
    for source, row in enumerate(rows):
        where = f"{key}[{source}]"
        if not isinstance(row, list) or any(not _is_triple(item) for item in row):
            raise ConfigError(f"{where} must be a list of [target, synapse, weight]")
        if not row:
            continue
        target, synapse, weight = _whole(where, [n for t in row for n in t], -128, HIGH).reshape(
            -1, 3
        ).T  # fmt: skip
        outside = (target < 0) | (target >= shape[1]) | (synapse < 0) | (synapse >= shape[2])
        if outside.any() or (weight > 127).any():
            raise ConfigError(f"{where} has a target, synapse or weight that cannot be")
        if len(set(zip(target.tolist(), synapse.tolist(), strict=True))) != len(row):
            raise ConfigError(f"{where} lists a connection twice")
        whole[source, target, synapse] = weight
    return Weights(whole.reshape(shape[0], -1) << shift)


def _is_triple(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 3


def _spans(
    facts: dict[str, Any], key: str, room: dict[str, int], blocks: tuple[str, ...]
) -> tuple[Span, ...]:
    found = []
    for item in facts[key]:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise ConfigError(f"{key} must be a list of objects with a name")
        where = f"{key} {item['name'][:60]!r}"
        block = item.get("block")
        shape = item.get("shape")
        if block not in blocks or not isinstance(shape, list):
            raise ConfigError(f"{where} must have a shape, and block {' or '.join(blocks)}")
        _whole(f"{where}: shape", shape, 1, HIGH)
        places = [item.get("first"), item.get("latency", 0)]
        first, latency = _whole(f"{where}: first, latency", places, LOW, HIGH).tolist()
        read, unit = item.get("read", "spikes"), item.get("unit", [])
        span = Span(item["name"], block, first, tuple(shape), latency, read, _reals(where, unit))
        if first < 0 or first + span.size > room[block]:
            raise ConfigError(f"{where} reaches beyond the {room[block]} of its block")
        if read not in ("spikes", "membrane") or len(unit) != (
            span.size if read != "spikes" else 0
        ):
            raise ConfigError(f"{where} is read as {read!r} with {len(unit)} units")
        found.append(span)
    if len({span.name for span in found}) != len(found):
        raise ConfigError(f"{key} has a name twice")
    return tuple(found)


def _reals(where: str, values: Any) -> tuple[float, ...]:
    if not isinstance(values, list) or any(type(v) not in (int, float) for v in values):
        raise ConfigError(f"{where}: unit must be a list of numbers")
    return tuple(float(value) for value in values)
