"""The C that is the same for every network of the torch target: events, and sums over them."""

from __future__ import annotations

HEAD = r"""/* Kernels of a spiking network, written by snnir. Compile with -O3 -ffp-contract=off.
 *
 * Arrays are [time, batch, neurons] unless said otherwise. Each function works on the parts
 * [first, last) of a whole whose parts are independent, so that threads can share a call.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#define BLOCK 512 /* neurons that a scan carries through time together */

typedef float vec __attribute__((vector_size(64), aligned(4)));

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* Calls f with the number of vectors of neurons, 1 to 4, as a constant. */
#define VECTORS(count, f, ...)                                                                   \
    switch (count) {                                                                             \
    case 1: f(1, __VA_ARGS__); break;                                                            \
    case 2: f(2, __VA_ARGS__); break;                                                            \
    case 3: f(3, __VA_ARGS__); break;                                                            \
    default: f(4, __VA_ARGS__);                                                                  \
    }

/* As in NumPy: a NaN wins. */
static inline float snn_minf(float a, float b) { return (a < b) | (a != a) ? a : b; }
static inline float snn_maxf(float a, float b) { return (a > b) | (a != a) ? a : b; }
static inline double snn_min(double a, double b) { return (a < b) | (a != a) ? a : b; }
static inline double snn_max(double a, double b) { return (a > b) | (a != a) ? a : b; }

/* ---- Events: the positions of what is not zero ------------------------------------------- */

/* Lists the non-zero elements of each row of x [rows, width].
 * Row r has the entries begin[r] to begin[r + 1] of `index`, which needs room for 16 more than
 * there can be. `plain` becomes 0 if one of them is not 1: then they have values. Returns their
 * number. */
int64_t snn_events(const float *x, int64_t rows, int64_t width, int64_t *begin, int32_t *index,
                   int32_t *plain)
{
    int64_t n = 0;
    int odd = 0;
    for (int64_t r = 0; r < rows; r++) {
        const float *p = x + r * width;
        begin[r] = n;
        int64_t k = 0;
#ifdef __AVX512F__
        const __m512 zero = _mm512_setzero_ps(), one = _mm512_set1_ps(1.0f);
        __m512i place = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        for (; k + 16 <= width; k += 16) {
            const __m512 v = _mm512_loadu_ps(p + k);
            const __mmask16 some = _mm512_cmp_ps_mask(v, zero, _CMP_NEQ_UQ);
            _mm512_storeu_si512(index + n, _mm512_maskz_compress_epi32(some, place));
            odd |= _mm512_mask_cmp_ps_mask(some, v, one, _CMP_NEQ_UQ);
            n += __builtin_popcount(some);
            place = _mm512_add_epi32(place, _mm512_set1_epi32(16));
        }
#else
        for (; k + 8 <= width; k += 8) {
            uint64_t bits[4];
            memcpy(bits, p + k, sizeof bits);
            if (!(((bits[0] | bits[1]) | (bits[2] | bits[3])) & 0x7fffffff7fffffffu)) continue;
            for (int j = 0; j < 8; j++) {
                const float v = p[k + j];
                index[n] = (int32_t)(k + j);
                n += v != 0.0f;
                odd |= (v != 0.0f) & (v != 1.0f);
            }
        }
#endif
        for (; k < width; k++) {
            index[n] = (int32_t)k;
            n += p[k] != 0.0f;
            odd |= (p[k] != 0.0f) & (p[k] != 1.0f);
        }
    }
    begin[rows] = n;
    *plain = !odd;
    return n;
}

/* value[e] = the element behind entry e. */
void snn_values(const float *x, int64_t rows, int64_t width, const int64_t *begin,
                const int32_t *index, float *value)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t e = begin[r]; e < begin[r + 1]; e++) value[e] = x[r * width + index[e]];
}

#define WIDE 64 /* neurons that a sum carries in registers */

/* to = n floats, at most V vectors. */
static ALWAYS_INLINE void snn_put(const int V, float *to, const float *from, int64_t n)
{
    if (n == 16 * V) memcpy(to, from, V * sizeof(vec));
    else memcpy(to, from, n * sizeof(float));
}

/* to = V vectors that are not read soon; `to` is aligned to vectors. */
static ALWAYS_INLINE void snn_stream(const int V, float *to, const float *from)
{
#ifdef __AVX512F__
    for (int i = 0; i < V; i++) _mm512_stream_ps(to + 16 * i, _mm512_loadu_ps(from + 16 * i));
#else
    memcpy(to, from, V * sizeof(vec));
#endif
}

/* Makes what was streamed visible to other threads. */
static inline void snn_streamed(void)
{
#ifdef __AVX512F__
    _mm_sfence();
#endif
}

/* sum = the weights of a row's events, times their values if there are any. */
static ALWAYS_INLINE void snn_row(const int V, int64_t e, int64_t end, const int32_t *index,
                                  const float *value, const float *w, int64_t stride, float *sum)
{
    vec a[4];
    for (int i = 0; i < V; i++) a[i] = (vec){0};
    if (!value)
        for (; e < end; e++) {
            const vec *p = (const vec *)(w + index[e] * stride);
            for (int i = 0; i < V; i++) a[i] += p[i];
        }
    else
        for (; e < end; e++) {
            const vec *p = (const vec *)(w + index[e] * stride);
            for (int i = 0; i < V; i++) a[i] += value[e] * p[i];
        }
    memcpy(sum, a, V * sizeof(vec));
}

/* The weights of a block of neurons, side by side in `room` if there is one: a sum over many events
 * then does not touch a page of memory for each. Sets their distance. */
static ALWAYS_INLINE const float *snn_near(const int V, const float *w, int64_t *stride,
                                           int64_t width, float *room)
{
    if (!room) return w;
    for (int64_t k = 0; k < width; k++) memcpy(room + k * 16 * V, w + k * *stride, V * sizeof(vec));
    *stride = 16 * V;
    return room;
}

static ALWAYS_INLINE void snn_gather_block(const int V, int64_t at, const int64_t *begin,
                                           const int32_t *index, const float *value,
                                           const float *w, int64_t stride, const float *bias,
                                           int64_t rows, int64_t neurons, float *out,
                                           int64_t width, float *room)
{
    const int64_t n = neurons - at < 16 * V ? neurons - at : 16 * V;
    const float *const table = snn_near(V, w + at, &stride, width, room);
    float b[WIDE] = {0};
    if (bias) memcpy(b, bias + at, n * sizeof(float));
    for (int64_t r = 0; r < rows; r++) {
        float sum[WIDE];
        snn_row(V, begin[r], begin[r + 1], index, value, table, stride, sum);
        if (bias)
            for (int i = 0; i < 16 * V; i++) sum[i] += b[i];
        snn_put(V, out + r * neurons + at, sum, n);
    }
}

/* out[row] = sum of the weights of the row's events, times their values if there are any.
 * w: one row of `stride` floats per input, a multiple of 16; out: [rows, neurons]; room: null or
 * [width, WIDE], see snn_near; parts are blocks of WIDE neurons. */
void snn_gather(int64_t first, int64_t last, const int64_t *begin, const int32_t *index,
                const float *value, const float *w, int64_t stride, const float *bias,
                int64_t rows, int64_t neurons, float *out, int64_t width, float *room)
{
    for (int64_t at = first * WIDE; at < last * WIDE; at += WIDE)
        VECTORS((neurons - at + 15) / 16, snn_gather_block, at, begin, index, value, w, stride,
                bias, rows, neurons, out, width, room)
}

/* Sorts events by input, for `tile` rows at a time. Those of input k in tile m are the entries
 * starts[m (width + 1) + k] to starts[m (width + 1) + k + 1] of `row`, counted within the tile,
 * and of `turned`, if there are values. Parts are tiles. */
void snn_turn(int64_t first, int64_t last, const int64_t *begin, const int32_t *index,
              const float *value, int64_t rows, int64_t width, int64_t tile, int64_t *starts,
              int32_t *row, float *turned)
{
    for (int64_t m = first; m < last; m++) {
        const int64_t from = m * tile, until = from + tile < rows ? from + tile : rows;
        int64_t *at = starts + m * (width + 1), next = begin[from];
        memset(at, 0, (width + 1) * sizeof *at);
        for (int64_t e = begin[from]; e < begin[until]; e++) at[index[e]]++;
        for (int64_t k = 0; k <= width; k++) {
            const int64_t count = at[k];
            at[k] = next;
            next += count;
        }
        for (int64_t r = from; r < until; r++)
            for (int64_t e = begin[r]; e < begin[r + 1]; e++) {
                const int64_t to = at[index[e]]++;
                row[to] = (int32_t)(r - from);
                if (value) turned[to] = value[e];
            }
        memmove(at + 1, at, width * sizeof *at);
        at[0] = begin[from];
    }
}

/* g[input] += d[row] of the input's events in a tile, times their values if there are any: the
 * gradient of the weights. d: [tile, 16 V]; g: one row of `stride` floats per input. */
static ALWAYS_INLINE void snn_columns(const int V, const int64_t *starts, const int32_t *row,
                                      const float *value, int64_t width, const float *d, float *g,
                                      int64_t stride)
{
    for (int64_t k = 0; k < width; k++) {
        int64_t e = starts[k];
        const int64_t end = starts[k + 1];
        if (e == end) continue;
        vec a[4], *p = (vec *)(g + k * stride);
        for (int i = 0; i < V; i++) a[i] = p[i];
        for (; e < end; e++) {
            const vec *from = (const vec *)(d + (int64_t)row[e] * 16 * V);
            if (value)
                for (int i = 0; i < V; i++) a[i] += value[e] * from[i];
            else
                for (int i = 0; i < V; i++) a[i] += from[i];
        }
        for (int i = 0; i < V; i++) p[i] = a[i];
    }
}

static ALWAYS_INLINE void snn_scatter_block(const int V, int64_t at, const int64_t *starts,
                                            const int32_t *row, const float *value, int64_t width,
                                            int64_t tile, const float *d, int64_t rows,
                                            int64_t neurons, float *g, int64_t stride,
                                            float *work)
{
    const int64_t n = neurons - at < 16 * V ? neurons - at : 16 * V;
    for (int64_t m = 0; m * tile < rows; m++) {
        const int64_t from = m * tile, until = from + tile < rows ? from + tile : rows;
        for (int64_t r = from; r < until; r++)
            snn_put(V, work + (r - from) * 16 * V, d + r * neurons + at, n);
        snn_columns(V, starts + m * (width + 1), row, value, width, work, g + at, stride);
    }
}

/* g[input] += d[row] for every event, times its value if there are any: the gradient of the
 * weights. starts to value: what snn_turn makes of the events, `tile` rows at a time; d: [rows,
 * neurons]; work: [tile, WIDE], zeros; parts are blocks of WIDE neurons. */
void snn_scatter(int64_t first, int64_t last, const int64_t *starts, const int32_t *row,
                 const float *value, int64_t width, int64_t tile, const float *d, int64_t rows,
                 int64_t neurons, float *g, int64_t stride, float *work)
{
    for (int64_t at = first * WIDE; at < last * WIDE; at += WIDE)
        VECTORS((neurons - at + 15) / 16, snn_scatter_block, at, starts, row, value, width, tile,
                d, rows, neurons, g, stride, work)
}

/* One event of value v: its blocks are added, times v, to out. */
static inline void snn_blocks(int64_t block, int64_t k, int64_t end,
                              const int32_t *restrict group, const float *restrict w, float v,
                              float *restrict out)
{
    if (block == 1)
        for (; k < end; k++) out[group[k]] += v * w[k];
    else if (block == 16)
        for (; k < end; k++) {
            vec *const y = (vec *)(out + group[k] * 16);
            *y += v * *(const vec *)(w + k * 16);
        }
    else
        for (; k < end; k++)
            for (int64_t i = 0; i < block; i++) out[group[k] * block + i] += v * w[k * block + i];
}

/* out[row] = sum of the sparse weights of the row's events, times their values if there are any.
 * The blocks of input j are those from starts[j] to starts[j + 1]: w [blocks, block] is added from
 * output group * block on. out: [rows, stride], zeros; parts are rows. */
void snn_sparse(int64_t first, int64_t last, const int64_t *begin, const int32_t *index,
                const float *value, const int64_t *starts, const int32_t *group,
                const float *w, int64_t block, int64_t stride, float *out)
{
    for (int64_t r = first; r < last; r++)
        for (int64_t e = begin[r]; e < begin[r + 1]; e++)
            snn_blocks(block, starts[index[e]], starts[index[e] + 1], group, w,
                       value ? value[e] : 1.0f, out + r * stride);
}

/* g[block] += d[row] at the block's outputs for every event of the row at the block's input, times
 * its value if there are any: the gradient of the weights. Parts are inputs. */
void snn_sparse_back(int64_t first, int64_t last, const int64_t *begin, const int32_t *index,
                     const float *value, const int64_t *starts,
                     const int32_t *group, const float *d, int64_t block, int64_t stride,
                     int64_t rows, float *g)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t e = begin[r]; e < begin[r + 1]; e++) {
            const int64_t j = index[e];
            const float v = value ? value[e] : 1.0f;
            if (j < first || j >= last) continue;
            for (int64_t k = starts[j]; k < starts[j + 1]; k++)
                for (int64_t i = 0; i < block; i++)
                    g[k * block + i] += v * d[r * stride + group[k] * block + i];
        }
}

/* The outputs that an input position reaches along one axis: for each tap of the kernel that has
 * one, the tap and the output. Returns their number. */
static int snn_reach(int64_t at, int64_t taps, int64_t stride, int64_t pad, int64_t dilation,
                     int64_t size, int64_t *tap, int64_t *out)
{
    int n = 0;
    for (int64_t i = 0; i < taps; i++) {
        const int64_t y = at + pad - i * dilation;
        const int64_t o = stride == 1 ? y : y / stride;
        if (y < 0 || o >= size || (stride != 1 && y % stride)) continue;
        tap[n] = i;
        out[n++] = o;
    }
    return n;
}

/* a += v * p for n vectors; v is 1 if there are no values. */
static inline void snn_add(vec *a, const vec *p, const float *v, int64_t n)
{
    if (!v)
        for (int64_t k = 0; k < n; k++) a[k] += p[k];
    else
        for (int64_t k = 0; k < n; k++) a[k] += *v * p[k];
}

/* Replaces sums [rows, width, wide] by the largest of every window [pool rows, pool columns, wide].
 * In place: a result lies at or before the first element of its window. */
static void snn_pool_last(float *sums, int64_t width, int64_t wide, const int64_t *pool)
{
    for (int64_t i = 0; i < pool[4]; i++)
        for (int64_t j = 0; j < pool[5]; j++) {
            const float *from = sums + (i * pool[2] * width + j * pool[3]) * wide;
            float *to = sums + (i * pool[5] + j) * wide;
            if (to != from) memcpy(to, from, wide * sizeof(float));
            for (int64_t k = 1; k < pool[0] * pool[1]; k++) {
                const float *next = from + (k / pool[1] * width + k % pool[1]) * wide;
                for (int64_t o = 0; o < wide; o++) to[o] = snn_maxf(to[o], next[o]);
            }
        }
}

/* Convolution as a sum over events: every event adds its taps to the outputs it reaches.
 * place: (channel, row, column) of every input element; w: [channels, kernel rows, kernel columns,
 * wide], the columns from last to first, the output channels padded to `wide`, a multiple of 16;
 * out: [rows, outs, out rows,
 * out columns], or after the maximum over windows if there are pooled rows. Parts are rows of the
 * input. Returns 1 if there is no memory. */
int snn_conv(int64_t first, int64_t last, const int64_t *begin, const int32_t *index,
             const float *value, const int32_t *place, const float *w,
             const float *bias, const int64_t *geometry, float *out)
{
    const int64_t kh = geometry[0], kw = geometry[1], sh = geometry[2], sw = geometry[3];
    const int64_t ph = geometry[4], pw = geometry[5], dh = geometry[6], dw = geometry[7];
    const int64_t oh = geometry[8], ow = geometry[9], outs = geometry[10], wide = geometry[11];
    const int64_t *pool = geometry + 12; /* kernel, stride and size of a maximum; size 0: none */
    const int64_t count = wide / 16, positions = oh * ow;
    const int64_t results = pool[4] ? pool[4] * pool[5] : positions;
    vec *acc = aligned_alloc(64, positions * wide * sizeof(float));
    int64_t *ki = malloc(2 * (kh + kw) * sizeof(int64_t));
    if (!acc || !ki) {
        free(acc);
        free(ki);
        return 1;
    }
    int64_t *y = ki + kh, *kj = y + kh, *x = kj + kw;
    for (int64_t r = first; r < last; r++) {
        memset(acc, 0, positions * wide * sizeof(float));
        for (int64_t e = begin[r]; e < begin[r + 1]; e++) {
            const int32_t *at = place + 3 * (int64_t)index[e];
            const float *taps = w + at[0] * kh * kw * wide;
            const float *v = value ? value + e : 0;
            const int down = snn_reach(at[1], kh, sh, ph, dh, oh, ki, y);
            if (sw == 1 && dw == 1) { /* neighbours reach neighbours */
                const int64_t base = at[2] + pw - kw + 1;
                const int64_t lo = base < 0 ? -base : 0, hi = ow - base < kw ? ow - base : kw;
                if (lo >= hi) continue;
                for (int i = 0; i < down; i++)
                    snn_add(acc + (y[i] * ow + base + lo) * count,
                            (const vec *)(taps + (ki[i] * kw + lo) * wide), v, (hi - lo) * count);
                continue;
            }
            const int across = snn_reach(at[2], kw, sw, pw, dw, ow, kj, x);
            for (int i = 0; i < down; i++)
                for (int j = 0; j < across; j++)
                    snn_add(acc + (y[i] * ow + x[j]) * count,
                            (const vec *)(taps + (ki[i] * kw + kw - 1 - kj[j]) * wide), v, count);
        }
        float *sums = (float *)acc;
        if (pool[4]) snn_pool_last(sums, ow, wide, pool);
        float *to = out + r * outs * results;
        for (int64_t q = 0; q < results; q += 16) {
            const int64_t n = results - q < 16 ? results - q : 16;
            for (int64_t o = 0; o < outs; o++)
                for (int64_t k = 0; k < n; k++)
                    to[o * results + q + k] = sums[(q + k) * wide + o];
        }
        if (bias)
            for (int64_t o = 0; o < outs; o++)
                for (int64_t q = 0; q < results; q++) to[o * results + q] += bias[o];
    }
    free(acc);
    free(ki);
    return 0;
}

/* The largest element of every window of x [planes, height, width]; no padding. Rows are reduced
 * before columns, so that most of the work is on neighbours. Returns 1 if there is no memory. */
int snn_max_pool(int64_t first, int64_t last, const float *x, const int64_t *geometry, float *out)
{
    const int64_t height = geometry[0], width = geometry[1], kh = geometry[2], kw = geometry[3];
    const int64_t sh = geometry[4], sw = geometry[5], oh = geometry[6], ow = geometry[7];
    float *restrict best = malloc(width * sizeof(float));
    if (!best) return 1;
    for (int64_t p = first; p < last; p++)
        for (int64_t i = 0; i < oh; i++) {
            const float *restrict from = x + (p * height + i * sh) * width;
            float *restrict to = out + (p * oh + i) * ow;
            if (kh == 1) memcpy(best, from, width * sizeof(float));
            else
                for (int64_t j = 0; j < width; j++) best[j] = snn_maxf(from[j], from[width + j]);
            for (int64_t k = 2; k < kh; k++)
                for (int64_t j = 0; j < width; j++)
                    best[j] = snn_maxf(best[j], from[k * width + j]);
            if (kw == 2 && sw == 2) {
                for (int64_t j = 0; j < ow; j++) to[j] = snn_maxf(best[2 * j], best[2 * j + 1]);
                continue;
            }
            for (int64_t j = 0; j < ow; j++) to[j] = best[j * sw];
            for (int64_t k = 1; k < kw; k++)
                for (int64_t j = 0; j < ow; j++) to[j] = snn_maxf(to[j], best[j * sw + k]);
        }
    free(best);
    return 0;
}
"""
