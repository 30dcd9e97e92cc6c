"""The C that is the same for every network: events, and sums over them."""

from __future__ import annotations

from snnir.targets.native.host import TILE_ROWS

VECTOR = """\
#ifdef __AVX512F__
#include <immintrin.h>
#endif
/* Of long sums, whose registers are better given apart from those of the loops around them. */
#define SNN_APART __attribute__((noinline))
typedef float vec __attribute__((vector_size(64), aligned(4)));
typedef int16_t pairs __attribute__((vector_size(64), aligned(1)));
typedef uint16_t lower __attribute__((vector_size(64), aligned(1)));"""

EVENTS = """/* What is not zero in a row: at index[begin[row]] to index[end[row] - 1]. */
typedef struct {
    long *begin, *end;
    snn_index *index;
    uint8_t *plain; /* whether all of a row is 0 or 1 */
} snn_events;
"""


def lister(kind: str, vectors: bool) -> str:
    """Return the function that lists the events of rows of some type."""
    spikes = kind == "uint8_t"
    body = ["long k = 0;"]
    body += [] if spikes else ["int odd = 0;"]
    body += ["e->begin[row] = n;"]
    body += _COMPRESSED.splitlines() if spikes and vectors else []
    body += _WORDS.splitlines() if spikes else []
    body += ["for (; k < size; k++) {", "    e->index[n] = (snn_index)k;", "    n += x[k] != 0;"]
    body += [] if spikes else ["    odd |= x[k] != 0 && x[k] != 1;"]
    body += ["}", "e->end[row] = n;"]
    body += [] if spikes else ["e->plain[row] = (uint8_t)!odd;"]
    head = f"""/* Lists the events of a row from place n of the index on; returns the end. */
static inline long snn_list_{kind}(
    const snn_events *e, const {kind} *x, long row, long size, long n)
{{
"""
    return head + "".join(f"    {line}\n" for line in [*body, "return n;"]) + "}\n"


#: Thirty-two bytes become a mask, which picks the places; nothing after them is written.
_COMPRESSED = """\
#if defined(__AVX512VBMI2__) && defined(__AVX512BW__) && defined(__AVX512VL__)
__m512i place = _mm512_setr_epi32(0x10000, 0x30002, 0x50004, 0x70006, 0x90008, 0xb000a,
    0xd000c, 0xf000e, 0x110010, 0x130012, 0x150014, 0x170016, 0x190018, 0x1b001a, 0x1d001c,
    0x1f001e);
for (; sizeof(snn_index) == 2 && k < size; k += 32) {
    const __mmask32 inside = size - k < 32 ? ((__mmask32)1 << (size - k)) - 1 : ~(__mmask32)0;
    const __m256i bytes = _mm256_maskz_loadu_epi8(inside, x + k);
    const __mmask32 some = _mm256_test_epi8_mask(bytes, bytes);
    const int count = __builtin_popcount(some);
    const __mmask32 room = (__mmask32)(((uint64_t)1 << count) - 1);
    _mm512_mask_storeu_epi16(e->index + n, room, _mm512_maskz_compress_epi16(some, place));
    n += count;
    place = _mm512_add_epi16(place, _mm512_set1_epi16(32));
}
#endif"""

#: Eight spikes are the lowest bits of eight bytes; a product gathers them in the highest byte.
_WORDS = """\
for (; k + 64 <= size; k += 64) {
    uint64_t bits = 0;
    for (int j = 0; j < 8; j++) {
        uint64_t word;
        memcpy(&word, x + k + 8 * j, 8);
        bits |= (word * 0x0102040810204080u >> 56) << 8 * j;
    }
    for (; bits; bits &= bits - 1) e->index[n++] = (snn_index)(k + SNN_LOWEST(bits));
}"""

LOWEST = """/* The position of the lowest bit that is set. */
#ifdef __GNUC__
#define SNN_LOWEST(bits) __builtin_ctzll(bits)
#else
static inline int SNN_LOWEST(uint64_t bits)
{
    int n = 0;
    while (!(bits >> n & 1)) n++;
    return n;
}
#endif
"""


