"""What a HICANN-X chip has, as numbers.

Sources: electronicvisions/halco (include/halco/hicann-dls/vx: coordinates, `routing_crossbar.h`),
electronicvisions/haldls (include/haldls/vx: `synapse_driver.h`, `background.h`), and
electronicvisions/calix (src/py/calix/spiking: `neuron.py`, `refractory_period.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

#: Buses of a hemisphere; driver d listens to bus d % BUSES, and is number d // BUSES on it.
BUSES = 4
#: Hemispheres: that of neuron row 0 and that of neuron row 1, each with its synapse array.
HEMISPHERES = 2
#: Distinct synapse labels: 6 bits, the lowest of an event's label.
LABELS = 64
#: Distinct row-select addresses: 5 bits, the next of an event's label.
ADDRESSES = 32
#: Largest weight of a synapse: 6 bits.
MOST_WEIGHT = 63
#: Outputs of the crossbar: buses of hemisphere 0, of hemisphere 1, then links to the host.
OUTPUTS = 12
#: Its inputs: 8 event outputs of neurons, 4 links from the host, 8 background generators.
NEURON_INPUTS, LINK_INPUTS, BACKGROUND_INPUTS = 8, 4, 8
#: Nanoseconds of a tick: the resolution of events that the host sends and records (125 MHz).
TICK_NS = 8
#: The host's timer has 32 bits.
MOST_TICKS = 2**32 - 1
#: Events that one instruction of the host carries, and so at most in a tick.
EVENTS_PER_TICK = 2
#: Clocks of refractory counters: 2 ** scale ticks; counters have 8 bits.
MOST_SCALE, MOST_COUNT = 15, 255
#: Period of a background generator, in ticks.
MOST_PERIOD = 2**16 - 1


@dataclass(frozen=True)
class Chip:
    """Sizes of a chip; smaller ones than the real exist in tests only.

    Attributes:
        name: Its name.
        columns: Neurons of a row, and synapses of a row of a synapse array.
        drivers: Synapse drivers on each bus; each has two rows.
        per_output: Columns whose neurons (of both rows) share an event output.
    """

    name: str = "hicann-x-v3"
    columns: int = 256
    drivers: int = 32
    per_output: int = 32

    @property
    def circuits(self) -> int:
        """Neuron circuits."""
        return HEMISPHERES * self.columns

    @property
    def rows(self) -> int:
        """Rows of a synapse array."""
        return 2 * BUSES * self.drivers

    def event_output(self, circuit: int) -> int:
        """Return the crossbar input at which a circuit's spikes come out."""
        return circuit % self.columns // self.per_output


HICANN_X = Chip()


def reaches(source: int, output: int) -> bool:
    """Whether the crossbar has a node from an input to an output (halco: routing_crossbar)."""
    if source < NEURON_INPUTS:
        return output % BUSES == source % BUSES
    source -= NEURON_INPUTS
    if source < LINK_INPUTS:
        return output < HEMISPHERES * BUSES or output % BUSES == source
    source -= LINK_INPUTS
    if output < HEMISPHERES * BUSES:
        return output == source
    return output % BUSES == source % BUSES
