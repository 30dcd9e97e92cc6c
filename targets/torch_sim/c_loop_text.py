"""The C that is the same for every recurrence, and the frames of its two functions."""

from __future__ import annotations

HEAD = r"""
/* ---- Loops ------------------------------------------------------------------------------- */

#define GROUP 8 /* samples that go back through time together, a multiple of 4 */

/* a + x p, rounded once where the processor can: for gradients. */
static ALWAYS_INLINE vec snn_fma(float x, vec p, vec a)
{
#ifdef __AVX512F__
    return (vec)_mm512_fmadd_ps(_mm512_set1_ps(x), (__m512)p, (__m512)a);
#else
    return a + x * p;
#endif
}

/* Lists the non-zero elements of x [width]; room for 16 more than there can be. */
static int64_t snn_list(const float *x, int64_t width, int32_t *index, float *value)
{
    int64_t n = 0, k = 0;
#ifdef __AVX512F__
    __m512i place = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (; k + 16 <= width; k += 16) {
        const __m512 v = _mm512_loadu_ps(x + k);
        const __mmask16 some = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
        _mm512_storeu_si512(index + n, _mm512_maskz_compress_epi32(some, place));
        _mm512_storeu_ps(value + n, _mm512_maskz_compress_ps(some, v));
        n += __builtin_popcount(some);
        place = _mm512_add_epi32(place, _mm512_set1_epi32(16));
    }
#endif
    for (; k < width; k++) {
        index[n] = (int32_t)k;
        value[n] = x[k];
        n += x[k] != 0.0f;
    }
    return n;
}

/* How many elements of x [width] are not zero. */
static int64_t snn_count(const float *x, int64_t width)
{
    int32_t n = 0;
    for (int32_t k = 0; k < (int32_t)width; k++) n += x[k] != 0.0f;
    return n;
}

/* snn_sum: out = sum of value[e] times row index[e] of every block of the table [blocks, width,
 * 16 V]. snn_spread: adds value[e] times d to row index[e]. snn_share: to[s] += sum of g[s][j]
 * times row j, for up to GROUP samples. */
#define SUM(V)                                                                                   \
static void snn_sum_##V(const float *table, int64_t blocks, int64_t width, const int32_t *index, \
                        const float *value, int64_t n, float *out)                               \
{                                                                                                \
    for (int64_t q = 0; q < blocks; q++, table += width * 16 * V) {                              \
        vec a[V];                                                                                \
        for (int i = 0; i < V; i++) a[i] = (vec){0};                                             \
        for (int64_t e = 0; e < n; e++) {                                                        \
            const vec *p = (const vec *)(table + (int64_t)index[e] * 16 * V);                    \
            for (int i = 0; i < V; i++) a[i] += value[e] * p[i];                                 \
        }                                                                                        \
        memcpy(out + q * 16 * V, a, sizeof a);                                                   \
    }                                                                                            \
}                                                                                                \
static void snn_spread_##V(float *table, int64_t blocks, int64_t width, const int32_t *index,    \
                           const float *value, int64_t n, const float *d)                        \
{                                                                                                \
    for (int64_t q = 0; q < blocks; q++, table += width * 16 * V) {                              \
        const vec *g = (const vec *)(d + q * 16 * V);                                            \
        for (int64_t e = 0; e < n; e++) {                                                        \
            vec *p = (vec *)(table + (int64_t)index[e] * 16 * V);                                \
            for (int i = 0; i < V; i++) p[i] = snn_fma(value[e], g[i], p[i]);                    \
        }                                                                                        \
    }                                                                                            \
}                                                                                                \
static void snn_share_##V(const float *table, int64_t blocks, int64_t width, const float *g,     \
                          int64_t room, int64_t samples, float *to, int64_t to_room)             \
{                                                                                                \
    for (int64_t q = 0; q < blocks; q++, table += width * 16 * V)                                \
        for (int64_t s = 0; s < samples; s += 4) {                                               \
            vec a[4][V];                                                                         \
            for (int k = 0; k < 4; k++)                                                          \
                for (int i = 0; i < V; i++) a[k][i] = (vec){0};                                  \
            for (int64_t j = 0; j < width; j++) {                                                \
                const vec *p = (const vec *)(table + j * 16 * V);                                \
                for (int k = 0; k < 4; k++) {                                                    \
                    const float x = g[(s + k) * room + j];                                       \
                    for (int i = 0; i < V; i++) a[k][i] = snn_fma(x, p[i], a[k][i]);             \
                }                                                                                \
            }                                                                                    \
            for (int k = 0; k < 4; k++) {                                                        \
                vec *sum = (vec *)(to + (s + k) * to_room + q * 16 * V);                         \
                for (int i = 0; i < V; i++) sum[i] += a[k][i];                                   \
            }                                                                                    \
        }                                                                                        \
}
SUM(1)
SUM(2)
SUM(4)
"""

