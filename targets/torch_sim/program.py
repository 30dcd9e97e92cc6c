"""The command line of an emitted folder; copied into it after the engine."""

from __future__ import annotations

import argparse
import difflib
import json
import pathlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from snnir.network import Model, Step
from snnir.targets.torch_sim import kernels
from snnir.targets.torch_sim.engine import Network
from snnir.targets.torch_sim.kit import Kit

# What the part of the folder's file before this one defines.
MODEL = Model((), {}, {}, {})
STEPS: dict[str, Step] = {}
TRAINED: Sequence[str] = ()
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
    return names + [f"{u.name}:{key}" for u in model.units.values() for key in u.initial]


def check_record(model: Model, record: Sequence[str]) -> None:
    """Exit with a message at the first name that is no value and no `node:state`."""
    known = recordable(model)
    for name in record:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.3)
            hint = f"; did you mean {', '.join(map(repr, close))}?" if close else ""
            raise SystemExit(f"there is nothing called {name!r} to record{hint}")


def read_inputs(path: str, model: Model) -> dict[str, Tensor]:
    """Read one array, or one per input name, as [time, batch, *shape]; needs NumPy."""
    import numpy as np

    data = np.load(path, allow_pickle=False)
    arrays = dict(data) if hasattr(data, "files") else {next(iter(model.inputs)): data}
    if "names" in arrays and arrays["names"].dtype.kind == "U":
        arrays = {str(n): arrays[f"array_{i}"] for i, n in enumerate(arrays["names"])}
    for name, shape in model.inputs.items():
        if name not in arrays:
            raise SystemExit(f"input {name!r} is not in {path}")
        if arrays[name].shape[1:] == shape:
            arrays[name] = arrays[name][:, None]
        if arrays[name].shape[2:] != shape:
            raise SystemExit(f"input {name!r} must be [T, B, *{shape}], got {arrays[name].shape}")
    return {name: torch.from_numpy(arrays[name].astype(model.dtype)) for name in model.inputs}


def write_results(path: str, arrays: Mapping[str, Any], sums: Mapping[str, float]) -> None:
    """Write results in numbered entries: names may hold characters that archives treat as paths."""
    import numpy as np

    entries: dict[str, Any] = {f"array_{i}": y for i, y in enumerate(arrays.values())}
    np.savez(
        path, names=np.array(list(arrays)), spike_nodes=np.array(list(sums)),
        spike_sums=np.array(list(sums.values())), **entries,
    )  # fmt: skip


def main() -> None:
    """Run the network on a file."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("input", help="a .npy, or a .npz with one array per input")
    parser.add_argument("-o", "--output", default="output.npz", help="default: output.npz")
    parser.add_argument("--record", action="append", default=[], metavar="NODE")
    parser.add_argument("--backend", default="auto", choices=["auto", "eager", "c", "triton"])
    arguments = parser.parse_args()
    net = load(arguments.backend)
    check_record(net.model, arguments.record)
    with torch.no_grad():
        inputs = read_inputs(arguments.input, net.model)
        sums: dict[str, float] = {}
        outputs, values, _ = net.simulate(inputs, arguments.record, sums=sums)
    arrays = {f"output/{name}": y.numpy() for name, y in outputs.items()}
    arrays |= {f"record/{name}": values[name].numpy() for name in arguments.record}
    write_results(arguments.output, arrays, sums)
    print(json.dumps({name: list(y.shape) for name, y in outputs.items()}))
