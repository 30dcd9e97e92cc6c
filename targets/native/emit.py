"""Putting a C program together."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from math import prod

from snnir.artefact import populations
from snnir.c_values import HELPERS
from snnir.dynamics.c_source import c_number
from snnir.embedding import plain_text
from snnir.ir.graph import Value
from snnir.targets.native.kernels_c import EVENTS, LOWEST, VECTOR
from snnir.targets.native.lasting_c import (
    LASTING_FUNCTIONS,
    LASTING_TYPE,
    lasting_functions,
    lasting_struct,
    lasts,
)
from snnir.targets.native.program import SPLITS, Port, Program
from snnir.targets.native.sizes import sizes
from snnir.targets.native.writer import Body, Writer, indented, padded


def emitted(program: Program, name: str) -> dict[str, str]:
    """Return header and source of a program."""
    return {
        "snn.h": _header(program, name),
        "snn.c": _source(program, name),
        "main.c": main_source(program),
    }


def main_source(program: Program) -> str:
    """Return a program for the command line that runs the network on raw files."""
    inputs, outputs = program.inputs, program.outputs
    names = " ".join(f"{port.member}.raw" for port in (*inputs, *outputs))
    reads = [
        f"io.{port.member} = slurp(argv[{k}], {_bytes(port)});" for k, port in enumerate(inputs, 3)
    ]
    rooms, writes = [], []
    if lasts(program):
        rooms = ["io.lasting = room(snn_lasting_size());", "snn_start(io.lasting, weights);"]
        writes = ["snn_end(io.lasting, weights);"]
    for k, port in enumerate(outputs, 3 + len(inputs)):
        size = _bytes(port)
        rooms.append(f"io.{port.member} = room({size});")
        writes.append(f"dump(argv[{k}], io.{port.member}, {size});")
    return _MAIN.format(
        names=names, count=3 + len(inputs) + len(outputs),
        reads="\n".join(indented([*reads, *rooms])), writes="\n".join(indented(writes)),
        weights="NULL" if program.writer.embedded else
            f'slurp("{WEIGHTS}", {weight_bytes(program)})',
    )  # fmt: skip


#: File with the weights.
WEIGHTS = "weights.bin"

_MAIN = """/* Runs the network beside this file on raw arrays [steps][batch][...]:
 *
 *     ./snn STEPS BATCH {names}
 */
#include <stdio.h>
#include <stdlib.h>

#include "snn.h"

static void *room(size_t bytes)
{{
    char *const p = malloc(bytes + 64);
    if (!p) exit(EXIT_FAILURE);
    return p + (64 - (uintptr_t)p % 64) % 64; /* never given back: the program ends */
}}

static void *slurp(const char *path, size_t bytes)
{{
    void *const data = room(bytes);
    FILE *const file = fopen(path, "rb");
    if (!file || fread(data, 1, bytes, file) != bytes) {{
        fprintf(stderr, "%s: cannot be read, or is shorter than %zu bytes\\n", path, bytes);
        exit(EXIT_FAILURE);
    }}
    fclose(file);
    return data;
}}

static void dump(const char *path, const void *data, size_t bytes)
{{
    FILE *const file = fopen(path, "wb");
    if (!file || fwrite(data, 1, bytes, file) != bytes || fclose(file)) {{
        fprintf(stderr, "%s: cannot be written\\n", path);
        exit(EXIT_FAILURE);
    }}
}}

