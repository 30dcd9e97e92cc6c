"""Random numbers in C."""

from __future__ import annotations

from snnir.ir.graph import Node, Value
from snnir.ir.random import Uniform
from snnir.targets.native.learning_c import THREEFRY
from snnir.targets.native.nodes import record_row
from snnir.targets.native.pooled import exchange_plain
from snnir.targets.native.writer import Body, Writer, rows


def write_draws(writer: Writer, node: Node) -> None:
    """Add the function that draws numbers, and `_count`, which counts the steps of a tile."""
    op, value, layout = node.op, Value(node.name), writer.layout
    assert isinstance(op, Uniform)
    name, size, kind = layout.names[node.name], layout.size(value), layout.ctype(value)
    writer.kernels.setdefault("snn_threefry", THREEFRY)
    body = Body()
    with rows(body):
        body.add(f"const uint32_t step = (uint32_t)(r->lasting->{name}_step + t);")
        body.add(f"{kind} *const y = r->{writer.buffer(value)} + row * {size};")
        with body.block(f"for (long i = 0; i < {size}; i++)"):
            place = f"(uint32_t)(b * {size} + i)"
            body.add(f"const uint32_t word = snn_threefry({op.seed}u, step, {place});")
            body.add(f"y[i] = ({kind})((word >> 8) + 1) * ({kind}){(2.0**-24).hex()};")
        record_row(writer, body, node.name, "y", size)
    writer.function(name, body)
    count = Body()
    steps = f"r->lasting->{name}_step"
    count.add(f"{steps} = ({steps} + (g.t1 - g.t0)) & 0xFFFFFFFF;")
    writer.function(f"{name}_count", count)
    writer.lasting.append(f"int64_t {name}_step;")
    writer.starts.append(f"lasting->{name}_step = {op.step};")
    exchange_plain(writer, f"{node.name}:step", f"{name}_step", "int64_t", (), 1)
