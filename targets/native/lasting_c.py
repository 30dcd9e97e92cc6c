"""What outlives a run, in C: its struct, and the functions that start, end and exchange it."""

from __future__ import annotations

import re

from snnir.targets.native.program import Program
from snnir.targets.native.writer import indented

LASTING_TYPE = """\
/* What all samples share and outlives a run, such as weights that learn. */
typedef struct snn_lasting snn_lasting;

"""

LASTING_FUNCTIONS = """
/* Bytes of what outlives a run. */
size_t snn_lasting_size(void);

/* Puts it as the network has it. */
void snn_start(snn_lasting *lasting, const void *weights);

/* Ends a run, however many calls of snn_run it took: weights are normalised if they are to be. */
void snn_end(snn_lasting *lasting, const void *weights);

/* Copies one state out and in, by the number in model.py. */
void snn_get(const snn_lasting *lasting, int which, void *to);
void snn_put(snn_lasting *lasting, int which, const void *from);
"""


def lasts(program: Program) -> bool:
    """Whether anything outlives a run."""
    return bool(program.writer.lasting)


def lasting_struct(program: Program) -> list[str]:
    """Return the lines of the struct, if there is one."""
    if not lasts(program):
        return []
    return ["struct snn_lasting {", *indented(program.writer.lasting), "};", ""]


def lasting_functions(program: Program) -> list[str]:
    """Return the functions, if anything outlives a run."""
    if not lasts(program):
        return []
    writer = program.writer
    start = ["memset(lasting, 0, sizeof *lasting);", *writer.starts]
    return [
        "size_t snn_lasting_size(void) { return sizeof(snn_lasting); }\n",
        _function("void snn_start(snn_lasting *lasting, const void *weights)", _reading(start)),
        _function("void snn_end(snn_lasting *lasting, const void *weights)", _reading(writer.ends)),
        _exchange(program, "void snn_get(const snn_lasting *lasting, int which, void *to)", "get"),
        _exchange(
            program, "void snn_put(snn_lasting *lasting, int which, const void *from)", "put"
        ),
    ]


def _exchange(program: Program, head: str, side: str) -> str:
    cases = []
    for number, exchange in enumerate(program.writer.exchanged.values()):
        statements = " ".join(getattr(exchange, side))
        cases.append(f"case {number}: {statements} break;")
    return _function(head, ["switch (which) {", *cases, "default: break;", "}"])


def _reading(lines: list[str]) -> list[str]:
    """Return statements that may read weights."""
    if any(re.search(r"\bw\d+_", line) for line in lines):
        return [
            "const struct { const unsigned char *weights; } net = {weights}, *r = &net;",
            *lines,
        ]
    return ["(void)lasting;", "(void)weights;", *lines]


def _function(head: str, lines: list[str]) -> str:
    return "\n".join([head, "{", *indented(lines), "}", ""])
