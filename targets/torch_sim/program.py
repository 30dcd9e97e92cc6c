"""The command line of an emitted folder; copied into it after the engine."""

from __future__ import annotations

import json
import pathlib
import struct
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from snnir.folder_program import (
    check_record,
    command_line,
    read_inputs,
    read_lasting,
    write_results,
)
from snnir.network import Model, Step
from snnir.targets.torch_sim import kernels
from snnir.targets.torch_sim.engine import Network
from snnir.targets.torch_sim.kit import Kit

# What the part of the folder's file before this one defines.
MODEL = Model((), {}, {}, {})
STEPS: dict[str, Step] = {}
TRAINED: Sequence[str] = ()
LASTING: dict[str, tuple[tuple[int, ...], str]] = {}
KERNELS: dict[str, Any] = dict(vars(kernels))
WEIGHTS = "weights.safetensors"

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "I64": torch.int64, "I32": torch.int32,
    "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def read_weights(path: pathlib.Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, without that package."""
    data = bytearray(path.read_bytes())
    (length,) = struct.unpack("<Q", data[:8])
    found = {}
    for name, facts in json.loads(data[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        first, last = (8 + length + at for at in facts["data_offsets"])
        kind = _DTYPES[facts["dtype"]]
        flat = torch.frombuffer(data[first:last], dtype=kind) if last > first else torch.empty(0)
        found[name] = flat.to(kind).reshape(facts["shape"])
    return found


def load(backend: str = "auto") -> Network:
    """Return the network with the weights beside this file, ready to run or train."""
    here = pathlib.Path(__file__).parent
    tensors = read_weights(here / WEIGHTS)
    return Network(MODEL, STEPS, KERNELS, tensors, TRAINED, Kit.load(here, backend))


def recordable(model: Model) -> list[str]:
    """Return every name that can be recorded."""
    names = [*model.inputs, *(name for unit in model.units.values() for name in unit.results)]
    units = [unit for unit in model.units.values() if unit.kind != "random"]
    return names + [f"{unit.name}:{key}" for unit in units for key in unit.initial]


def main() -> None:
    """Run the network on a file."""
    parser = command_line(str(__doc__), bool(LASTING))
    parser.add_argument("--backend", default="auto", choices=["auto", "eager", "c", "triton"])
    arguments = parser.parse_args()
    net = load(arguments.backend)
    check_record(arguments.record, recordable(net.model))
    given = read_inputs(arguments.input, net.model.inputs)
    if LASTING:
        net.set_lasting(read_lasting(arguments.lasting, LASTING))
    kind = getattr(torch, net.model.dtype)
    inputs = {name: torch.from_numpy(x).to(kind) for name, x in given.items()}
    sums: dict[str, float] = {}
    with torch.no_grad():
        outputs, values, state = net.simulate(inputs, arguments.record, sums=sums)
    made, records = ({k: y.numpy() for k, y in part.items()} for part in (outputs, values))
    lasting = {name: value.numpy() for name, value in net.lasting_of(state).items()}
    whole = [name for name, (_, dtype) in LASTING.items() if "int" in dtype]
    lasting |= {name: lasting[name].astype("int64") for name in whole}
    write_results(arguments.output, made, records, sums, lasting=lasting)
    print(json.dumps({name: list(y.shape) for name, y in outputs.items()}))
