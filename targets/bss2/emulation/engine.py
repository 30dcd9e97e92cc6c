"""The event-driven loop of the analogue part, in C; copied into emitted folders.

Bits are the same on every machine and in `engine_python`: all is sums, products and quotients of
doubles in a fixed order, also the exponential, and the compiler may not fuse them (see `c_build`).
"""

from __future__ import annotations

import math

#: 1 / k! for the exponential, for k from 0.
TERMS = tuple(1 / math.factorial(k) for k in range(15))
#: log2(e), and ln(2) in two parts, of which the first times a small whole number is exact.
LOG2E, LN2_HIGH, LN2_LOW = 1.4426950408889634, 0.6931471803691238, 1.9082149292705877e-10
#: Beyond it, exp(-x) is taken as 0.
FARTHEST = 700.0
#: Below this difference of exponents two time constants are taken together, by a series.
NEAR = 0.5
#: Shares by which bounds are made safe against rounding: of a step, and in LSB.
SAFE_STEP, SAFE_LEVEL = 1 - 1e-9, 1e-9
#: No tick is as late.
NEVER = 1 << 60
#: Steps of the hash.
HASH_STEP, HASH_ONE, HASH_TWO = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
#: What a random number is for.
FOR_THRESHOLD, FOR_JITTER, FOR_CADC = 0, 1, 2

_CONSTANTS = f"""
#define LOG2E {LOG2E!r}
#define LN2_HIGH {LN2_HIGH!r}
#define LN2_LOW {LN2_LOW!r}
#define FARTHEST {FARTHEST!r}
#define NEAR {NEAR!r}
#define SAFE_STEP {SAFE_STEP!r}
#define SAFE_LEVEL {SAFE_LEVEL!r}
#define NEVER ((int64_t){NEVER})
#define HASH_STEP {HASH_STEP}u
#define HASH_ONE {HASH_ONE}u
#define HASH_TWO {HASH_TWO}u
enum {{ FOR_THRESHOLD = {FOR_THRESHOLD}, FOR_JITTER = {FOR_JITTER} }};
static const double TERMS[{len(TERMS)}] = {{ {", ".join(map(repr, TERMS))} }};
"""

