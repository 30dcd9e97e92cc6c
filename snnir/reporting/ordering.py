"""The order of what stands side by side in a layered drawing, so that few lines cross."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

#: Times the layers are gone through, down and up.
_SWEEPS = 6
#: With more items than this, fewer sweeps do.
_MANY = 5000


def ordered_layers(
    layers: Sequence[Sequence[int]], steps: Sequence[tuple[int, int]]
) -> list[list[int]]:
    """Return layers in an order in which few lines cross, by the barycentre heuristic.

    Of all orders it comes by, the one with the fewest crossings is kept (Sugiyama, Tagawa, Toda:
    Methods for visual understanding of hierarchical system structures, 1981).

    Args:
        layers: Items by rank, each rank in the order to start from.
        steps: Pairs of items in neighbouring ranks, the upper one first.
    """
    current = [list(layer) for layer in layers]
    if all(len(layer) < 2 for layer in current):
        return current
    above: dict[int, list[int]] = {}
    below: dict[int, list[int]] = {}
    for upper, lower in steps:
        above.setdefault(lower, []).append(upper)
        below.setdefault(upper, []).append(lower)
    best, fewest = [list(layer) for layer in current], _crossings(current, below)
    sweeps = _SWEEPS if sum(map(len, current)) <= _MANY else 2
    for sweep in range(sweeps):
        if not fewest:
            break
        if sweep % 2:
            _sweep(list(reversed(current)), below)
        else:
            _sweep(current, above)
        crossings = _crossings(current, below)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in current], crossings
    return best


def _sweep(layers: Sequence[list[int]], towards: Mapping[int, Sequence[int]]) -> None:
    """Sort each layer by where its neighbours in the layer before stand."""
    before: dict[int, int] = {}
    for layer in layers:
        if len(layer) > 1:
            here = {at: place for place, at in enumerate(layer)}
            centre = {}
            for at in layer:
                places = [before[other] for other in towards.get(at, ()) if other in before]
                # What has no neighbour there stays about where it is.
                centre[at] = sum(places) / len(places) if places else float(here[at])
            layer.sort(key=centre.__getitem__)
        before = {at: place for place, at in enumerate(layer)}


def _crossings(layers: Sequence[Sequence[int]], below: Mapping[int, Sequence[int]]) -> int:
    """Count the crossings of lines between neighbouring layers."""
    total = 0
    for upper, lower in itertools.pairwise(layers):
        if len(upper) > 1 and len(lower) > 1:
            place = {at: index for index, at in enumerate(lower)}
            ends = [
                end
                for at in upper
                for end in sorted(place[b] for b in below.get(at, ()) if b in place)
            ]
            total += _inversions(ends, len(lower))
    return total


def _inversions(places: Sequence[int], size: int) -> int:
    """Count pairs that stand in the wrong order, with a Fenwick tree."""
    tree = [0] * (size + 1)
    total = 0
    for seen, place in enumerate(places):
        at, not_after = place + 1, 0
        while at:
            not_after += tree[at]
            at -= at & -at
        total += seen - not_after
        at = place + 1
        while at <= size:
            tree[at] += 1
            at += at & -at
    return total
