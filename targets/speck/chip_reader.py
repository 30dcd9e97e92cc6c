"""Cores as the emulator runs them, from either form of a configuration; copied into folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnir.targets.speck.chips import (
    CHANNELS,
    CORES,
    KERNEL,
    OUTPUT_SIZE,
    PADDING,
    POOLINGS,
    READOUT,
    SENSOR,
    STRIDES,
    THRESHOLD_HIGH,
    THRESHOLD_LOW,
)
from snnir.targets.speck.layout import (
    BIAS_MEMORY,
    BLOCKS,
    CELL_ADDRESS,
    CELLS,
    CORE_BANKS,
    CORE_FIELDS,
    KERNEL_MEMORY,
    LAST_CELL,
    NEURON_MEMORY,
    REGISTER,
    RUN_END,
    SENSOR_BLOCK,
    SENSOR_FIELDS,
    neuron_strides,
    unpacked,
    weight_strides,
)


class BadFolder(ValueError):
    """What is to be emulated is no configuration of a chip."""


@dataclass
class Core:
    """One core.

    Attributes:
        kernel, stride, padding: Of the convolution; pairs are (vertical, horizontal).
        weights: [in, y, x, out], 8 bits.
        biases: [out], 16 bits.
        initial: [y, x, out], 16 bits.
        high, low: Threshold and lower bound.
        to_zero, leak: See `returnToZero` and `leakEnable` of the vendor.
        targets: (core, pooling, shift of the channel), two at most.
    """

    kernel: int
    stride: tuple[int, int]
    padding: tuple[int, int]
    weights: Any
    biases: Any
    initial: Any
    high: int
    low: int
    to_zero: bool
    leak: bool
    targets: list[tuple[int, int, int]]

    @property
    def shape(self) -> tuple[int, int, int]:
        """[channels, height, width] of its neurons."""
        height, width, channels = self.initial.shape
        return channels, height, width


@dataclass
class Sensor:
    """The block between pixels and cores; see the vendor's `dvs_layer`. Pairs are (y, x)."""

    targets: list[tuple[int, int, int]]
    pooling: tuple[int, int] = (1, 1)
    origin: tuple[int, int] = (0, 0)
    size: tuple[int, int] = (SENSOR, SENSOR)
    mirror: tuple[bool, bool] = (False, False)
    swap: bool = False
    merge: bool = False
    kept: tuple[bool, bool] = (True, True)

    def seen(self, events: Any) -> Any:
        """Return the events [time, channel, y, x] that pass, as the cores see them, in order."""
        time, polarity, y, x = events.T
        y, x = y // self.pooling[0] - self.origin[0], x // self.pooling[1] - self.origin[1]
        inside = (y >= 0) & (y < self.size[0]) & (x >= 0) & (x < self.size[1])
        inside &= np.array(self.kept)[polarity]
        y = self.size[0] - 1 - y if self.mirror[0] else y
        x = self.size[1] - 1 - x if self.mirror[1] else x
        y, x = (x, y) if self.swap else (y, x)
        channel = np.zeros_like(polarity) if self.merge else polarity
        return np.stack([time, channel, y, x], 1)[inside]


# --- Reading the configuration -------------------------------------------------------------------


def chip_of_config(text: str) -> tuple[dict[int, Core], Sensor]:
    """Return cores and sensor from the text of `config.json`.

    Raises:
        BadFolder: If it is not a configuration.
    """
    try:
        facts = json.loads(text)
        cores = {
            index: _core_of_config(layer)
            for index, layer in enumerate(facts["cnn_layers"])
            if layer is not None
        }
        sensor = _sensor_of_config(facts["dvs_layer"], facts["cut_after_pooling"])
        return checked(cores), sensor
    except (LookupError, TypeError, ValueError, ArithmeticError, RecursionError) as problem:
        raise BadFolder(f"config.json is not a configuration: {problem!r}") from None


