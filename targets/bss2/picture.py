"""Pictures of a chip: both synapse arrays as they lie, with the neurons between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from snnir.reporting.charts import drawing, element, label, number
from snnir.reporting.runs import image
from snnir.targets.bss2.chips import HEMISPHERES, HICANN_X, MOST_WEIGHT
from snnir.targets.bss2.execution import EXCITATORY, Execution
from snnir.targets.bss2.mapping.calibration import Array

#: Pixels: of a column and a row of synapses, of a row of neurons, of what is beside and above.
_ACROSS, _DOWN, _NEURONS, _LEFT, _TOP = 2.6, 1.0, 20, 90, 34
_WIDE = 900
#: Colours of classes `k0`, `k1`, …
_COLOURS = 12
_RED, _BLUE = (214, 62, 40), (64, 118, 232)


def chip_picture(execution: Execution, title: str) -> str:
    """Return a configured chip as an SVG element.

    Args:
        execution: The configuration.
        title: What it is, for who does not see it.
    """
    chip = _Chip(execution)
    return drawing(title, chip.end, "".join(chip.parts()), _WIDE)


class _Chip:
    """Hemisphere 0, its neurons, those of hemisphere 1, and that one's synapses."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.populations = list(dict.fromkeys(site.population for site in execution.sites))
        self.high = HICANN_X.rows * _DOWN
        self.middle = _TOP + self.high + 4
        self.second = self.middle + HEMISPHERES * (_NEURONS + 4)
        self.legend = self.second + self.high + 38
        self.end = self.legend + 18 * (1 + (len(self.populations) - 1) // 4) + 22

    def parts(self) -> Iterator[str]:
        """Yield what is drawn."""
        yield from self._array(0, _TOP)
        yield from self._neurons()
        yield from self._array(1, self.second)
        yield from self._columns()
        yield from self._names()

    def _array(self, hemisphere: int, top: float) -> Iterator[str]:
        wide = HICANN_X.columns * _ACROSS
        weights = synapse_array(self.execution, hemisphere)
        yield image(tinted(weights), _LEFT, top, wide, self.high)
        yield element("rect", x=_LEFT, y=top, width=wide, height=self.high, class_="frame")
        for row in range(0, HICANN_X.rows + 1, 64):
            y = top + row * _DOWN
            yield element("path", d=f"M{_LEFT - 14} {number(y)}h-4", class_="tick")
            yield label(_LEFT - 22, y + 4, row, "end faint")
        yield from self._rows(hemisphere, top)
        x = _LEFT + wide + 10
        used = [row for half, row in self.execution.rows if half == hemisphere]
        lines = (f"hemisphere {hemisphere}", f"{np.count_nonzero(weights):,} synapses",
                 f"{len(used)} of {HICANN_X.rows} rows")  # fmt: skip
        for at, told in enumerate(lines):
            yield label(x, top + 14 + 15 * at, told, "" if at else "strong")

    def _rows(self, hemisphere: int, top: float) -> Iterator[str]:
        """Yield the rows in use, beside the array, by what they do."""
        for class_, excites in (("up", True), ("down", False)):
            data = "".join(
                f"M{_LEFT - 11} {number(top + (row + 0.5) * _DOWN)}h9"
                for (half, row), mode in sorted(self.execution.rows.items())
                if half == hemisphere and (mode == EXCITATORY) is excites
            )
            if data:
                yield element("path", d=data, class_=class_)

    def _neurons(self) -> Iterator[str]:
        """Yield both rows of neurons with the populations on their circuits."""
        owners = np.full(HICANN_X.circuits, -1)
        for site in self.execution.sites:
            owners[list(site.circuits)] = self.populations.index(site.population)
        for hemisphere in range(HEMISPHERES):
            y = self.middle + hemisphere * (_NEURONS + 4)
            row = owners.reshape(HEMISPHERES, -1)[hemisphere].tolist()
            wide = HICANN_X.columns * _ACROSS
            yield element("rect", x=_LEFT, y=y, width=wide, height=_NEURONS, class_="frame")
            yield label(_LEFT - 8, y + 14, f"neurons {hemisphere}", "end faint")
            yield from self._runs(row, y)

    def _runs(self, owners: Sequence[int], y: float) -> Iterator[str]:
        first = 0
        for owner, run in groupby(owners):
            count = len(list(run))
            x, wide = _LEFT + first * _ACROSS, count * _ACROSS
            first += count
            if owner < 0:
                continue
            class_ = f"fill k{owner % _COLOURS}"
            yield element("rect", x=x, y=y, width=wide, height=_NEURONS, class_=class_)
            letters = int(wide / 7) - 1
            if letters >= 3:
                told = self.populations[owner]
                told = told if len(told) <= letters else f"{told[: letters - 1]}\u2026"
                yield label(x + wide / 2, y + 14, told, "middle")

    def _columns(self) -> Iterator[str]:
        bottom = self.second + self.high
        yield label(_LEFT - 8, bottom + 18, "column", "end faint")
        for column in range(0, HICANN_X.columns + 1, 32):
            x = _LEFT + column * _ACROSS
            yield element("path", d=f"M{number(x)} {number(bottom)}v4", class_="tick")
            yield label(x, bottom + 18, column, "middle faint")
        yield label(
            _LEFT, _TOP - 14,
            f"synapses: red excites, blue inhibits, the fuller the larger (up to {MOST_WEIGHT}); "
            "at the left, rows in use",
            "faint", 200,
        )  # fmt: skip

    def _names(self) -> Iterator[str]:
        """Yield what colours of neurons are."""
        for at, name in enumerate(self.populations):
            x, y = _LEFT + at % 4 * 180, self.legend + at // 4 * 18
            yield element("rect", x=x, y=y, width=12, height=12, class_=f"fill k{at % _COLOURS}")
            count = sum(1 for site in self.execution.sites if site.population == name)
            yield label(x + 18, y + 10, f"{name}: {count} neurons", "", 28)
        y = self.legend + 18 * (1 + (len(self.populations) - 1) // 4)
        yield label(_LEFT, y + 10, self._sources(), "faint", 130)

    def _sources(self) -> str:
        counts: dict[str, int] = {}
        for name, _ in self.execution.labels:
            counts[name] = counts.get(name, 0) + 1
        told = ", ".join(f"{name} ({count})" for name, count in counts.items())
        generators = len(self.execution.generators)
        made = f"; background generators: {generators}" if generators else ""
        return f"events of the host: {told or 'none'}{made}"


def synapse_array(execution: Execution, hemisphere: int) -> Array:
    """Return the signed weights of a hemisphere, [rows, columns]."""
    found = np.zeros((HICANN_X.rows, HICANN_X.columns), np.int64)
    synapses = execution.synapses
    mine = synapses.hemisphere == hemisphere
    rows = synapses.row[mine]
    signs = np.array([execution.rows[hemisphere, int(row)] for row in rows], np.int64)
    found[rows, synapses.column[mine]] = signs * synapses.weight[mine]
    return found


def tinted(weights: Array) -> Array:
    """Return weights as pixels with opacity, [rows, columns, 4]: nothing where there is none."""
    pixels = np.zeros((*weights.shape, 4), np.uint8)
    pixels[..., :3] = np.where((weights > 0)[..., None], _RED, _BLUE)
    strength = np.clip(np.abs(weights) / MOST_WEIGHT, 0.0, 1.0)
    # What is not 0 is seen to be there.
    pixels[..., 3] = np.rint(255 * np.where(weights != 0, 0.3 + 0.7 * strength, 0.0))
    return pixels