int main(int argc, char **argv)
{{
    const long steps = argc == {count} ? atol(argv[1]) : 0, batch = steps > 0 ? atol(argv[2]) : 0;
    if (batch < 1) {{
        fprintf(stderr, "usage: %s STEPS BATCH {names}\\n", argv[0]);
        return EXIT_FAILURE;
    }}
    const size_t rows = (size_t)steps * (size_t)batch;
    const void *const weights = {weights};
    snn_io io = {{0}};
{reads}
    snn_state *const state = room(snn_state_size() * (size_t)batch);
    snn_reset(state, batch, weights);
    snn_run(state, steps, batch, weights, &io, room(snn_work_size(steps, batch, 1)));
{writes}
    return EXIT_SUCCESS;
}}
"""


def weight_bytes(program: Program) -> int:
    """Return the size of the weights file."""
    return sum(padded(array.nbytes) for array in program.writer.weights.values())


def _bytes(port: Port) -> str:
    return f"rows * {prod(port.shape)} * sizeof *io.{port.member}"


def _shape(port: Port) -> str:
    return "".join(f"[{extent}]" for extent in port.shape)


def _header(program: Program, name: str) -> str:
    io = [
        f"    {const}{port.ctype} *{port.member}; /* [steps][batch]{_shape(port)}{_unit(port)} */"
        for const, side in (("const ", program.inputs), ("", program.outputs))
        for port in side
    ]
    io += ["    snn_lasting *lasting; /* what outlives the run; it changes */"] * lasts(program)
    graph, embedded = program.graph, program.writer.embedded
    late = ""
    if graph.record_offset:
        late = f"\n *\n * The source reports its outputs {graph.record_offset} step(s) later."
    known = graph.dt is not None
    length = f"One step is {graph.dt} s." if known else "The length of a step is not given."
    return _HEADER.format(
        name=plain_text(name), length=length, late=late + (_memory(program) if embedded else ""),
        stages=len(program.calls()),
        records=max(1, len(program.writer.records)), io="\n".join(io),
        structures=f"\n{_structures(program)}" if embedded else "",
        lasting=LASTING_TYPE if lasts(program) else "",
        lasting_functions=LASTING_FUNCTIONS if lasts(program) else "",
        step=_step_declaration(program) if embedded else "",
        host_begin="#ifdef SNN_HOST\n" if embedded else "",
        host_end="\n#endif" if embedded else "",
    )  # fmt: skip


def _memory(program: Program) -> str:
    """Return what every node needs, as lines of a comment."""
    found = [size for size in sizes(program) if size.flash or size.ram]
    width = max((len(plain_text(size.node)) for size in found), default=0)
    lines = [
        "",
        " *",
        " * Bytes without code and pointers:",
        f" *   {'':{width}}  {'flash':>9}  {'RAM':>9}",
    ]
    lines += [f" *   {plain_text(s.node):{width}}  {s.flash:>9,}  {s.ram:>9,}" for s in found]
    flash, ram = (sum(getattr(size, key) for size in found) for key in ("flash", "ram"))
    return "\n".join([*lines, f" *   {'':{width}}  {flash:>9,}  {ram:>9,}"])


def _unit(port: Port) -> str:
    return "" if port.readout is None else "; see readout.json"


def _step_declaration(program: Program) -> str:
    align = 8
    sizes = [f"SNN_UP({n} * sizeof({kind}))" for _, kind, n in _pieces(program, "1", "1")]
    lines = " + \\\n     ".join(["SNN_UP(sizeof(snn_net))", *sizes])
    return f"""
/* The same for one sample and one step, with memory of fixed size. */
#define SNN_UP(bytes) (((bytes) + {align - 1}) / {align} * {align})
#define SNN_WORK_BYTES \\
    ({lines})

typedef union {{
    snn_net net;
    int64_t aligned;
    unsigned char bytes[SNN_WORK_BYTES];
}} snn_work;

void snn_step(snn_state *state, const snn_io *io, snn_work *work);
"""


_HEADER = """/* A spiking network in C99, written by snnir: {name}
 *
 * Nothing is allocated and nothing is global but constants: any number of networks run at once.
 * A state is one sample; `snn_reset` puts it at rest, a run goes on from where it is.
 * {length}{late}
 */
#ifndef SNN_H
#define SNN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define SNN_STAGES {stages}
#define SNN_RECORDS {records}

typedef struct snn_state snn_state;

{lasting}/* What comes in and goes out; spikes are 0 or 1. */
typedef struct {{
{io}
#ifdef SNN_RECORD
    double *const *record; /* by the number in model.py; [steps][batch][...], or NULL */
#endif
}} snn_io;
{structures}{lasting_functions}
/* Bytes of the state of one sample. */
size_t snn_state_size(void);