def _core_of_config(layer: Mapping[str, Any]) -> Core:
    sizes = layer["dimensions"]
    shape = sizes["output_shape"]
    height, width = _yx(shape["size"])
    channels, kernel = shape["feature_count"], sizes["kernel_size"]
    inputs = sizes["input_shape"]["feature_count"]
    wanted = ((channels, CHANNELS), (inputs, CHANNELS), (height, OUTPUT_SIZE), (width, OUTPUT_SIZE))
    if not all(type(n) is int and n in allowed for n, allowed in wanted):
        raise ValueError("a shape is none of the chip's")
    weights = _whole(layer["weights"], np.int8, (channels, inputs, kernel, kernel))
    states = layer["neurons_initial_value"]
    states = np.zeros((channels, width, height), int) if states == 0 else states
    targets = [
        (found["layer"], found["pooling"], found["feature_shift"])
        for found in layer["destinations"]
        if found["enable"]
    ]
    return Core(
        kernel, _yx(sizes["stride"]), _yx(sizes["padding"]),
        weights.transpose(1, 3, 2, 0),
        _whole(layer["biases"], np.int16, (channels,)),
        _whole(states, np.int16, (channels, width, height)).transpose(2, 1, 0),
        layer["threshold_high"], layer["threshold_low"],
        bool(layer["return_to_zero"]), bool(layer["leak_enable"]), targets,
    )  # fmt: skip


def _yx(pair: Mapping[str, Any]) -> tuple[Any, Any]:
    return pair["y"], pair["x"]


def _whole(values: Any, dtype: Any, shape: tuple[int, ...]) -> Any:
    array = np.asarray(values)
    if array.shape != shape or array.dtype.kind not in "iu":
        raise ValueError(f"expected whole numbers {list(shape)}, got {list(array.shape)}")
    if not (array == array.astype(dtype)).all():
        raise ValueError(f"a value does not fit {np.dtype(dtype).name}")
    return array.astype(dtype)


def _sensor_of_config(block: Mapping[str, Any], cut_after_pooling: bool) -> Sensor:
    targets = [(found["layer"], 1, 0) for found in block["destinations"] if found["enable"]]
    origin, cut, pooling = (_yx(block[name]) for name in ("origin", "cut", "pooling"))
    if not cut_after_pooling:
        origin = origin[0] // pooling[0], origin[1] // pooling[1]
        cut = (cut[0] + 1) // pooling[0] - 1, (cut[1] + 1) // pooling[1] - 1
    size = cut[0] - origin[0] + 1, cut[1] - origin[1] + 1
    numbers = [*pooling, *size, *(n + 1 for n in origin), *(t[0] + 1 for t in targets)]
    if not all(type(n) is int and 1 <= n <= SENSOR for n in numbers):
        raise ValueError("the sensor's window is none")
    kept = bool(block["off_channel"]), bool(block["on_channel"])
    return Sensor(
        targets, pooling, origin, size, _yx(block["mirror"]), block["mirror_diagonal"],
        block["merge"], kept,
    )  # fmt: skip


# --- Reading the memory writes -------------------------------------------------------------------


def chip_of_words(words: Any) -> tuple[dict[int, Core], Sensor]:
    """Return cores and sensor from the words of `memory.bin`.

    Raises:
        BadFolder: If they are not the words of a configuration.
    """
    registers: dict[tuple[int, int], dict[int, int]] = {}
    cells: dict[tuple[int, int], Any] = {}
    words = np.asarray(words, np.int64)
    ends = np.flatnonzero(words >> 16 == (CELL_ADDRESS | LAST_CELL) >> 16)
    at = 0
    try:
        while at < len(words):
            word = int(words[at])
            if word == RUN_END:
                at += 1
            elif word & 0xF0000 == REGISTER:
                bank = registers.setdefault((word >> 6 & 15, word >> 4 & 3), {})
                bank[word & 15] = int(words[at + 1]) & 255
                at += 2
            elif word & 0xF0000 == CELLS:
                count = (int(ends[np.searchsorted(ends, at + 1)]) - at - 1) // 2 + 1
                pairs = words[at + 1 : at + 1 + 2 * count].reshape(-1, 2)
                if (pairs[:, 0] >> 17 != 1).any() or pairs[-1, 0] & LAST_CELL == 0:
                    raise ValueError(f"word {at} begins no run of cells")
                memory = cells.setdefault(
                    (word >> 6 & 15, word >> 4 & 3), np.zeros(65536, np.int64)
                )
                memory[pairs[:, 0] & 0xFFFF] = pairs[:, 1]
                at += 1 + 2 * count
            else:
                raise ValueError(f"word {at} is {word:#x}")
        cores = {core: _core_of_words(core, registers, cells) for core in range(CORES)}
        return checked(cores), _sensor_of_words(
            _bank(registers[SENSOR_BLOCK, 0], BLOCKS[SENSOR_BLOCK])
        )
    except (LookupError, ValueError, ArithmeticError) as problem:
        raise BadFolder(f"memory.bin is not a configuration: {problem!r}") from None


