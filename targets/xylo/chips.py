"""What each chip of the Xylo family has room for; copied into folders.

Numbers of inputs, neurons, synaptic states and fan-out, and how far input and output weights reach:
the table of family members in rockpool's documentation (`docs/devices/xylo-overview.ipynb`, read at
3.1, December 2025); total of recurrent weights of Xylo IMU: `docs/devices/xylo-imu/xylo-imu-intro`;
those of the others follow from their average fan-out (32 connections of two weights).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Chip:
    """One member of the family.

    Attributes:
        name: The option's word.
        part: SynSense's part number.
        inputs: Event channels.
        hidden, outputs: Neurons of both blocks.
        synapses: Synaptic states of a hidden neuron; readout neurons have one.
        fan_out: Most recurrent connections that leave one hidden neuron.
        connections: Most recurrent connections of all hidden neurons.
        first: Input weights reach this many hidden neurons, the first.
        last: Output weights leave this many hidden neurons, the last.
    """

    name: str
    part: str
    inputs: int
    hidden: int
    outputs: int
    synapses: int
    fan_out: int
    connections: int
    first: int
    last: int


CHIPS: dict[str, Chip] = {
    chip.name: chip
    for chip in (
        Chip("xylo-audio-2", "SYNS61201", 16, 1000, 8, 2, 64, 32_000, 1000, 1000),
        Chip("xylo-imu", "SYNS63300", 16, 496, 16, 1, 512, 31_744, 128, 128),
        Chip("xylo-audio-3", "SYNS65302", 16, 992, 32, 2, 1024, 31_744, 128, 128),
    )
}
