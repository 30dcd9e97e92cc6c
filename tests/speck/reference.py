"""The chip's rule once more, as plainly as it can be said: loops over every neuron."""

from __future__ import annotations

from collections import Counter
from typing import Any

from snnir.targets.speck.core import CoreLayer, Network


class PlainChip:
    """A network that takes events one by one."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.states = {
            core: layer.initial.astype(int).tolist() for core, layer in net.cores.items()
        }
        self.spikes: Counter[tuple[int, int, int, int]] = Counter()

    def send(self, core: int, channel: int, y: int, x: int) -> None:
        """Send an event and let all follow from it."""
        self.settle([(core, channel, y, x)])

    def tick(self) -> None:
        """Add every bias once."""
        waiting: list[tuple[int, int, int, int]] = []
        for core, layer in sorted(self.net.cores.items()):
            if layer.leak_enable:
                for y, x, f in self.places(layer):
                    waiting += self.add(core, layer, f, y, x, int(layer.biases[f]))
        self.settle(waiting)

    def places(self, layer: CoreLayer) -> list[tuple[int, int, int]]:
        shape = layer.geometry.target
        return [
            (y, x, f)
            for y in range(shape.height)
            for x in range(shape.width)
            for f in range(shape.channels)
        ]

    def settle(self, waiting: list[tuple[int, int, int, int]]) -> None:
        while waiting:
            core, channel, y, x = waiting.pop(0)
            layer = self.net.cores[core]
            geometry = layer.geometry
            for oy, ox, f in self.places(layer):
                ky = y + geometry.padding[0] - oy * geometry.stride[0]
                kx = x + geometry.padding[1] - ox * geometry.stride[1]
                if 0 <= ky < geometry.kernel and 0 <= kx < geometry.kernel:
                    weight = int(layer.weights[f, channel, ky, kx])
                    waiting += self.add(core, layer, f, oy, ox, weight)

    def add(
        self, core: int, layer: CoreLayer, f: int, y: int, x: int, amount: int
    ) -> list[tuple[int, int, int, int]]:
        """Add to a state; return where its spike goes, if it spikes."""
        row: Any = self.states[core][f][y]
        row[x] = min(max(row[x] + amount, layer.threshold_low), 32767)
        if row[x] < layer.threshold_high:
            return []
        row[x] = 0 if layer.return_to_zero else row[x] - layer.threshold_high
        self.spikes[core, f, y, x] += 1
        return [(d.layer, f + d.shift, y // d.pooling, x // d.pooling) for d in layer.destinations]
