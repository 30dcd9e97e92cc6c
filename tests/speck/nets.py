"""Random layers and networks of cores, the same on every Python."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np

from snnir.targets.speck.chips import CHIPS
from snnir.targets.speck.core import (
    CoreLayer,
    Destination,
    Geometry,
    Network,
    Sensor,
    Shape,
)

CHIP = CHIPS["speck2b"]


def integers(rng: random.Random, low: int, high: int, shape: tuple[int, ...], dtype: Any) -> Any:
    """Return whole numbers from low to high."""
    size = int(np.prod(shape))
    return np.array([rng.randint(low, high) for _ in range(size)], dtype).reshape(shape)


def layer(
    rng: random.Random, source: Shape, target: Shape, kernel: int, **fields: Any
) -> CoreLayer:
    """Return a layer with random numbers."""
    stride, padding = fields.pop("stride", (1, 1)), fields.pop("padding", (0, 0))
    size = (target.channels, target.height, target.width)
    made = {
        "weights": integers(rng, -70, 110, (size[0], source.channels, kernel, kernel), np.int8),
        "biases": integers(rng, -300, 300, size[:1], np.int16),
        "initial": integers(rng, -200, 39, size, np.int16),
        "threshold_high": rng.randint(40, 250),
        "threshold_low": -rng.randint(1, 1000),
        "return_to_zero": rng.random() < 0.3,
        "leak_enable": rng.random() < 0.3,
        "monitor_enable": rng.random() < 0.5,
    } | fields
    return CoreLayer(Geometry(source, target, kernel, stride, padding), **made)


def geometry(rng: random.Random, source: Shape, channels: int) -> dict[str, Any]:
    """Return kernel, stride, padding and the target that follows."""
    while True:
        kernel = rng.choice([1, 2, 3, 3, 4, 5, 8])
        stride = rng.choice([1, 1, 2, 4]), rng.choice([1, 1, 2, 4])
        padding = rng.randint(0, 3), rng.randint(0, 3)
        height = (source.height - kernel + 2 * padding[0]) // stride[0] + 1
        width = (source.width - kernel + 2 * padding[1]) // stride[1] + 1
        if min(height, width) >= 1 and max(height, width) <= 64 and max(padding) < kernel:
            target = Shape(channels, height, width)
            return {"kernel": kernel, "stride": stride, "padding": padding, "target": target}


def network(seed: int) -> Network:
    """Return a network of 2 to 5 cores: a chain, with a branch and a join if there is room."""
    rng = random.Random(seed)
    cores = rng.sample(range(9), rng.randint(2, 5))
    source = Shape(rng.randint(1, 3), rng.randint(4, 16), rng.randint(4, 16))
    first = source
    built: list[tuple[int, CoreLayer]] = []
    for index, core in enumerate(cores):
        found = geometry(rng, source, rng.randint(1, 7))
        made = layer(
            rng, source, found["target"], **{k: v for k, v in found.items() if k != "target"}
        )
        built.append((core, made))
        pooling = rng.choice([1, 1, 2, 4])
        target = found["target"]
        if min(target.height, target.width) < pooling:
            pooling = 1
        source = Shape(target.channels, target.height // pooling, target.width // pooling)
        if index + 1 < len(cores):
            targets = (Destination(cores[index + 1], pooling),)
            built[-1] = core, with_targets(made, targets)
    view = Sensor()
    if first.channels <= 2:
        pool = rng.choice([1, 2, 4]), rng.choice([1, 2, 4])
        view = Sensor(
            (cores[0],), pool, (rng.randint(0, 3), rng.randint(0, 3)), (first.height, first.width),
            (rng.random() < 0.5, rng.random() < 0.5), first.height == first.width,
            first.channels == 1, rng.random() < 0.7, True, True,
        )  # fmt: skip
    return Network(CHIP, dict(sorted(built)), view)


def with_targets(made: CoreLayer, targets: tuple[Destination, ...]) -> CoreLayer:
    """Return a layer that sends elsewhere."""
    return replace(made, destinations=targets)


def branching(seed: int) -> Network:
    """Return a core that two read, whose spikes a fourth joins as channels."""
    rng = random.Random(seed)
    size = rng.randint(4, 9)
    first, left, right = (Shape(rng.randint(1, 4), size, size) for _ in range(3))
    joined = Shape(left.channels + right.channels, size // 2, size // 2)
    last = Shape(rng.randint(1, 9), 1, 1)
    same: dict[str, Any] = {"kernel": 3, "padding": (1, 1)}
    cores = {
        1: layer(rng, Shape(2, size, size), first, **same,
                 destinations=(Destination(3), Destination(8))),
        3: layer(rng, first, left, **same, destinations=(Destination(5, 2),)),
        8: layer(rng, first, right, **same, destinations=(Destination(5, 2, left.channels),)),
        5: layer(rng, joined, last, kernel=size // 2),
    }  # fmt: skip
    return Network(CHIP, cores, Sensor())


def random_fields(rng: random.Random) -> tuple[dict[int, dict[str, Any]], Network]:
    """Return layers as the vendor's validator is asked about, most of them near a limit."""
    core, other = rng.sample(range(9), 2)
    kernel = rng.choice([1, 2, 3, 4, 5, 7, 11, 15, 16, rng.choice([16, 17])])
    stride = rng.choice([(1, 1)] * 4 + [(1, 2), (4, 8), (2, 2), (1, 3), (5, 1)])
    padding = rng.choice([(0, 0)] * 4 + [(1, 1), (2, 7), (7, 3), (3, 8), (8, 0)])
    edge = rng.choice([[4, 8, 15, 16, 17, 20], [16, 32, 33, 63, 64], [65, 127, 128, 129, 1]])
    sizes = [rng.choice(edge) for _ in "yx"]
    inputs = rng.choice([1, 2, 3, 8, 16, 30, 64, 100])
    outputs = rng.choice([1, 2, 4, 10, 16, 17, 32, 64, 129])
    if rng.random() < 0.06:
        inputs, outputs = rng.choice([(1024, 8), (1025, 8), (8, 1024), (8, 1025)])
        kernel = 1
        sizes = [1, 1]
    most = rng.choice([1 << 10, 1 << 12, 1 << 16])  # large ones take the vendor's library long
    while inputs * outputs * kernel**2 > most:
        inputs, outputs = max(1, inputs // 2), max(1, outputs // 2)
    height, width = (
        max(1, (n - kernel + 2 * p) // s + 1)
        for n, p, s in zip(sizes, padding, stride, strict=True)
    )
    if rng.random() < 0.05:
        height += 1
    while outputs > 1 and outputs * height * width > 2 * most:
        outputs = max(1, outputs // 2)
    source, target = Shape(inputs, *sizes), Shape(outputs, height, width)
    thresholds = rng.choice([(0, 0), (100, -100), (32767, -32768)])
    layers = {core: fields_of(source, target, kernel, stride, padding, thresholds, [])}
    if rng.random() < 0.4:
        pooling = rng.choice([1, 2, 4, 8, 3])
        shift = rng.choice([0, 0, 0, 1])
        seen = Shape(outputs + shift, max(1, height // pooling), max(1, width // pooling))
        if rng.random() < 0.2:
            seen = Shape(seen.channels, seen.height + 1, seen.width)
        size = max(1, min(16, seen.height, seen.width))
        end = Shape(2, seen.height - size + 1, seen.width - size + 1)
        layers[core]["destinations"] = [[other, pooling, shift]]
        layers[other] = fields_of(seen, end, size, (1, 1), (0, 0), (10, -10), [])
    return layers, network_of(layers)


def fields_of(
    source: Shape, target: Shape, kernel: int, stride: Any, padding: Any, thresholds: Any,
    destinations: list[Any],
) -> dict[str, Any]:  # fmt: skip
    """Return a layer as JSON."""
    return {
        "input_shape": [source.channels, source.height, source.width],
        "output_shape": [target.channels, target.height, target.width],
        "kernel": kernel, "stride": list(stride), "padding": list(padding),
        "thresholds": list(thresholds), "destinations": destinations,
    }  # fmt: skip


def network_of(layers: dict[int, dict[str, Any]]) -> Network:
    """Return the network of such layers, all its numbers 0."""
    cores = {}
    for core, fields in layers.items():
        source, target = Shape(*fields["input_shape"]), Shape(*fields["output_shape"])
        kernel = fields["kernel"]
        cores[core] = CoreLayer(
            Geometry(source, target, kernel, tuple(fields["stride"]), tuple(fields["padding"])),
            np.zeros((1, 1, 1, 1), np.int8), np.zeros(1, np.int16), np.zeros((1, 1, 1), np.int16),
            fields["thresholds"][0], fields["thresholds"][1],
            destinations=tuple(Destination(*found) for found in fields["destinations"]),
        )  # fmt: skip
    return Network(CHIP, cores)
