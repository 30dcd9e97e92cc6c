"""The command line of an emitted folder; copied into it after the engine."""

from __future__ import annotations

import argparse
import difflib
import json
import pathlib
import struct
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snnir.network import Model, Step
from snnir.targets.xla_sim.engine import Program
from snnir.targets.xla_sim.host import Simulator, precision

# What the part of the folder's file before this one defines.
MODEL = Model((), {}, {}, {})
STEPS: dict[str, Step] = {}
KERNELS: dict[str, Any] = {}
EXACT = True
WEIGHTS, EXPORTED = "weights.safetensors", "forward.jax_export"

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


def read_weights(path: pathlib.Path) -> dict[str, Any]:
    """Return the tensors of a safetensors file, without that package."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    found = {}
    for name, facts in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            first, last = (8 + length + at for at in facts["data_offsets"])
            flat = np.frombuffer(data[first:last], _DTYPES[facts["dtype"]])
            found[name] = flat.reshape(facts["shape"])
    return found


def whole(tensors: dict[str, Any]) -> dict[str, Any]:
    """Return the tensors of whole numbers that shape the program: delays per element."""
    names = [u.tensors["steps"] for u in MODEL.units.values() if "steps" in u.tensors]
    return {name: tensors[name] for name in names}


def load() -> Simulator:
    """Return the network with the weights beside this file."""
    tensors = read_weights(pathlib.Path(__file__).parent / WEIGHTS)
    constants = whole(tensors)
    program = Program(MODEL, STEPS, KERNELS, constants)
    rest = {name: value for name, value in tensors.items() if name not in constants}
    return Simulator(program, rest, EXACT)


def exported(inputs: dict[str, Any]) -> dict[str, Any]:
    """Run the exported program, which needs nothing of this file but its weights."""
    from jax import export

    net = load()
    data = (pathlib.Path(__file__).parent / EXPORTED).read_bytes()
    with precision(net.wide):
        program = export.deserialize(bytearray(data))
        given = {name: jnp.asarray(x) for name, x in inputs.items()}
        outputs = program.call(net.tensors, net.low, given)
    return {name: np.asarray(y) for name, y in outputs.items()}


def check_record(record: list[str]) -> None:
    """Exit with a message at the first name that is no value and no `node:state`."""
    units = MODEL.units.values()
    known = [*MODEL.inputs, *(name for unit in units for name in unit.results)]
    known += [f"{unit.name}:{key}" for unit in units for key in unit.initial]
    for name in record:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.3)
            hint = f"; did you mean {', '.join(map(repr, close))}?" if close else ""
            raise SystemExit(f"there is nothing called {name!r} to record{hint}")


def read_inputs(path: str) -> dict[str, Any]:
    """Read one array, or one per input name, as [time, batch, *shape]."""
    data = np.load(path, allow_pickle=False)
    arrays = dict(data) if hasattr(data, "files") else {next(iter(MODEL.inputs)): data}
    if "names" in arrays and arrays["names"].dtype.kind == "U":
        arrays = {str(n): arrays[f"array_{i}"] for i, n in enumerate(arrays["names"])}
    for name, shape in MODEL.inputs.items():
        if name not in arrays:
            raise SystemExit(f"input {name!r} is not in {path}")
        if arrays[name].shape[1:] == shape:
            arrays[name] = arrays[name][:, None]
        if arrays[name].shape[2:] != shape:
            raise SystemExit(f"input {name!r} must be [T, B, *{shape}], got {arrays[name].shape}")
    return {name: arrays[name].astype(MODEL.dtype) for name in MODEL.inputs}


def main() -> None:
    """Run the network on a file."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("input", help="a .npy, or a .npz with one array per input")
    parser.add_argument("-o", "--output", default="output.npz", help="default: output.npz")
    parser.add_argument("--record", action="append", default=[], metavar="NODE")
    parser.add_argument("--exported", action="store_true", help=f"run {EXPORTED}; no records")
    arguments = parser.parse_args()
    check_record(arguments.record)
    inputs = read_inputs(arguments.input)
    records: dict[str, Any] = {}
    sums: dict[str, float] = {}
    if arguments.exported:
        if arguments.record:
            raise SystemExit("the exported program has outputs only")
        outputs = exported(inputs)
    else:
        outputs, records, sums = load().run(inputs, arguments.record)
    arrays = {f"output/{name}": y for name, y in outputs.items()}
    arrays |= {f"record/{name}": y for name, y in records.items()}
    # Numbered entries: names may hold characters that archives treat as paths.
    entries: dict[str, Any] = {f"array_{i}": y for i, y in enumerate(arrays.values())}
    np.savez(
        arguments.output, names=np.array(list(arrays)), spike_nodes=np.array(list(sums)),
        spike_sums=np.array(list(sums.values())), **entries,
    )  # fmt: skip
    print(json.dumps({name: list(y.shape) for name, y in outputs.items()}), jax.default_backend())
