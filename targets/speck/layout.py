"""How a Speck's registers and memories are laid out; copied into emitted folders.

Found by changing one field of the vendor's configuration at a time (samna 0.7.1.0, `speck2b`) and
watching the words its assembler makes of it. The chip is written in words of 20 bits. A register
takes two (where, what), and a run of registers ends with a word of its own; a run of cells begins
with a word that names the memory, then each takes two (address, value), the last one marked.
"""

from __future__ import annotations

from collections.abc import Mapping

SENSOR_BLOCK, READOUT_BLOCK, IO_BLOCK, FILTER_BLOCK = 15, 12, 13, 10
KERNEL_MEMORY, NEURON_MEMORY, BIAS_MEMORY = 2, 0, 3
REGISTER, REGISTER_DATA, RUN_END = 0xC0000, 0x80000, 0xE6000
CELLS, CELL_ADDRESS, LAST_CELL = 0x40000, 0x20000, 0x10000

#: Registers as they are when nothing is set: (block, bank) to bytes; cores have banks 2, 3 and 0.
CORE_BANKS = {
    2: bytes((0, 0, 0, 0, 0, 0, 64, 80, 64)),
    3: bytes((0, 0, 0, 128, 65, 4)),
    0: bytes((0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 65, 64)),
}
BLOCKS = {
    READOUT_BLOCK: bytes((60, 207, 243) * 4 + (0, 0, 2, 16)),
    IO_BLOCK: bytes((24, 88)),
    SENSOR_BLOCK: bytes((4, 0, 0, 254, 254, 0, 169, 0, 0, 25, 0, 0, 131, 3, 131, 3)),
    FILTER_BLOCK: bytes((80, 80, 5, 0, 17, 10)),
}

#: Fields of a bank: name to (first bit, bits).
CORE_FIELDS: dict[int, dict[str, tuple[int, int]]] = {
    2: {
        "padding_x": (0, 3), "padding_y": (3, 3), "stride_x": (6, 2), "stride_y": (8, 2),
        "kernel": (10, 4), "in_channels": (16, 10), "out_x": (26, 6), "out_y": (32, 6),
        "out_channels": (38, 10),
    },
    3: {"out_x": (0, 6), "leak": (6, 1), "out_y": (8, 6), "out_channels": (16, 10)},
    0: {
        "pooling_0": (0, 2), "pooling_1": (2, 2), "layer_0": (4, 4), "shift_0": (8, 10),
        "shift_1": (18, 10), "enable_0": (28, 1), "enable_1": (29, 1), "monitor": (30, 1),
        "layer_1": (32, 4), "own": (36, 4), "out_x": (40, 6), "out_channels": (46, 10),
        "threshold_high": (56, 16), "threshold_low": (72, 16), "return_to_zero": (88, 1),
    },
}  # fmt: skip
SENSOR_FIELDS = {
    "drop_on": (0, 1), "drop_off": (1, 1), "split": (2, 1), "swap": (3, 1), "enable_0": (4, 1),
    "enable_1": (5, 1), "monitor_sensor": (6, 1), "monitor": (7, 1), "pooling_x": (8, 1),
    "origin_x": (9, 7), "pooling_y": (16, 1), "origin_y": (17, 7), "mirror_x": (24, 1),
    "cut_x": (25, 7), "mirror_y": (32, 1), "cut_y": (33, 7), "layer_0": (40, 4),
    "layer_1": (44, 4), "sensor": (76, 1), "pooling_x4": (77, 1), "pooling_y4": (78, 1),
}  # fmt: skip


def packed(bank: bytes, fields: Mapping[str, tuple[int, int]], values: Mapping[str, int]) -> bytes:
    """Return a bank with fields set; negative values as two's complement."""
    word = int.from_bytes(bank, "little")
    for name, value in values.items():
        first, width = fields[name]
        mask = (1 << width) - 1
        word = (word & ~(mask << first)) | ((int(value) & mask) << first)
    return word.to_bytes(len(bank), "little")


def unpacked(bank: bytes, fields: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """Return the fields of a bank, without sign."""
    word = int.from_bytes(bank, "little")
    return {name: word >> first & (1 << width) - 1 for name, (first, width) in fields.items()}


def bits_for(count: int) -> int:
    """Return how many address bits so many places need: ceil(log2(count))."""
    return (count - 1).bit_length()


def weight_strides(kernel: int, channels: int, outputs: int) -> tuple[int, int, int, int]:
    """Return how far apart neighbours lie in kernel memory: along output, input, y, x."""
    per_output = bits_for(channels)
    tap = 1 << (bits_for(outputs) + per_output)
    return 1 << per_output, 1, kernel * tap, tap


def neuron_strides(outputs: int, width: int) -> tuple[int, int, int]:
    """Return how far apart neighbours lie in neuron memory: along channel, y, x."""
    pixel = 1 << bits_for(outputs)
    return 1, pixel << bits_for(width), pixel