/* Puts samples at rest. `weights` is the content of the weights file, 64-byte aligned, or NULL
 * where weights are in the program. */
void snn_reset(snn_state *state, long batch, const void *weights);

/* Bytes of memory that a run of so many steps of so many samples uses, on so many threads. */
size_t snn_work_size(long steps, long batch, long parts);

/* Runs all samples; `work` is aligned as the weights are. */
void snn_run(snn_state *state, long steps, long batch, const void *weights, const snn_io *io,
             void *work);
{step}
/* The same in pieces: `snn_begin`, then each stage in turn; the parts of a stage are independent
 * of each other and may run at once. */
void snn_begin(snn_state *state, long steps, long batch, long parts, const void *weights,
               const snn_io *io, void *work);
void snn_stage(void *work, int stage, long part, long parts);

{host_begin}/* Adds to each total how many spikes a population fired in the last run. */
void snn_count(const void *work, double *totals);{host_end}

#ifdef __cplusplus
}}
#endif
#endif
"""


def _source(program: Program, name: str) -> str:
    writer, embedded = program.writer, program.writer.embedded
    real = any(kind in ("float", "double") for kind in program.kinds())
    parts = [
        f"/* {plain_text(name)}: see snn.h. Compile with -std=c99 -O3 -ffp-contract=off. */",
        '#include "snn.h"',
        "",
        *(["#include <math.h>"] if real else []),
        *([_MEMORY] if embedded else ["#include <string.h>"]),
        "",
        *([] if embedded else [VECTOR, "", _structures(program)]),
        *([LOWEST] if writer.events else []),
        *(HELPERS[helper] for helper in HELPERS if helper in writer.helpers),
        "",
        *(constants(program) if embedded else _weights(program)),
        "",
        *writer.kernels.values(),
        *writer.functions,
        *(program.write_loop(loop) for loop in program.loops),
        *([] if embedded else ["#define SNN_UP(bytes) (((bytes) + 63) / 64 * 64)\n"]),
        _begin(program),
        _work_size(program),
        _reset(program),
        *lasting_functions(program),
        _stages(program),
        *([_STEP, "#ifdef SNN_HOST"] if embedded else []),
        _count(program),
        *(["#endif"] if embedded else []),
    ]
    return "\n".join(parts) + "\n"


_MEMORY = """\
/* All that is needed of a C library, and that compilers need anyway. */
void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memset(void *to, int value, size_t bytes);"""

_STEP = """void snn_step(snn_state *state, const snn_io *io, snn_work *work)
{
    snn_run(state, 1, 1, NULL, io, work);
}
"""


def constants(program: Program) -> list[str]:
    """Return every array of weights as a constant."""
    lines = []
    for name, array in program.writer.weights.items():
        lines.append(f"static const {Writer.kind(array)} {name}[{max(1, array.size)}] = {{")
        values = [_constant(value) for value in array.reshape(-1).tolist()] or ["0"]
        lines += [f"    {line}" for line in textwrap.wrap(", ".join(values), 94)]
        lines += ["};"]
    return lines


def _constant(value: float) -> str:
    return str(value) if isinstance(value, int) else c_number(value, "float")


def _structures(program: Program) -> str:
    writer = program.writer
    inputs = {program.layout.ident(port.value) for port in program.inputs}
    members = ["snn_state *state;", "long batch, steps;", "const unsigned char *weights;"]
    members.append("const snn_io *io;")
    for name, (kind, _) in writer.buffers.items():
        members.append(f"{'const ' if name in inputs else ''}{kind} *{name};")
    rooms = {**writer.scratch, **writer.by_row}
    members += [f"{kind} *{name};" for name, (kind, _) in rooms.items()]
    members += [f"snn_events {name};" for name in writer.events]
    members += ["snn_lasting *lasting;"] * lasts(program)
    members += ["#ifdef SNN_RECORD", "double *const *record;", "#endif"]
    widest = max([size for _, size in writer.events.values()], default=1)
    lines = [f"typedef {'uint16_t' if widest <= 2**16 else 'int32_t'} snn_index;", ""]
    lines += [EVENTS] if writer.events else []
    lines += ["struct snn_state {", *indented(writer.state or ["char nothing;"]), "};", ""]
    lines += lasting_struct(program)
    lines += ["/* A run: where everything lies. */", "typedef struct {", *indented(members)]
    lines += ["} snn_net;", ""]
    lines += ["/* Samples b0 to b1, steps t0 to t1, blocks of neurons q0 to q1. */"]
    lines += ["typedef struct {", "    long b0, b1, t0, t1, q0, q1, part;", "} snn_range;", ""]
    return "\n".join(lines)


def weight_offsets(program: Program) -> dict[str, int]:
    """Return where each array lies in the weights file."""
    found, at = {}, 0
    for name, array in program.writer.weights.items():
        found[name] = at
        at += padded(array.nbytes)
    return found


def _weights(program: Program) -> list[str]:
    at, arrays = weight_offsets(program), program.writer.weights
    return [
        f"#define {name} ((const {Writer.kind(array)} *)(const void *)(r->weights + {at[name]}))"
        for name, array in arrays.items()
    ]


def _pieces(
    program: Program, rows: str = "rows", parts: str = "(size_t)parts"
) -> Iterator[tuple[str, str, str]]:
    """Yield (pointer, type, number of elements) of everything in the memory of a run."""
    writer = program.writer
    inputs = {program.layout.ident(port.value) for port in program.inputs}
    for name, (kind, size) in writer.buffers.items():
        if name not in inputs and name not in program.direct:
            yield name, kind, f"{rows} * {size}"
    for name, (kind, size) in writer.scratch.items():
        yield name, kind, f"{parts} * {size}"
    for name, (kind, size) in writer.by_row.items():
        yield name, kind, f"{parts} * {rows} * {size}"
    for name, (kind, size) in writer.events.items():
        yield f"{name}.begin", "long", rows
        yield f"{name}.end", "long", rows
        yield f"{name}.index", "snn_index", f"({rows} * {size} + 8)"
        if kind != "uint8_t":
            yield f"{name}.plain", "uint8_t", rows


def _begin(program: Program) -> str:
    body = Body()
    body.add(
        "snn_net *const r = work;",
        "unsigned char *p = (unsigned char *)work + SNN_UP(sizeof *r);",
        "const size_t rows = (size_t)(steps * batch);",
        "(void)rows;",
        "(void)p;",
        "(void)parts;",
    )
    body.add(*(f"r->{name} = {name};" for name in ("state", "steps", "batch", "weights", "io")))
    for port in program.inputs:
        body.add(f"r->{program.layout.ident(port.value)} = io->{port.member};")
    body.add(*(f"r->{value} = io->{member};" for value, member in program.direct.items()))
    for name, kind, count in _pieces(program):
        body.add(f"r->{name} = ({kind} *)(void *)p;")
        body.add(f"p += SNN_UP({count} * sizeof *r->{name});")
    body.add(*["r->lasting = io->lasting;"] * lasts(program))
    body.extend(["#ifdef SNN_RECORD"])
    body.add("r->record = io->record;")
    body.extend(["#endif"])
    head = """void snn_begin(snn_state *state, long steps, long batch, long parts,
               const void *weights, const snn_io *io, void *work)"""
    return "\n".join([head, "{", *indented(body), "}", ""])


def _work_size(program: Program) -> str:
    sizes = (f"bytes += SNN_UP({n} * sizeof({kind}));" for _, kind, n in _pieces(program))
    body = [
        "const size_t rows = (size_t)(steps * batch);",
        "size_t bytes = SNN_UP(sizeof(snn_net));",
        "(void)rows;",
        "(void)parts;",
        *sizes,
        "return bytes;",
    ]
    head = "size_t snn_work_size(long steps, long batch, long parts)"
    return "\n".join([head, "{", *indented(body), "}", ""])


def _reset(program: Program) -> str:
    resets = program.writer.resets
    loop = [
        "for (long b = 0; b < batch; b++) {",
        "    snn_state *const state = states + b;",
        *indented(resets),
        "}",
    ]
    body = ["memset(states, 0, (size_t)batch * sizeof *states);", *(loop if resets else [])]
    lines = ["size_t snn_state_size(void) { return sizeof(snn_state); }", ""]
    if not program.writer.embedded and any(re.search(r"\bw\d+_", line) for line in resets):
        body.insert(0, "const struct { const unsigned char *weights; } net = {weights}, *r = &net;")
    else:
        body.insert(0, "(void)weights;")
    lines += ["void snn_reset(snn_state *states, long batch, const void *weights)", "{"]
    return "\n".join([*lines, *indented(body), "}", ""])


def _stages(program: Program) -> str:
    cases = []
    for number, stage in enumerate(program.calls()):
        part = f"snn_part(r, {SPLITS[stage.split]}, {stage.blocks}, part, parts)"
        cases.append(f"case {number}: {stage.function}(r, {part}); break;")
    return f"""enum {{ SNN_BY_BLOCK, SNN_BY_STEP, SNN_BY_SAMPLE, SNN_BY_NEURON, SNN_ALONE }};

