"""The event loop of the emulator, in C; copied into emitted folders."""

from __future__ import annotations

ENGINE = r"""
#include <stdint.h>
#include <stdlib.h>

typedef struct {
    int32_t kernel, stride_y, stride_x, padding_y, padding_x, height, width, channels;
    int32_t high, low, to_zero, leak, targets;
    int32_t layer[2], pooling[2], shift[2];
    const int8_t *weight;
    const int16_t *bias;
    int16_t *state;
    float *out;
    int64_t spikes;
} core;

#define MOST_WAITING ((size_t)1 << 25)

typedef struct {
    uint64_t *items;
    size_t first, count, room;
} queue;

static int push(queue *q, uint64_t item) {
    if (q->count == q->room) {
        size_t room = q->room * 2, k;
        uint64_t *items = malloc(room * sizeof *items);
        if (room > MOST_WAITING || !items) {
            free(items);
            return -1;
        }
        for (k = 0; k < q->count; k++) items[k] = q->items[(q->first + k) & (q->room - 1)];
        free(q->items);
        q->items = items;
        q->first = 0;
        q->room = room;
    }
    q->items[(q->first + q->count++) & (q->room - 1)] = item;
    return 0;
}

static int spike(core *c, float *out, queue *q, int y, int x, int f) {
    int d;
    c->spikes++;
    if (out) out[((int64_t)f * c->height + y) * c->width + x] += 1;
    for (d = 0; d < c->targets; d++) {
        uint64_t to = (uint64_t)c->layer[d] << 32 | (uint64_t)(f + c->shift[d]) << 16;
        to |= (uint64_t)(y / c->pooling[d]) << 8 | (uint64_t)(x / c->pooling[d]);
        if (push(q, to)) return -1;
    }
    return 0;
}

#define ADD(TERM) \
    for (f = 0; f < n; f++) { \
        int32_t sum = state[f] + TERM[f]; \
        sum = sum < low ? low : sum; \
        sum = sum > 32767 ? 32767 : sum; \
        state[f] = (int16_t)sum; \
        most = sum > most ? sum : most; \
    }

static int32_t add8(int16_t *state, const int8_t *term, int n, int32_t low) {
    int32_t most = -32768;
    int f;
    ADD(term)
    return most;
}

static int32_t add16(int16_t *state, const int16_t *term, int n, int32_t low) {
    int32_t most = -32768;
    int f;
    ADD(term)
    return most;
}

static int fire(core *c, float *out, queue *q, int y, int x, int16_t *state, int reverse) {
    int k;
    for (k = 0; k < c->channels; k++) {
        int f = reverse ? c->channels - 1 - k : k;
        if (state[f] >= c->high) {
            state[f] = c->to_zero ? 0 : (int16_t)(state[f] - c->high);
            if (spike(c, out, q, y, x, f)) return -1;
        }
    }
    return 0;
}

static int first_seen(int place, int kernel, int stride) {
    return place < kernel ? 0 : (place - kernel) / stride + 1;
}

static int last_seen(int place, int count, int stride) {
    return place / stride < count ? place / stride : count - 1;
}

static int visit(core *c, float *out, queue *q, uint64_t event, int reverse) {
    int y = (int)(event >> 8 & 255) + c->padding_y, x = (int)(event & 255) + c->padding_x;
    int top = first_seen(y, c->kernel, c->stride_y), bottom = last_seen(y, c->height, c->stride_y);
    int left = first_seen(x, c->kernel, c->stride_x), right = last_seen(x, c->width, c->stride_x);
    const int8_t *weights =
        c->weight + (int64_t)(event >> 16 & 65535) * c->kernel * c->kernel * c->channels;
    int row, column;
    for (row = top; row <= bottom; row++) {
        int oy = reverse ? bottom + top - row : row;
        for (column = left; column <= right; column++) {
            int ox = reverse ? right + left - column : column;
            int tap = (y - oy * c->stride_y) * c->kernel + x - ox * c->stride_x;
            int16_t *state = c->state + ((int64_t)oy * c->width + ox) * c->channels;
            if (add8(state, weights + (int64_t)tap * c->channels, c->channels, c->low) >= c->high &&
                fire(c, out, q, oy, ox, state, reverse))
                return -1;
        }
    }
    return 0;
}

static float *now(core *c, int64_t step) {
    return c->out ? c->out + step * c->channels * c->height * c->width : 0;
}

static int settle(core *cores, int64_t step, queue *q, int reverse) {
    while (q->count) {
        uint64_t event = q->items[q->first];
        int layer = (int)(event >> 32);
        core *c = cores + layer;
        q->first = (q->first + 1) & (q->room - 1);
        q->count--;
        if (layer >= 9) continue;
        if (visit(c, now(c, step), q, event, reverse)) return -1;
    }
    return 0;
}

static int tick(core *cores, int64_t step, queue *q, int reverse) {
    int k, place;
    for (k = 0; k < 9; k++) {
        core *c = cores + k;
        float *out = now(c, step);
        if (!c->leak) continue;
        for (place = 0; place < c->height * c->width; place++) {
            int at = reverse ? c->height * c->width - 1 - place : place;
            int16_t *state = c->state + (int64_t)at * c->channels;
            if (add16(state, c->bias, c->channels, c->low) >= c->high &&
                fire(c, out, q, at / c->width, at % c->width, state, reverse))
                return -1;
        }
    }
    return settle(cores, step, q, reverse);
}

int run(core *cores, const uint64_t *events, const int64_t *ends, const int32_t *ticks,
        int64_t steps, int reverse) {
    queue q = {0, 0, 0, 1024};
    int64_t step, at = 0;
    int failed = !(q.items = malloc(q.room * sizeof *q.items));
    for (step = 0; step < steps && !failed; step++) {
        int32_t left;
        for (left = ticks[step]; left > 0 && !failed; left--)
            failed = tick(cores, step, &q, reverse);
        for (; at < ends[step] && !failed; at++) {
            failed = push(&q, events[at] & (((uint64_t)1 << 40) - 1));
            if (!failed && !(events[at] >> 40)) failed = settle(cores, step, &q, reverse);
        }
    }
    free(q.items);
    return failed;
}
"""
