"""The backward run in C: as `adjoint.py`, operation by operation, one call per range of samples."""

from __future__ import annotations

from snnir.targets.events.plan import LONGEST, SAME

SOURCE = (
    f"#define SAME {SAME!r}\n#define LONGEST {LONGEST!r}\n"
    + r"""#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { TO, SUBTRACT, NONE };                       /* resets */
enum { SPIKE, END, CURRENT };                      /* what arrives */

typedef struct {                                   /* one row of the table of laws */
    double synapse, mem, syn, push, feed, leak, threshold, reset, v_reset, refractory;
} law;

typedef struct {
    double h, em, es, mean_mem, mean_syn, phi, psi;  /* what h seconds do, see flow.py */
} memo;

typedef struct {
    int64_t inputs, neurons, laws, synapses;
    const law *law;
    const int64_t *law_of;
    const double *kick;
    const int64_t *groups_of, *first;              /* groups of units; synapses of groups */
    const double *delay;
    const int64_t *target;
    const double *weight;
    const uint8_t *is_held;
    double clip, dt;
} network;

typedef struct {                                   /* samples one after the other */
    const int64_t *spikes, *arrivals, *events;     /* [samples + 1] */
    const double *time;                            /* of the record */
    const int64_t *unit;
    const double *current, *drive, *v, *by_time;
    const double *at;                              /* of arrivals */
    const int64_t *group, *source;
    const double *amount;
    const int64_t *kind;
} batch;

typedef struct {
    double v, i, x;                                /* the adjoint state, at time `at` */
    double at, pending, pending_at, slope;
    int64_t last, alive;
} neuron;

typedef struct {
    const network *net;
    const batch *job;
    neuron *all;
    memo *memos;
    double *by_time;                               /* [spikes] of the sample */
    int64_t *before;
    const double *time;
    double *weight, *delay;
} run;

/* The start of a step that a time is but for rounding, else the time itself; as the engine's. */
static double on_step(double t, double dt) {
    double number = t / dt, start;
    if (!(number < LONGEST)) return t;
    start = floor(number + 0.5) * dt;
    return fabs(t - start) <= SAME * t ? start : t;
}

static double mean_decay(double z) { return z == 0 ? 1 : -expm1(-z) / z; }

static void recall(const law *c, memo *m, double h) {
    double a, b, z;
    if (h == m->h) return;
    m->h = h;
    m->em = exp(-c->mem * h);
    m->mean_mem = h * mean_decay(c->mem * h);
    if (c->synapse == 0) return;
    m->es = exp(-c->syn * h);
    m->mean_syn = h * mean_decay(c->syn * h);
    a = c->syn * h, b = c->mem * h;
    m->phi = a < b ? m->es * h * mean_decay(b - a) : m->em * h * mean_decay(a - b);
    if (fabs(b - a) >= 2e-5) m->psi = h * h * (mean_decay(a) - mean_decay(b)) / (b - a);
    else {
        z = (a + b) / 2;
        if (z < 1e-2) m->psi = 0.5 - z / 3 + z * z / 8 - z * z * z / 30 + z * z * z * z / 144;
        else m->psi = (mean_decay(z) - exp(-z)) / z;
        m->psi *= h * h;
    }
}

static void flow(const law *c, memo *m, neuron *p, double h, int is_held) {
    double v = p->v, i = p->i;
    if (!(h > 0)) return;
    recall(c, m, h);
    if (c->synapse != 0) {
        p->x += i * c->feed * m->mean_syn;
        p->i = i * m->es;
        if (is_held) return;
        p->x += v * c->feed * c->push * m->psi;
        p->i += v * c->push * m->phi;
    } else {
        if (is_held) return;
        p->x += v * c->push * m->mean_mem;
    }
    p->v = v * m->em;
}

/* When the refractory period after a neuron's latest spike ends. */
static double ending_of(const run *r, const neuron *p, const law *c) {
    return on_step(r->time[p->last] + c->refractory, r->net->dt);
}

/* Bring a neuron to an earlier time; the end of the refractory period it is in, or -infinity. */
static double advance(run *r, int64_t n, double time) {
    const law *c = &r->net->law[r->net->law_of[n]];
    memo *m = &r->memos[r->net->law_of[n]];
    neuron *p = &r->all[n];
    double until = -INFINITY, stop = time;
    if (p->last >= 0 && c->refractory > 0) until = ending_of(r, p, c);
    if (p->alive) {
        if (until > stop) stop = until < p->at ? until : p->at;
        flow(c, m, p, p->at - stop, 0);
        flow(c, m, p, stop - time, 1);
    }
    p->at = time;
    return until;
}

/* Decide on a spike that no arrival made: the end of a refractory period, or a crossing. */
static void settle(run *r, int64_t n) {
    const law *c = &r->net->law[r->net->law_of[n]];
    neuron *p = &r->all[n];
    double time = p->pending_at;
    if (time < 0) return;
    p->pending_at = -1;
    if (p->last >= 0 && time == ending_of(r, p, c)) {
        r->by_time[p->last] += p->pending;
        return;
    }
    p->v -= p->pending * fmin(1 / p->slope, r->net->clip);
}

/* Undo an arrival at a group; derivatives by its amount and its time. */
static void undo(run *r, int64_t group, double time, double amount, int kind,
                 double *by_amount, double *by_time) {
    const network *net = r->net;
    int64_t k, end = net->first[group + 1];
    double jumps = 0, shifts = 0;
    for (k = net->first[group]; k < end; k++) {
        int64_t n = net->target[k];
        const law *c = &net->law[net->law_of[n]];
        neuron *p = &r->all[n];
        int level = net->is_held[k] || kind == CURRENT, is_held;
        double w = amount * net->weight[k], until, v, slope, shift, seen, left;
        if (kind == END && !level) continue;
        if (p->pending_at >= 0 && p->pending_at != time) settle(r, n);
        if (!p->alive && p->v == 0 && p->pending_at < 0) continue;
        p->alive = 1;
        until = advance(r, n, time);
        is_held = time < until;
        v = is_held ? 0 : p->v;
        left = is_held ? until - time : 0;
        if (level) {
            slope = p->x;
            shift = -w * (c->synapse != 0 ? p->i * c->feed : v * c->push);
            seen = c->synapse != 0 ? w * c->feed * left * mean_decay(c->syn * left) : w;
        } else if (c->synapse != 0) {
            slope = net->kick[n] * p->i;
            shift = w * net->kick[n] * (c->syn * p->i - c->push * v);
            seen = is_held ? w * net->kick[n] * exp(-c->syn * left) : 0;
        } else {
            slope = net->kick[n] * v;
            shift = w * net->kick[n] * c->mem * v;
            seen = 0;
        }
        if (is_held) r->by_time[p->last] -= p->v * c->push * seen;
        if (kind == SPIKE && p->pending_at == time) {
            shift += p->pending;
            p->pending_at = -1;
        }
        r->weight[k] += amount * slope;
        r->delay[k] += shift;
        jumps += net->weight[k] * slope;
        shifts += shift;
    }
    *by_amount = jumps;
    *by_time = shifts;
}

static double speed(const law *c, double v, double drive) {
    return -c->mem * (v - c->leak) + c->push * drive;
}

/* Undo a spike: what depends on its time depends on v just before. */
static void fire(run *r, int64_t first, int64_t k) {
    const network *net = r->net;
    const batch *job = r->job;
    int64_t at = first + k, n = job->unit[at] - net->inputs;
    const law *c = &net->law[net->law_of[n]];
    neuron *p = &r->all[n];
    double time = r->time[k], drive = c->synapse != 0 ? job->current[at] : job->drive[at];
    double before = speed(c, job->v[at], drive), after = 0, v = job->v[at], total;
    int is_kept = c->reset != TO, jumped = job->v[at] > c->threshold, crosses;
    if (p->pending_at == time) {
        r->by_time[k] += p->pending;
        p->pending_at = -1;
    }
    settle(r, n);
    advance(r, n, time);
    if (c->reset == TO) v = c->v_reset;
    else if (c->reset == SUBTRACT) v -= c->threshold;
    if (c->refractory > 0) {
        double h = c->refractory, ending = drive;
        if (c->synapse != 0)
            ending = drive * exp(-c->syn * h)
                     + c->feed * job->drive[at] * h * mean_decay(c->syn * h);
        r->by_time[k] -= p->v * speed(c, v, ending);
    } else after = speed(c, v, drive);
    total = r->by_time[k] + p->v * ((is_kept ? before : 0) - after);
    if (!is_kept) p->v = 0;
    p->last = r->before[k];
    p->alive |= total != 0;
    crosses = before > 0 && !jumped;
    if (jumped || (net->kick[n] != 0 && c->synapse == 0)) {
        p->pending = total;
        p->pending_at = time;
        p->slope = crosses ? before : INFINITY;
    } else if (crosses) p->v -= total * fmin(1 / before, net->clip);
}

static void arrive(run *r, int64_t at, double *inputs) {
    const batch *job = r->job;
    double by_amount, by_time;
    int64_t source = job->source[at];
    undo(r, job->group[at], job->at[at], job->amount[at], (int)job->kind[at], &by_amount, &by_time);
    if (source >= 0) r->by_time[source] += by_time;
    else inputs[-1 - source] += job->kind[at] == CURRENT ? by_amount : by_time;
}

static void sample(run *r, int64_t s, double *inputs) {
    const network *net = r->net;
    const batch *job = r->job;
    int64_t first = job->spikes[s], spikes = job->spikes[s + 1] - first, k, g;
    int64_t left = job->arrivals[s + 1], begin = job->arrivals[s];
    double by_amount, by_time;
    for (k = 0; k < net->neurons; k++) {
        neuron fresh = {0, 0, 0, 0, 0, -1, 1, -1, 0};
        r->all[k] = fresh;
    }
    r->time = job->time + first;
    for (k = 0; k < spikes; k++) {
        neuron *p = &r->all[job->unit[first + k] - net->inputs];
        r->before[k] = p->last;
        p->last = k;
        r->by_time[k] = job->by_time[first + k];
    }
    inputs += job->events[s];
    for (k = spikes - 1; k >= 0; k--) {
        int64_t unit = job->unit[first + k];
        while (left > begin && job->at[left - 1] > r->time[k]) arrive(r, --left, inputs);
        for (g = net->groups_of[unit]; g < net->groups_of[unit + 1]; g++) {
            if (net->delay[g] != 0) continue;
            undo(r, g, r->time[k], 1, SPIKE, &by_amount, &by_time);
            r->by_time[k] += by_time;
        }
        fire(r, first, k);
    }
    while (left > begin) arrive(r, --left, inputs);
}

/* Samples first ... last - 1; adds to weight and delay [synapses]. 1 if there is no memory. */
int snn_backward(const network *net, const batch *job, int64_t first, int64_t last,
                 double *weight, double *delay, double *inputs) {
    int64_t s, k, most = 0;
    run r;
    memset(&r, 0, sizeof r);
    for (s = first; s < last; s++) {
        int64_t count = job->spikes[s + 1] - job->spikes[s];
        if (count > most) most = count;
    }
    r.net = net, r.job = job, r.weight = weight, r.delay = delay;
    r.all = malloc((size_t)(net->neurons + 1) * sizeof *r.all);
    r.memos = malloc((size_t)(net->laws + 1) * sizeof *r.memos);
    r.by_time = malloc((size_t)(most + 1) * sizeof *r.by_time);
    r.before = malloc((size_t)(most + 1) * sizeof *r.before);
    if (r.all && r.memos && r.by_time && r.before) {
        for (k = 0; k < net->laws; k++) r.memos[k].h = -1;
        for (s = first; s < last; s++) sample(&r, s, inputs);
        k = 0;
    } else k = 1;
    free(r.all), free(r.memos), free(r.by_time), free(r.before);
    return (int)k;
}
"""
)
