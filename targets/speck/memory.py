"""The words that write a configuration into a chip, in the order of the vendor's assembler."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.targets.speck import layout
from snnir.targets.speck.core import CoreLayer, Geometry, Network, Sensor, Shape

Words = npt.NDArray[np.uint32]


def unused() -> CoreLayer:
    """Return what a core that does nothing is configured with."""
    one = Shape(1, 1, 1)
    return CoreLayer(
        Geometry(one, one, 1),
        np.zeros((1, 1, 1, 1), np.int8), np.zeros(1, np.int16), np.zeros((1, 1, 1), np.int16),
        0, 0,
    )  # fmt: skip


def words(net: Network) -> Words:
    """Return all words of a configuration."""
    parts: list[Words] = []
    for core in range(len(net.chip.cores)):
        parts += core_words(core, net.cores.get(core) or unused())
    last = {**layout.BLOCKS, layout.SENSOR_BLOCK: sensor_bank(net.sensor)}
    parts += [_registers(block, 0, bank) for block, bank in last.items()]
    parts.append(np.array([layout.RUN_END], np.uint32))
    return np.concatenate(parts)


def core_words(core: int, layer: CoreLayer) -> Iterator[Words]:
    """Yield the words of one core: registers, weights, biases, states."""
    values = register_values(core, layer)
    for bank, template in layout.CORE_BANKS.items():
        fields = layout.CORE_FIELDS[bank]
        known = {name: value for name, value in values.items() if name in fields}
        yield _registers(core, bank, layout.packed(template, fields, known))
    yield np.array([layout.RUN_END], np.uint32)
    shape = layer.geometry.target
    kernel, channels = layer.geometry.kernel, layer.geometry.source.channels
    strides = layout.weight_strides(kernel, channels, shape.channels)
    yield _cells(core, layout.KERNEL_MEMORY, layer.weights, strides, 0xFF)
    yield _cells(core, layout.BIAS_MEMORY, layer.biases, (1,), 0xFFFF)
    strides_of_states = layout.neuron_strides(shape.channels, shape.width)
    yield _cells(core, layout.NEURON_MEMORY, layer.initial, strides_of_states, 0xFFFF)


def register_values(core: int, layer: CoreLayer) -> dict[str, int]:
    """Return the register fields of a core."""
    geometry = layer.geometry
    values: dict[str, Any] = {
        "own": core,
        "padding_y": geometry.padding[0], "padding_x": geometry.padding[1],
        "stride_y": layout.bits_for(geometry.stride[0]),
        "stride_x": layout.bits_for(geometry.stride[1]),
        "kernel": geometry.kernel - 1,
        "in_channels": geometry.source.channels - 1,
        "out_channels": geometry.target.channels - 1,
        "out_x": geometry.target.width - 1, "out_y": geometry.target.height - 1,
        "leak": layer.leak_enable, "monitor": layer.monitor_enable,
        "return_to_zero": layer.return_to_zero,
        "threshold_high": layer.threshold_high, "threshold_low": layer.threshold_low,
    }  # fmt: skip
    for slot, destination in enumerate(layer.destinations):
        values |= {
            f"enable_{slot}": 1, f"layer_{slot}": destination.layer,
            f"pooling_{slot}": layout.bits_for(destination.pooling),
            f"shift_{slot}": destination.shift,
        }  # fmt: skip
    return values


def sensor_bank(sensor: Sensor) -> bytes:
    """Return the registers of the sensor's block; for 2b, whose crop is in sensor pixels."""
    top, left = sensor.origin
    height, width = sensor.size
    down, across = sensor.pooling
    values = {
        "drop_on": not sensor.on, "drop_off": not sensor.off, "split": not sensor.merge,
        "swap": sensor.swap, "mirror_y": sensor.mirror[0], "mirror_x": sensor.mirror[1],
        "origin_y": top * down, "origin_x": left * across,
        "cut_y": (top + height) * down - 1, "cut_x": (left + width) * across - 1,
        "pooling_y": down == 2, "pooling_x": across == 2,
        "pooling_y4": down == 4, "pooling_x4": across == 4,
        "sensor": sensor.enabled,
    }  # fmt: skip
    for slot, core in enumerate(sensor.destinations):
        values |= {f"enable_{slot}": 1, f"layer_{slot}": core}
    return layout.packed(layout.BLOCKS[layout.SENSOR_BLOCK], layout.SENSOR_FIELDS, values)


def _registers(block: int, bank: int, data: bytes) -> Words:
    place = layout.REGISTER | block << 6 | bank << 4
    pairs = [(place | index, layout.REGISTER_DATA | byte) for index, byte in enumerate(data)]
    return np.array(pairs, np.uint32).reshape(-1)


def _cells(
    core: int, memory: int, values: npt.NDArray[Any], strides: tuple[int, ...], mask: int
) -> Words:
    grids = np.indices(values.shape, np.int64)
    address = sum(grid * stride for grid, stride in zip(grids, strides, strict=True))
    pairs = np.empty((values.size, 2), np.uint32)
    pairs[:, 0] = layout.CELL_ADDRESS | np.asarray(address).reshape(-1)
    pairs[-1, 0] |= layout.LAST_CELL
    pairs[:, 1] = values.reshape(-1).astype(np.int64) & mask
    head = np.array([layout.CELLS | core << 6 | memory << 4], np.uint32)
    return np.concatenate([head, pairs.reshape(-1)])
