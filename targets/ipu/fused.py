"""a * b + c rounded once, for tiles: no public source says that they have it, or float64."""

from __future__ import annotations

#: How step programs call it in C, and what codelets call instead.
CALL, OWN = "fmaf(", "snn_fmaf("

#: It takes the numbers as integers: a product has 48 bits, and 64 hold it with the other summand,
#: or with what of the smaller one decides how the sum is rounded.
TEXT = """\
union snn_word { float real; uint32_t bits; };

static inline uint64_t snn_whole(float a, int *exponent)
{
    union snn_word word;
    word.real = a;
    const uint32_t rest = word.bits & 0x7fffffu, scale = word.bits >> 23 & 255u;
    *exponent = (int)(scale ? scale : 1) - 150;
    return scale ? rest | 0x800000u : rest;
}

static inline uint64_t snn_shifted(uint64_t a, int bits)
{
    return bits > 63 ? a != 0 : a >> bits | (a & ((1ull << bits) - 1) ? 1 : 0);
}

static inline float snn_fmaf(float a, float b, float c)
{
    const float infinite = INFINITY;
    const bool bounded = a - a == 0 && b - b == 0;
    if (!bounded || a == 0 || b == 0) return a * b + c;
    if (c != c || c == infinite || c == -infinite) return c;
    union snn_word word, other;
    int one, two, three;
    uint64_t first = snn_whole(a, &one);
    first *= snn_whole(b, &two);
    one += two;
    uint64_t second = snn_whole(c, &three);
    // The product to the top of 62 bits, so that what is shifted out of the smaller is little.
    while (first < 1ull << 61) first <<= 1, --one;
    if (second)
        while (second < 1ull << 61) second <<= 1, --three;
    if (second && three > one) {
        first = snn_shifted(first, three - one);
        one = three;
    } else if (second) second = snn_shifted(second, one - three);
    word.real = a;
    other.real = b;
    uint32_t sign = (word.bits ^ other.bits) & 0x80000000u;
    word.real = c;
    if (sign == (word.bits & 0x80000000u)) first += second;
    else if (first == second) return 0.0f;
    else if (first > second) first -= second;
    else {
        first = second - first;
        sign ^= 0x80000000u;
    }
    while (first < 1ull << 62) first <<= 1, --one;
    int cut = 39; // 24 bits stay, fewer of a subnormal number
    if (one + cut < -149) cut = -149 - one;
    uint32_t kept = 0;
    if (cut < 64) {
        const uint64_t half = 1ull << (cut - 1), rest = first & (2 * half - 1);
        kept = (uint32_t)(cut < 63 ? first >> cut : 0);
        kept += rest > half || (rest == half && kept & 1u);
    }
    const int place = one + cut + 149;
    word.bits = sign | (place > 253 ? 0x7f800000u : ((uint32_t)place << 23) + kept);
    return word.real;
}
"""
