"""The ends of a NIR graph: inputs and outputs that are there, missing, or of a doubtful shape."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from snnir.frontends.nir_hdf5 import RawNode
from snnir.frontends.nir_nodes import SUPPORTED
from snnir.frontends.nir_notes import Notes
from snnir.frontends.nir_structure import Flat
from snnir.ir.names import fresh_name

Shape = tuple[int, ...]


def complete_ports(flat: Flat, notes: Notes) -> None:
    """Check node types, add missing inputs and outputs, and settle the shape of every input."""
    for name, node in flat.nodes.items():
        if node.type not in SUPPORTED:
            hint = f"known types: {', '.join(sorted(SUPPORTED - {'NIRGraph'}))}"
            notes.fail("SNN106", f"node type '{node.type}' is not a NIR type", name, hint)
    if not flat.nodes:
        notes.fail("SNN102", "the graph has no connected nodes")
    if notes.errors:
        return
    _add_inputs(flat, notes)
    _add_outputs(flat, notes)
    targets = flat.targets()
    for name, node in flat.nodes.items():
        if node.type == "Input":
            shape = _input_shape(flat, name, targets[name], notes)
            node.fields["shape"] = np.array(shape, np.int64)


def _add_inputs(flat: Flat, notes: Notes) -> None:
    for name in [n for n, sources in flat.sources.items() if not sources]:
        if flat.nodes[name].type != "Input":
            port = fresh_name(f"input_{name}", flat.nodes)
            flat.nodes[port] = RawNode(port, "Input")
            flat.sources[port] = []
            flat.sources[name] = [port]
            notes.assume("nothing feeds it; an input was added", name)
    if all(node.type != "Input" for node in flat.nodes.values()):
        # Without any input nothing says how many steps to run.
        _add_clock(flat, notes)


def _add_clock(flat: Flat, notes: Notes) -> None:
    name = next((n for n, node in sorted(flat.nodes.items()) if _population(node)), None)
    if name is None:
        notes.fail("SNN102", "the graph has no input, and nothing says of what shape one could be")
        return
    port = fresh_name(f"input_{name}", flat.nodes)
    flat.nodes[port] = RawNode(port, "Input")
    flat.sources[port] = []
    flat.sources[name] = [port, *flat.sources[name]]
    notes.assume("the graph has no input; one was added that adds to its current", name)


def _add_outputs(flat: Flat, notes: Notes) -> None:
    if any(node.type == "Output" for node in flat.nodes.values()):
        return
    targets = flat.targets()
    leaves = [n for n, users in targets.items() if not users and flat.nodes[n].type != "Input"]
    leaves = leaves or [n for n, node in flat.nodes.items() if _population(node)]
    if not leaves:
        notes.fail("SNN102", "the graph has no output")
    for leaf in leaves:
        port = fresh_name("output" if len(leaves) == 1 else f"output_{leaf}", flat.nodes)
        flat.nodes[port] = RawNode(port, "Output")
        flat.sources[port] = [leaf]
        notes.assume("nothing reads it; an output was added", leaf)


def _population(node: RawNode) -> Shape:
    """Return the shape a neuron's own parameters give it, () if they do not."""
    for key in ("v_threshold", "r", "v_leak", "tau", "tau_mem", "threshold"):
        value = node.fields.get(key)
        if value is not None and not isinstance(value, str) and value.size > 1:
            return tuple(value.shape)
    return ()


def _required(node: RawNode) -> tuple[Shape | None, int | None]:
    """Return what a node needs of its input: a full shape, or only a number of channels."""
    weight: Any = node.fields.get("weight")
    if node.type in ("Affine", "Linear") and getattr(weight, "ndim", 0) >= 2:
        return (int(weight.shape[-1]),), None
    if node.type in ("Conv1d", "Conv2d") and getattr(weight, "ndim", 0) >= 3:
        groups: Any = node.fields.get("groups", np.array(1))
        single = not isinstance(groups, str) and groups.size == 1
        channels = int(weight.shape[1]) * (int(groups.item()) if single else 1)
        space = node.fields.get("input_shape")
        rank = weight.ndim - 2
        if space is None or isinstance(space, str) or space.size not in (rank, rank + 1):
            # Only the two spatial axes of images can be told from a channel axis.
            return None, channels if rank == 2 else None
        return (channels, *(int(n) for n in np.atleast_1d(space).ravel()[-rank:])), channels
    return _population(node) or None, None


def _input_shape(flat: Flat, name: str, users: list[str], notes: Notes) -> Shape:
    declared = _declared(flat.nodes[name])
    wanted: Shape | None = None
    channels: int | None = None
    user = ""
    for user in users:
        wanted, channels = _required(flat.nodes[user])
        if wanted or channels:
            break
    if declared is None:
        if wanted is None:
            notes.fail("SNN104", "the input has no shape, and nothing it feeds implies one", name)
            return (1,)
        notes.assume(f"the input has no shape; took {list(wanted)}", name)
        return wanted
    if wanted is None:
        return _with_channels(declared, channels, name, notes)
    if _looks_transposed(flat, user, declared):
        return declared
    return _reconciled(declared, wanted, name, user, notes)


def _looks_transposed(flat: Flat, user: str, declared: Shape) -> bool:
    """Whether a linear layer fits its input, and what follows it, only with its weights turned."""
    node = flat.nodes[user]
    weight: Any = node.fields.get("weight")
    if node.type not in ("Affine", "Linear") or getattr(weight, "ndim", 0) != 2:
        return False
    turned_in, turned_out = weight.shape
    if turned_in == turned_out or declared[-1:] != (turned_in,):
        return False
    bias = node.fields.get("bias")
    after = [_population(flat.nodes[n]) for n in flat.targets()[user]]
    sizes = [prod(shape) for shape in after if shape]
    if bias is not None and not isinstance(bias, str) and bias.size > 1:
        sizes.append(int(bias.size))
    return bool(sizes) and all(size == turned_out for size in sizes)


def _declared(node: RawNode) -> Shape | None:
    value = node.fields.get("shape")
    if value is None or isinstance(value, str) or value.dtype.kind not in "iuf" or value.size > 16:
        return None
    flat = np.atleast_1d(value).ravel()
    return tuple(int(n) for n in flat) if np.all(np.isfinite(flat)) else None


def _with_channels(declared: Shape, channels: int | None, name: str, notes: Notes) -> Shape:
    if channels is not None and len(declared) == 4 and declared[1] == channels:
        notes.assume(f"a leading axis of {declared[0]} in the input's shape is dropped", name)
        return declared[1:]
    if channels is not None and len(declared) == 2:
        notes.assume(f"the input's shape lacks the channel axis of {channels}", name)
        return (channels, *declared)
    return declared


def _reconciled(declared: Shape, wanted: Shape, name: str, user: str, notes: Notes) -> Shape:
    if declared == wanted or (prod(declared) == 1 and prod(wanted) == 1):
        return wanted
    extra = len(declared) - len(wanted)
    if extra > 0 and declared[extra:] == wanted:
        lead = list(declared[:extra])
        axis = "batch" if prod(lead) == 1 else "time or batch"
        notes.assume(f"leading {axis} axes {lead} in the input's shape are dropped", name)
        return wanted
    if declared == wanted[1:]:
        notes.assume(f"the input's shape lacks the channel axis of {wanted[0]}", name)
        return wanted
    notes.assume(
        f"the input declares shape {list(declared)}, but '{user}' takes {list(wanted)}, which "
        "was used",
        name,
    )
    return wanted