/* The share of a stage that one of its parts does. */
static snn_range snn_part(const snn_net *r, int how, long blocks, long part, long parts)
{{
    snn_range g = {{0, r->batch, 0, r->steps, 0, blocks, part}};
    if (how == SNN_BY_STEP) {{
        g.t0 = r->steps * part / parts;
        g.t1 = r->steps * (part + 1) / parts;
    }} else if (how == SNN_ALONE) {{
        g.t1 = part ? 0 : g.t1;
    }} else if (how == SNN_BY_NEURON || (how == SNN_BY_BLOCK && blocks >= parts)) {{
        g.q0 = blocks * part / parts;
        g.q1 = blocks * (part + 1) / parts;
    }} else {{
        g.b0 = r->batch * part / parts;
        g.b1 = r->batch * (part + 1) / parts;
    }}
    return g;
}}

void snn_stage(void *work, int stage, long part, long parts)
{{
    const snn_net *const r = work;
    switch (stage) {{
{chr(10).join(indented(cases))}
    default: break;
    }}
}}

void snn_run(snn_state *state, long steps, long batch, const void *weights, const snn_io *io,
             void *work)
{{
    snn_begin(state, steps, batch, 1, weights, io, work);
    for (int stage = 0; stage < SNN_STAGES; stage++) snn_stage(work, stage, 0, 1);
}}
"""


def _count(program: Program) -> str:
    layout, graph = program.layout, program.graph
    found = {Value(name): size for name, size in populations(graph).items()}
    totals = [_TOTALS[kind] for kind in sorted({layout.ctype(v) for v in found})]
    body = [
        "const snn_net *const r = work;",
        "const long rows = r->steps * r->batch;",
        "(void)rows;",
        "(void)totals;",
    ]
    for number, (value, size) in enumerate(found.items()):
        kind = layout.ctype(value)
        function = f"snn_total_{kind}"
        member = program.writer.buffer(value)
        body.append(f"totals[{number}] += {function}(r->{member}, rows * {size});")
    head = ["void snn_count(const void *work, double *totals)", "{"]
    return "\n".join([*totals, *head, *indented(body), "}", ""])


def _total(kind: str) -> str:
    return f"""static double snn_total_{kind}(const {kind} *x, long n)
{{
    double total = 0;
    for (long i = 0; i < n; i++) total += (double)x[i];
    return total;
}}
"""


#: Functions that add up a population, by type; bytes are added up in groups.
_TOTALS = {
    **{kind: _total(kind) for kind in ("float", "double", "int32_t", "int64_t")},
    "uint8_t": """static double snn_total_uint8_t(const uint8_t *x, long n)
{
    long total = 0;
    for (long i = 0; i < n;) {
        const long end = n - i < 4096 ? n : i + 4096;
        uint32_t part = 0;
        for (; i < end; i++) part += x[i];
        total += (long)part;
    }
    return (double)total;
}
""",
}