#: See `c_text.filled`; `NAME` stands for the name of the functions.
FORWARD = r"""
/* Runs samples through time. in: what comes from outside, [time, batch, size]; out: values
 * likewise, null if not wanted; kept: what gradients need, [batch, time, size]; history: the states
 * before every step, [time, batch, size]; both may be null. state: [batch, size] and line: what
 * delays hold, [steps, batch, size], in place. Returns 1 if there is no memory. */
int NAME_forward(int64_t first, int64_t last, int64_t time, int64_t batch, const float *const *in,
                 const float *const *tensor, float *const *out, float *const *kept,
                 float *const *history, float *const *state, float *const *line)
{
    $tensors
    float *room = calloc(TOTAL, sizeof(float));
    int32_t *index = malloc(LIST * sizeof(int32_t));
    float *value = malloc(LIST * sizeof(float));
    int64_t n = 0;
    if (!room || !index || !value) { free(room); free(index); free(value); return 1; }
    $room
    for (int64_t b = first; b < last; b++) {
        $load
        for (int64_t t = 0; t < time; t++) {
            const int64_t row = t * batch + b, own = b * time + t;
            $inputs
            $step
            (void)own;
            (void)row;
        }
        $store
    }
    free(room);
    free(index);
    free(value);
    (void)n;
    return 0;
}
"""
BACKWARD = r"""
/* Goes back through time. in, tensor, kept: as for NAME_forward; value: the values, null where not
 * needed; line: what delays held before the first step; turned: the weights by output; g_out:
 * gradients of the values, null for none. Made: g_in; in place, from after the last step to before
 * the first: g_state and g_line; added to, where not null: g_tensor. Returns 1 if there is no
 * memory. */
int NAME_backward(int64_t first, int64_t last, int64_t time, int64_t batch, const float *const *in,
                  const float *const *tensor, const float *const *value, const float *const *kept,
                  const float *const *line, const float *const *turned, const float *const *g_out,
                  float *const *g_in, float *const *g_state, float *const *g_line,
                  float *const *g_tensor)
{
    $tensors
    float *room = calloc(TOTAL * GROUP, sizeof(float));
    int32_t *index = malloc(LIST * sizeof(int32_t));
    float *amount = malloc(LIST * sizeof(float));
    int64_t n = 0;
    if (!room || !index || !amount) { free(room); free(index); free(amount); return 1; }
    $room
    for (int64_t b = first; b < last; b += GROUP) {
        const int64_t samples = last - b < GROUP ? last - b : GROUP;
        for (int64_t s = 0; s < samples; s++) {
            $load
        }
        for (int64_t t = time - 1; t >= 0; t--) {
            const int64_t row = t * batch + b;
            for (int64_t s = 0; s < samples; s++) {
                $start
            }
            $back
            for (int64_t s = 0; s < samples; s++) {
                $end
            }
        }
        for (int64_t s = 0; s < samples; s++) {
            $store
        }
    }
    free(room);
    free(index);
    free(amount);
    (void)n;
    return 0;
}
"""