def _core_of_words(
    core: int, registers: Mapping[Any, dict[int, int]], cells: Mapping[Any, Any]
) -> Core:
    known: dict[str, int] = {}
    for bank, template in CORE_BANKS.items():
        known |= unpacked(_bank(registers[core, bank], template), CORE_FIELDS[bank])
    kernel, inputs, outputs = (
        known[name] + 1 for name in ("kernel", "in_channels", "out_channels")
    )
    height, width = known["out_y"] + 1, known["out_x"] + 1
    weights = _gathered(
        cells[core, KERNEL_MEMORY], weight_strides(kernel, inputs, outputs),
        (outputs, inputs, kernel, kernel),
    ).astype(np.int8)  # fmt: skip
    states = _gathered(
        cells[core, NEURON_MEMORY], neuron_strides(outputs, width), (outputs, height, width)
    ).astype(np.int16)
    targets = [
        (known[f"layer_{n}"], 1 << known[f"pooling_{n}"], known[f"shift_{n}"])
        for n in range(2)
        if known[f"enable_{n}"]
    ]
    low = known["threshold_low"]
    return Core(
        kernel, (1 << known["stride_y"], 1 << known["stride_x"]),
        (known["padding_y"], known["padding_x"]), weights.transpose(1, 2, 3, 0),
        cells[core, BIAS_MEMORY][:outputs].astype(np.int16), states.transpose(1, 2, 0),
        known["threshold_high"], low - (low >> 15 << 16), bool(known["return_to_zero"]),
        bool(known["leak"]), targets,
    )  # fmt: skip


def _bank(registers: Mapping[int, int], template: bytes) -> bytes:
    return bytes(registers[index] for index in range(len(template)))


def _gathered(memory: Any, strides: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    address = sum(
        np.arange(extent).reshape(-1, *(1,) * (len(shape) - 1 - axis)) * stride
        for axis, (extent, stride) in enumerate(zip(shape, strides, strict=True))
    )
    return memory[address]


def _sensor_of_words(bank: bytes) -> Sensor:
    known = unpacked(bank, SENSOR_FIELDS)
    pooling = tuple(
        4 if known[f"pooling_{axis}4"] else 2 if known[f"pooling_{axis}"] else 1 for axis in "yx"
    )
    origin = known["origin_y"] // pooling[0], known["origin_x"] // pooling[1]
    ends = (known["cut_y"] + 1) // pooling[0], (known["cut_x"] + 1) // pooling[1]
    targets = [(known[f"layer_{n}"], 1, 0) for n in range(2) if known[f"enable_{n}"]]
    return Sensor(
        targets, (pooling[0], pooling[1]), origin, (ends[0] - origin[0], ends[1] - origin[1]),
        (bool(known["mirror_y"]), bool(known["mirror_x"])), bool(known["swap"]),
        not known["split"], (not known["drop_off"], not known["drop_on"]),
    )  # fmt: skip


def checked(cores: dict[int, Core]) -> dict[int, Core]:
    """Return cores that can be run.

    Raises:
        ValueError: If spikes could go round, or to where nothing is.
    """
    left = set(cores)
    if not all(0 <= core < CORES for core in cores):
        raise ValueError(f"there are {CORES} cores")
    for index, core in cores.items():
        ranges = [
            (core.kernel, KERNEL), *((n, STRIDES) for n in core.stride),
            *((n, PADDING) for n in core.padding), (core.high, THRESHOLD_HIGH),
            (core.low, THRESHOLD_LOW),
            (len(core.targets), range(3)), (core.weights.shape[0], CHANNELS),
            (core.initial.shape[2], CHANNELS), *((n, OUTPUT_SIZE) for n in core.initial.shape[:2]),
        ]  # fmt: skip
        for route in core.targets:
            ranges += zip(route, (range(READOUT + 1), POOLINGS, range(1024)), strict=True)
        if not all(type(n) is int and n in allowed for n, allowed in ranges):
            raise ValueError(f"core {index} has an impossible geometry, threshold or target")
        if core.initial.size > 65536:
            raise ValueError(f"core {index} has more neurons than a core can")
        for target, _, shift in core.targets:
            if target == READOUT:
                continue
            inputs = cores[target].weights.shape[0] if target in cores else 0
            if shift > inputs - core.shape[0]:
                raise ValueError(f"core {index} sends to core {target} what that cannot take")
    while left:
        free = {n for n in left if not any(n == t for m in left for t, *_ in cores[m].targets)}
        if not free:
            raise ValueError(f"spikes go round among cores {sorted(left)}")
        left -= free
    return cores