ENGINE = (
    """
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
"""
    + _CONSTANTS
    + r"""
/* What does not change in a run. Rates are per tick, gains in LSB per tick and weight. */
typedef struct {
    double leak, reset, threshold, rate_mem, rate_exc, rate_inh, gain_exc, gain_inh;
} unit;

typedef struct {
    int64_t hold, refractory, circuit, spikes; /* ticks, ticks, number, whether it spikes */
} clock_facts;

typedef struct {
    int64_t units, latency, bus_limit, arbitrate;
    const unit *unit;
    const clock_facts *clock;
    const int64_t *legs, *bus, *entries, *entry_unit;
    const double *exc, *inh;
    double threshold_noise, jitter;
    uint64_t seed;
} chip;

/* One sample. Probes are ticks at which the membranes of some units are read. */
typedef struct {
    int64_t sample, ticks, events, probes, probed, room;
    const int64_t *event_tick, *event_packet, *probe_tick, *probe_unit;
    double *probe;
    int64_t *spike_tick, *spike_unit;
    int64_t found, crowded;
} job;

/* v, exc and inh are those at `time`; before `free_at` v is held at reset. No spike comes before
   tick `next`, and one comes there if `sure` and no event before. */
typedef struct {
    double v, exc, inh, threshold;
    int64_t time, free_at, allowed, next, sure, spikes;
} state;

typedef struct {
    int64_t tick, packet;
} event;

typedef struct {
    event *items; /* a ring, ordered by tick */
    int64_t first, count, room;
} queue;

/* exp(-x) for x >= 0 */
static double decay(double x) {
    union { uint64_t bits; double value; } power;
    int64_t k;
    double r, p;
    int n;
    if (x > FARTHEST) return 0.0;
    k = (int64_t)(x * LOG2E + 0.5);
    r = (double)k * LN2_HIGH - x + (double)k * LN2_LOW;
    p = TERMS[14];
    for (n = 13; n >= 0; n--) p = p * r + TERMS[n];
    power.bits = (uint64_t)(1023 - k) << 52;
    return p * power.value;
}

/* What a decaying current of 1 has added to a leaking membrane after dt ticks, given both decays:
   (slow - fast) / difference of rates, which is dt * slow where they are the same. */
static double response(double dt, double mem, double syn, double rate_mem, double rate_syn) {
    double gap = rate_mem - rate_syn, slow = syn, fast = mem, y, p;
    int n;
    if (gap < 0.0) {
        gap = -gap;
        slow = mem;
        fast = syn;
    }
    y = gap * dt;
    if (y >= NEAR) return (slow - fast) / gap;
    p = TERMS[14];
    for (n = 13; n >= 1; n--) p = TERMS[n] - p * y;
    return dt * slow * p;
}

static void move(state *s, const unit *u, int64_t tick) {
    if (s->time < s->free_at) {
        int64_t until = tick < s->free_at ? tick : s->free_at;
        double dt = (double)(until - s->time);
        s->exc = s->exc * decay(u->rate_exc * dt);
        s->inh = s->inh * decay(u->rate_inh * dt);
        s->time = until;
    }
    if (s->time < tick) {
        double dt = (double)(tick - s->time), mem = decay(u->rate_mem * dt);
        double exc = decay(u->rate_exc * dt);
        double inh = u->rate_inh == u->rate_exc ? exc : decay(u->rate_inh * dt);
        double up = 0.0, down = 0.0;
        if (s->exc != 0.0)
            up = u->gain_exc * s->exc * response(dt, mem, exc, u->rate_mem, u->rate_exc);
        if (s->inh != 0.0)
            down = u->gain_inh * s->inh * response(dt, mem, inh, u->rate_mem, u->rate_inh);
        s->v = u->leak + (s->v - u->leak) * mem + up - down;
        s->exc = s->exc * exc;
        s->inh = s->inh * inh;
        s->time = tick;
    }
}

/* Ticks after which v may be above the threshold for the first time. With the excitation that is
   there now, for ever, v would rise no slower; it would rise ever more slowly, to a level. */
static int64_t ahead(const state *s, const unit *u) {
    double drive = u->gain_exc * s->exc, left = s->threshold - s->v, slope, ticks;
    if (left < 0.0) return 1;
    if (u->rate_inh <= u->rate_exc) drive = drive - u->gain_inh * s->inh;
    if (drive < 0.0) drive = 0.0;
    if (drive < (s->threshold - u->leak - SAFE_LEVEL) * u->rate_mem) return NEVER;
    slope = (u->leak - s->v) * u->rate_mem + drive;
    if (slope <= 0.0) return NEVER;
    ticks = left / slope * SAFE_STEP;
    return ticks < 1e15 ? 1 + (int64_t)ticks : NEVER;
}

static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * HASH_ONE;
    x = (x ^ x >> 27) * HASH_TWO;
    return x ^ x >> 31;
}

/* Nearly normal, of variance 1: the sum of twelve numbers of 16 bits. */
static double normal(const chip *c, int64_t sample, int64_t circuit, int64_t number, int what) {
    uint64_t h = mix(c->seed + HASH_STEP), part;
    int64_t sum = 0;
    int n, k;
    h = mix(h + (uint64_t)sample * HASH_STEP + 1);
    h = mix(h + (uint64_t)circuit * HASH_STEP + 2);
    h = mix(h + (uint64_t)(number * 4 + what) * HASH_STEP + 3);
    for (n = 1; n <= 3; n++) {
        part = mix(h + (uint64_t)n * HASH_STEP);
        for (k = 0; k < 64; k += 16) sum += (int64_t)(part >> k & 65535);
    }
    return (double)(sum - 6 * 65535) / 65536.0;
}

static void draw_threshold(const chip *c, const job *j, state *s, int64_t n) {
    s->threshold = c->unit[n].threshold;
    if (c->threshold_noise != 0.0)
        s->threshold = s->threshold + c->threshold_noise *
            normal(c, j->sample, c->clock[n].circuit, s->spikes, FOR_THRESHOLD);
}

static int push(queue *q, int64_t tick, int64_t packet) {
    int64_t k;
    if (q->count == q->room) {
        event *items = malloc((size_t)q->room * 2 * sizeof *items);
        if (!items) return -1;
        for (k = 0; k < q->count; k++) items[k] = q->items[(q->first + k) % q->room];
        free(q->items);
        q->items = items;
        q->first = 0;
        q->room *= 2;
    }
    for (k = q->count++; k > 0; k--) { /* with jitter, it may go before others */
        event before = q->items[(q->first + k - 1) % q->room];
        if (before.tick <= tick) break;
        q->items[(q->first + k) % q->room] = before;
    }
    q->items[(q->first + k) % q->room] = (event){tick, packet};
    return 0;
}

/* Looks for a unit's next spike, no further than `stop`. */
static void search(state *s, const unit *u, int64_t stop) {
    while (!s->sure && s->next <= stop) {
        state then = *s;
        move(&then, u, s->next);
        if (then.v > s->threshold) {
            s->sure = 1;
        } else {
            int64_t far = ahead(&then, u);
            s->next = far == NEVER ? NEVER : s->next + far;
        }
    }
}

static int64_t first_spike(const chip *c, state *states, int64_t stop) {
    int64_t n, best = -1;
    for (n = 0; n < c->units; n++) {
        if (states[n].next > stop) continue;
        search(states + n, c->unit + n, stop);
        if (states[n].next <= stop && (best < 0 || states[n].next < states[best].next)) best = n;
    }
    return best;
}

static int spike(const chip *c, job *j, state *s, int64_t n, queue *q) {
    const clock_facts *clock = c->clock + n;
    int64_t tick = s->next, shift = 0, delay;
    move(s, c->unit + n, tick);
    s->v = c->unit[n].reset;
    s->free_at = tick + clock->hold;
    s->allowed = tick + clock->refractory;
    s->sure = 0;
    s->spikes++;
    draw_threshold(c, j, s, n);
    s->next = tick + 1 > s->allowed ? tick + 1 : s->allowed;
    if (c->jitter != 0.0)
        shift = (int64_t)floor(
            c->jitter * normal(c, j->sample, clock->circuit, s->spikes, FOR_JITTER) + 0.5);
    delay = c->latency + shift < 1 ? 1 : c->latency + shift;
    if (j->found < j->room) {
        j->spike_tick[j->found] = tick + shift < 0 ? 0 : tick + shift;
        j->spike_unit[j->found] = n;
    }
    j->found++;
    return j->found > j->room || push(q, tick + delay, n);
}

static void deliver(const chip *c, job *j, state *states, event e, int64_t *load) {
    int64_t leg, k, far;
    for (leg = c->legs[e.packet]; leg < c->legs[e.packet + 1]; leg++) {
        if (++load[c->bus[leg]] > c->bus_limit) {
            j->crowded++;
            if (c->arbitrate) continue;
        }
        for (k = c->entries[leg]; k < c->entries[leg + 1]; k++) {
            int64_t n = c->entry_unit[k];
            state *s = states + n;
            move(s, c->unit + n, e.tick);
            s->exc = s->exc + c->exc[k];
            s->inh = s->inh + c->inh[k];
            if (!c->clock[n].spikes) continue;
            far = ahead(s, c->unit + n);
            s->sure = 0;
            s->next = far == NEVER ? NEVER : e.tick + far;
            if (s->next < s->allowed) s->next = s->allowed;
        }
    }
}

static void read_probe(const chip *c, const job *j, const state *states, int64_t number) {
    int64_t k;
    for (k = 0; k < j->probed; k++) {
        int64_t n = j->probe_unit[k];
        state then = states[n];
        move(&then, c->unit + n, j->probe_tick[number]);
        j->probe[number * j->probed + k] = then.v;
    }
}

static void begin(const chip *c, const job *j, state *states) {
    int64_t n;
    for (n = 0; n < c->units; n++) {
        state *s = states + n;
        memset(s, 0, sizeof *s);
        s->v = c->unit[n].leak;
        s->next = c->clock[n].spikes ? 0 : NEVER;
        draw_threshold(c, j, s, n);
    }
}

static int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }

/* Goes from stop to stop: ticks with events, and those before which a membrane is read. */
static int go(const chip *c, job *j, state *states, queue *q) {
    int64_t at = 0, probe = 0, stop = -1, n;
    while (stop < j->ticks - 1) {
        int64_t load[8] = {0};
        stop = j->ticks - 1;
        if (at < j->events) stop = at_most(stop, j->event_tick[at]);
        if (probe < j->probes) stop = at_most(stop, j->probe_tick[probe] - 1);
        if (q->count) stop = at_most(stop, q->items[q->first].tick);
        while ((n = first_spike(c, states, stop)) >= 0) {
            if (spike(c, j, states + n, n, q)) return -1;
            stop = at_most(stop, q->items[q->first].tick);
        }
        for (; at < j->events && j->event_tick[at] == stop; at++)
            deliver(c, j, states, (event){stop, j->event_packet[at]}, load);
        while (q->count && q->items[q->first].tick == stop) {
            deliver(c, j, states, q->items[q->first], load);
            q->first = (q->first + 1) % q->room;
            q->count--;
        }
        for (; probe < j->probes && j->probe_tick[probe] - 1 == stop; probe++)
            read_probe(c, j, states, probe);
    }
    return 0;
}

/* Returns 0; otherwise there was too little room for spikes, or memory. */
int run(const chip *c, job *j) {
    state *states = malloc((size_t)c->units * sizeof *states);
    queue q = {malloc(64 * sizeof(event)), 0, 0, 64};
    int failed = !states || !q.items;
    j->found = j->crowded = 0;
    if (!failed) {
        begin(c, j, states);
        failed = go(c, j, states, &q);
    }
    free(states);
    free(q.items);
    return failed;
}
"""
)