def gather_name(weight: str, total: str, lanes: int, source: str, more: bool, few: bool) -> str:
    """Return the name of a sum over events."""
    valued = f"_by_{_SHORT[source]}" if source != "uint8_t" else "_few" * few
    return f"snn_{_VERB[more]}_{_SHORT[weight]}_{_SHORT[total]}_{lanes}{valued}"


#: What begins a sum, and what goes on with one.
_VERB = {False: "sum", True: "add"}


_SHORT = {
    "uint8_t": "u8", "float": "f32", "double": "f64", "int32_t": "i32", "int64_t": "i64",
    "int8_t": "i8", "int16_t": "i16",
}  # fmt: skip


def gather(
    weight: str,
    total: str,
    lanes: int,
    source: str,
    vectors: bool,
    more: bool = False,
    few: bool = False,
) -> str:
    """Return a sum over the events of a row of `lanes` weights for each.

    Args:
        weight: C type of the weights.
        total: C type of the sum.
        lanes: Outputs that are summed together.
        source: C type of the row; each event counts by its value unless that is `uint8_t`.
        vectors: Whether vector types may be used.
        more: Whether it goes on with what `out` holds, in the order of one sum; where vectors are
            named or weights lie in pairs.
        few: Whether weights lie in pairs and a row has no more events than 16 bits add up.
    """
    name = gather_name(weight, total, lanes, source, more, few)
    valued = source != "uint8_t"
    row = f"const {source} *x, " if valued else ""
    factor = "v * " if valued else ""
    value = f"        const {total} v = ({total})x[index[e]];\n" if valued else ""
    times = ", times their values" if valued else ""
    how, sign = ("SNN_APART", "+=") if more else ("inline", "=")
    head = f"""/* out {sign} sum over the events of {lanes} weights each{times} */
static {how} void {name}(const snn_index *index, long e, long end,
    {row}const {weight} *w, {total} *out)
{{
"""
    if vectors and weight == total == "float" and lanes % 16 == 0:
        return head + _in_registers(lanes, value, factor, more)
    if vectors and in_pairs(weight, total, lanes):
        if valued:
            return head + _pairs_by_value(lanes, value, more)
        return head + (_few_pairs(lanes) if few else _pairs(lanes, more))
    loops = _LOOPS if vectors else _PLAIN
    return head + loops.format(lanes=lanes, weight=weight, total=total, value=value, factor=factor)


