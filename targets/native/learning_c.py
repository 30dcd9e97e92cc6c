"""The C of learning that is the same for every network: sums, layouts, random numbers."""

from __future__ import annotations

from snnir.kernels_learning import PARITY, ROTATIONS


def swaps(kind: str, lanes: int) -> str:
    """Return the functions that change the layout of weights of a type."""
    return f"""/* Weights [blocks][inputs][{lanes}] as [neurons][inputs], and back. */
static void snn_unpack_{kind}_{lanes}(const {kind} *w, {kind} *to, long neurons, long inputs)
{{
    for (long from = 0; from < inputs; from += 16) {{
        const long end = from + 16 < inputs ? from + 16 : inputs;
        for (long i = 0; i < neurons; i++) {{
            const {kind} *const p = w + i / {lanes} * inputs * {lanes} + i % {lanes};
            for (long j = from; j < end; j++) to[i * inputs + j] = p[j * {lanes}];
        }}
    }}
}}

static void snn_pack_{kind}_{lanes}({kind} *w, const {kind} *from, long neurons, long inputs)
{{
    for (long start = 0; start < inputs; start += 16) {{
        const long end = start + 16 < inputs ? start + 16 : inputs;
        for (long i = 0; i < neurons; i++) {{
            {kind} *const p = w + i / {lanes} * inputs * {lanes} + i % {lanes};
            for (long j = start; j < end; j++) p[j * {lanes}] = from[i * inputs + j];
        }}
    }}
}}
"""


def ordered(kind: str, lanes: int) -> str:
    """Return a sum of sizes, one after the other."""
    return f"""/* out = the sizes of rows of weights, added up in order */
static void snn_sizes_{kind}_{lanes}(const {kind} *w, long rows, {kind} *out)
{{
    for (long i = 0; i < {lanes}; i++) out[i] = 0;
    for (long j = 0; j < rows; j++)
        for (long i = 0; i < {lanes}; i++) out[i] += {_abs(kind)}(w[j * {lanes} + i]);
}}
"""


def cascade(kind: str, lanes: int) -> str:
    """Return sums of sizes in the order of `snnir.kernels_learning.row_sums`."""
    size = _abs(kind)
    return f"""/* out = the sizes of n weights in rows that lie apart, by sums of 16, 256, ... */
static void snn_cascade_{kind}_{lanes}(const {kind} *w, long apart, long rows, long n, {kind} *out)
{{
    {kind} held[4][{lanes}] = {{{{0}}}};
    long count = 0;
    int bits = 0;
    for (long most = rows > 1 ? rows - 1 : 1; most; most >>= 1) bits++;
    const int power = bits > 16 ? (bits + 3) / 4 : 4;
    const long group = 1L << power;
    while (count + group <= rows) {{
        for (const long end = count + group; count < end; count++)
            for (long i = 0; i < n; i++) held[0][i] += {size}(w[count * apart + i]);
        for (int level = 1; level < 4; level++) {{
            for (long i = 0; i < n; i++) {{
                held[level][i] += held[level - 1][i];
                held[level - 1][i] = 0;
            }}
            if (count & ((group - 1) << (level * power))) break;
        }}
    }}
    for (; count < rows; count++)
        for (long i = 0; i < n; i++) held[0][i] += {size}(w[count * apart + i]);
    for (int level = 1; level < 4; level++)
        for (long i = 0; i < n; i++) held[0][i] += held[level][i];
    for (long i = 0; i < n; i++) out[i] = held[0][i];
}}

/* The same in four parts, of every fourth row each. */
static void snn_interleaved_{kind}_{lanes}(
    const {kind} *w, long apart, long rows, long n, {kind} *out)
{{
    {kind} part[{lanes}];
    const long each = rows / 4;
    for (long i = 0; i < n; i++) out[i] = 0;
    if (each) snn_cascade_{kind}_{lanes}(w, 4 * apart, each, n, out);
    for (long j = 4 * each; j < rows; j++)
        for (long i = 0; i < n; i++) out[i] += {size}(w[j * apart + i]);
    for (int k = 1; k < 4; k++) {{
        for (long i = 0; i < n; i++) part[i] = 0;
        if (each) snn_cascade_{kind}_{lanes}(w + k * apart, 4 * apart, each, n, part);
        for (long i = 0; i < n; i++) out[i] += part[i];
    }}
}}
"""


def _abs(kind: str) -> str:
    return "fabsf" if kind == "float" else "fabs"


def _rounds() -> str:
    lines = []
    for group in range(5):
        turns = (f"SNN_MIX(first, second, {turn})" for turn in ROTATIONS[group % 2])
        lines.append(f"    {'; '.join(turns)};")
        one, two = (group + 1) % 3, (group + 2) % 3
        lines.append(f"    first += key[{one}]; second += key[{two}] + {group + 1}u;")
    return "\n".join(lines)


THREEFRY = f"""/* The first word of Threefry-2x32 with 20 rounds. */
#define SNN_MIX(a, b, turn) (a) += (b); (b) = ((b) << (turn) | (b) >> (32 - (turn))) ^ (a)
static inline uint32_t snn_threefry(uint64_t seed, uint32_t step, uint32_t place)
{{
    const uint32_t low = (uint32_t)seed, high = (uint32_t)(seed >> 32);
    const uint32_t key[3] = {{low, high, low ^ high ^ 0x{PARITY:X}u}};
    uint32_t first = step + key[0], second = place + key[1];
{_rounds()}
    return first;
}}
"""