def _in_registers(lanes: int, value: str, factor: str, more: bool) -> str:
    """Return a sum whose vectors are named one by one, so that each has a register.

    Few vectors are summed for several events at once: an addition waits for the last one.
    """
    count = lanes // 16
    copies = max(1, 4 // count)
    names = [f"a{i}" for i in range(count * copies)]
    zeros = ", ".join(f"{name} = {{0}}" for name in names)

    def event(copy: int, indent: str) -> str:
        lines = [f"const vec *p = (const vec *)(w + (long)index[e + {copy}] * {lanes});"]
        lines += [line.strip() for line in value.replace("[e]", f"[e + {copy}]").splitlines()]
        lines += [f"a{copy * count + i} += {factor}p[{i}];" for i in range(count)]
        return "\n".join(f"{indent}{line}" for line in lines)

    parts = [f"    vec {zeros};"]
    if more:
        parts += [f"    memcpy(&a{i}, out + {16 * i}, sizeof a{i});" for i in range(count)]
    if copies > 1:
        blocks = "\n".join(
            f"        {{\n{event(copy, ' ' * 12)}\n        }}" for copy in range(copies)
        )
        parts.append(f"    for (; e + {copies} <= end; e += {copies}) {{\n{blocks}\n    }}")
    parts.append(f"    for (; e < end; e++) {{\n{event(0, ' ' * 8)}\n    }}")
    for i in range(count):
        parts += [f"    a{i} += a{copy * count + i};" for copy in range(1, copies)]
    parts += [f"    memcpy(out + {16 * i}, &a{i}, sizeof a{i});" for i in range(count)]
    return "\n".join([*parts, "}", ""])


#: Share of a row from which all its elements are summed: sums over events by 1 need no product.
SHARES = {"uint8_t": 0.4, "float": 0.5}

#: Where a product by 0 or 1 is exact, rounding once and twice is the same.
DENSE = """/* a += x p; for x of 0 or 1 it makes no difference that x p is not rounded before. */
#ifdef __AVX512F__
#define SNN_PLUS_U8(a, x, p) \\
    (a) = (vec)_mm512_fmadd_ps(_mm512_set1_ps(x), (__m512)(p), (__m512)(a))
#else
#define SNN_PLUS_U8(a, x, p) (a) += (x) * (p)
#endif
#define SNN_PLUS_F32(a, x, p) (a) += (x) * (p)

/* Whether so many events are in 4 rows. */
static inline int snn_is_dense(const snn_events *e, long row, long next, long most)
{
    long n = 0;
    for (int k = 0; k < 4; k++, row += next) n += e->end[row] - e->begin[row];
    return n >= most;
}
"""


def dense(lanes: int, source: str, more: bool) -> tuple[str, str]:
    """Return the name and the text of a sum over all elements of 4 rows of `lanes` weights each.

    Args:
        lanes: Outputs that are summed together.
        source: C type of the rows.
        more: Whether it goes on with what `out` holds.
    """
    name, count = f"snn_{'more' if more else 'all'}_{_SHORT[source]}_{lanes}", min(4, lanes // 16)
    held = "for (int k = 0; k < 4; k++) memcpy(a[k], out + k * apart + c, sizeof a[k]);"
    start = f";\n        {held}" if more else " = {{{0}}};"
    how, sign = ("SNN_APART", "+=") if more else ("inline", "=")
    text = f"""/* out {sign} sum over all elements of 4 rows of {lanes} weights each */
static {how} void {name}(
    const {source} *x, long next, long size, const float *w, float *out, long apart)
{{
    for (int c = 0; c < {lanes}; c += {16 * count}) {{
        vec a[4][{count}]{start}
        for (long from = 0; from < size; from += 64) {{
            const int n = size - from < 64 ? (int)(size - from) : 64;
            float v[4][64];
            for (int k = 0; k < 4; k++)
                for (int j = 0; j < n; j++) v[k][j] = (float)x[k * next + from + j];
            for (int j = 0; j < n; j++) {{
                const vec *p = (const vec *)(const void *)(w + (from + j) * {lanes} + c);
                for (int k = 0; k < 4; k++)
                    for (int i = 0; i < {count}; i++)
                        SNN_PLUS_{_SHORT[source].upper()}(a[k][i], v[k][j], p[i]);
            }}
        }}
        for (int k = 0; k < 4; k++) memcpy(out + k * apart + c, a[k], sizeof a[k]);
    }}
}}
"""
    return name, text


#: A block of weights of more than `FAR` bytes is summed in parts of about `PART` bytes, which stay
#: in the second cache beside the events of a tile; a tile of `TILE_ROWS` rows reads ahead a part.
FAR, PART = 3 << 18, 5 << 16
_AHEAD = PART // TILE_ROWS

#: Events of a row and part, on average, below which a block is not divided.
LEAST = 4

PARTS = f"""/* Where the events of each part of a row begin, and where the last ends. */
static inline void snn_cut(const snn_events *e, long row, long inputs, long each, long *cut)
{{
    long at = e->begin[row];
    *cut = at;
    for (long to = each; to < inputs + each; to += each) {{
        while (at < e->end[row] && e->index[at] < to) at++;
        *++cut = at;
    }}
}}

/* Brings a row's share of so many bytes of weights, which are needed next, into a cache. */
static inline void snn_ahead(const void *w, long from, long bytes, long end, long row)
{{
    end = from + bytes < end ? from + bytes : end;
    from += row * {_AHEAD};
    end = from + {_AHEAD} < end ? from + {_AHEAD} : end;
    for (; from < end; from += 64) __builtin_prefetch((const unsigned char *)w + from, 0, 2);
}}
"""


def in_pairs(weight: str, total: str, lanes: int) -> bool:
    """Return whether weights are stored two to a word of 16 bits.

    The low byte is the weight of one neuron and 128, the high byte that of the neuron 32 further:
    a mask and a shift widen both, which is less work than to convert bytes one by one.
    """
    return (weight, total) == ("int8_t", "int32_t") and lanes % 64 == 0


#: Events of bytes that add up to what 16 bits hold.
GROUP = 256


def _pairs(lanes: int, more: bool) -> str:
    """Return a sum of bytes in pairs: 256 of them add up to what 16 bits hold."""
    count = lanes // 64
    low, high = (", ".join(f"{part}{i} = {{0}}" for i in range(count)) for part in ("low", "high"))
    adds = "\n".join(
        f"            low{i} += (lower)p[{i}] & 255;\n            high{i} += p[{i}] >> 8;"
        for i in range(count)
    )
    stores = "\n".join(
        f"        memcpy({part} + {32 * i}, &{part}{i}, 64);"
        for i in range(count)
        for part in ("low", "high")
    )
    return f"""    uint16_t low[{lanes // 2}];
    int16_t high[{lanes // 2}];
    int first = {int(not more)};
    do {{
        const long stop = end - e < 256 ? end : e + 256;
        const int32_t shift = 128 * (int32_t)(stop - e);
        lower {low};
        pairs {high};
        for (; e < stop; e++) {{
            const pairs *p = (const pairs *)(const void *)(w + (long)index[e] * {lanes});
{adds}
        }}
{stores}
        for (int i = 0; i < {lanes}; i += 64)
            for (int k = 0; k < 32; k++) {{
                const int32_t before = first ? 0 : out[i + k];
                const int32_t above = first ? 0 : out[i + 32 + k];
                out[i + k] = before + low[i / 2 + k] - shift;
                out[i + 32 + k] = above + high[i / 2 + k];
            }}
        first = 0;
    }} while (e < end);
}}
"""


def _few_pairs(lanes: int) -> str:
    """Return the same for a row that is one group."""
    count = range(lanes // 64)
    low, high = (", ".join(f"{part}{i} = {{0}}" for i in count) for part in ("low", "high"))
    adds = "\n".join(
        f"        low{i} += (lower)p[{i}] & 255;\n        high{i} += p[{i}] >> 8;" for i in count
    )
    stores = "\n".join(
        f"    memcpy(low + {32 * i}, &low{i}, 64);\n    memcpy(high + {32 * i}, &high{i}, 64);"
        for i in count
    )
    return f"""    const int32_t shift = 128 * (int32_t)(end - e);
    uint16_t low[{lanes // 2}];
    int16_t high[{lanes // 2}];
    lower {low};
    pairs {high};
    for (; e < end; e++) {{
        const pairs *p = (const pairs *)(const void *)(w + (long)index[e] * {lanes});
{adds}
    }}
{stores}
    for (int i = 0; i < {lanes}; i += 64)
        for (int k = 0; k < 32; k++) {{
            out[i + k] = low[i / 2 + k] - shift;
            out[i + 32 + k] = high[i / 2 + k];
        }}
}}
"""


def _pairs_by_value(lanes: int, value: str, more: bool) -> str:
    start = "" if more else f"    for (int i = 0; i < {lanes}; i++) out[i] = 0;\n"
    return f"""{start}    for (; e < end; e++) {{
        const int8_t *p = w + (long)index[e] * {lanes};
{value}        for (int i = 0; i < {lanes}; i += 64)
            for (int k = 0; k < 32; k++) {{
                out[i + k] += v * ((uint8_t)p[i + 2 * k] - 128);
                out[i + 32 + k] += v * p[i + 2 * k + 1];
            }}
    }}
}}
"""


_LOOPS = """\
    {total} a[{lanes}] = {{0}};
    for (; e < end; e++) {{
        const {weight} *p = w + (long)index[e] * {lanes};
{value}        for (int i = 0; i < {lanes}; i++) a[i] += {factor}({total})p[i];
    }}
    memcpy(out, a, sizeof a);
}}
"""

_PLAIN = """\
    for (int i = 0; i < {lanes}; i++) out[i] = 0;
    for (; e < end; e++) {{
        const {weight} *p = w + (long)index[e] * {lanes};
{value}        for (int i = 0; i < {lanes}; i++) out[i] += {factor}({total})p[i];
    }}
}}
"""
