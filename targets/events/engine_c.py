"""The engine in C: one sample from event to event; copied into emitted folders.

It does the same as `engine_python`, operation by operation, so that times are equal in every bit
where both use the same mathematical library.
"""

from __future__ import annotations

from snnir.targets.events.engine_c_neurons import NEURONS
from snnir.targets.events.plan import LONGEST, SAME

#: Its name in emitted folders.
FILE = "engine.c"

_LOOP = r"""
typedef struct {
    int64_t neurons, inputs, laws;
    const law *law;
    const int32_t *law_of;
    const double *bias, *kick, *v_start, *i_start;
    const int64_t *group_first, *group_start;      /* of units; of groups */
    const double *group_delay;
    const int32_t *target;
    const double *weight;
    double pulse, dt;
} network;

typedef struct {
    int64_t count;                                 /* what enters, in order of time */
    const double *time, *value;
    const int32_t *unit;
    const int8_t *kind, *change;
    double duration;
    int64_t probes, probed;                        /* times; neurons */
    const double *probe_time;
    const int32_t *probe_neuron;
    double *probe_v, *probe_i;
    int64_t most;
} job;

typedef struct {
    int64_t count, room;
    double *time;
    int64_t *unit;
    double *current, *drive, *v;
    int64_t delivered, arrived, searched, bad_unit;
    double bad_time;
} trace;

typedef struct {
    double v, i, t, x, until, when, before;
    int64_t place, held, stamp;
    int is_exact;                                  /* whether it fires at `when`, or not before */
    const law *law;
    memo *memo;
} neuron;

typedef struct {
    double time, origin, value;
    int64_t order, group;
    int32_t unit;
    int8_t kind, change;
} arrival;

typedef struct {
    const network *net;
    const job *job;
    trace *out;
    neuron *all;
    memo *memos;
    arrival *waiting;
    int64_t waits, room, order;
    int32_t *heap, *touched, *firing;
    int64_t predicted, touches, fires, stamp;
    int failure;
} run;

/* --- Queues -------------------------------------------------------------------------------- */

static int sooner(const arrival *a, const arrival *b) {
    return a->time < b->time || (a->time == b->time && a->order < b->order);
}

/* The start of a step that a time is but for rounding, else the time itself. */
static double on_step(double t, double dt) {
    double number = t / dt, start;
    if (!(number < LONGEST)) return t;
    start = floor(number + 0.5) * dt;
    return fabs(t - start) <= SAME * t ? start : t;
}

static void push(run *r, arrival item) {
    int64_t at, up;
    if (!(item.time < r->job->duration)) return;
    if (r->waits == r->room) {
        int64_t room = r->room * 2;
        arrival *more = realloc(r->waiting, (size_t)room * sizeof *more);
        if (!more) { r->failure = NO_MEMORY; return; }
        r->waiting = more;
        r->room = room;
    }
    item.order = r->order++;
    for (at = r->waits++; at > 0; at = up) {
        up = (at - 1) / 2;
        if (!sooner(&item, &r->waiting[up])) break;
        r->waiting[at] = r->waiting[up];
    }
    r->waiting[at] = item;
}

static arrival pop(run *r) {
    arrival first = r->waiting[0], last = r->waiting[--r->waits];
    int64_t at = 0, down;
    while ((down = 2 * at + 1) < r->waits) {
        if (down + 1 < r->waits && sooner(&r->waiting[down + 1], &r->waiting[down])) down++;
        if (!sooner(&r->waiting[down], &last)) break;
        r->waiting[at] = r->waiting[down];
        at = down;
    }
    r->waiting[at] = last;
    return first;
}

static int earlier(const run *r, int32_t a, int32_t b) {
    double p = r->all[a].when, q = r->all[b].when;
    return p < q || (p == q && a < b);
}

static void put(run *r, int64_t at, int32_t n) {
    r->heap[at] = n;
    r->all[n].place = at;
}

static void sift(run *r, int64_t at, int32_t n) {
    int64_t up, down;
    for (; at > 0; at = up) {
        up = (at - 1) / 2;
        if (!earlier(r, n, r->heap[up])) break;
        put(r, at, r->heap[up]);
    }
    while ((down = 2 * at + 1) < r->predicted) {
        if (down + 1 < r->predicted && earlier(r, r->heap[down + 1], r->heap[down])) down++;
        if (!earlier(r, r->heap[down], n)) break;
        put(r, at, r->heap[down]);
        at = down;
    }
    put(r, at, n);
}

static void predict(run *r, int32_t n, double when) {
    neuron *p = &r->all[n];
    int64_t at = p->place;
    if (when < r->job->duration) {
        if (at >= 0 && p->when == when) return;
        p->when = when;
        sift(r, at >= 0 ? at : r->predicted++, n);
        return;
    }
    p->when = INFINITY;
    if (at < 0) return;
    p->place = -1;
    if (at != --r->predicted) sift(r, at, r->heap[r->predicted]);
}

/* --- Events -------------------------------------------------------------------------------- */

static void advance(neuron *p, double t, double *v, double *i, double from) {
    if (p->until > from) {
        double stop = t < p->until ? t : p->until;
        flow(p->law, p->memo, stop - from, p->x, v, i, 1);
        from = stop;
    }
    if (t > from) flow(p->law, p->memo, t - from, p->x, v, i, 0);
}

static neuron *touch(run *r, int32_t n, double t) {
    neuron *p = &r->all[n];
    if (p->stamp != r->stamp) {
        p->stamp = r->stamp;
        r->touched[r->touches++] = n;
        if (t > p->t) {
            advance(p, t, &p->v, &p->i, p->t);
            p->t = t;
        }
        p->before = p->v;
    }
    return p;
}

static void deliver(run *r, const arrival *e) {
    const network *net = r->net;
    int64_t k, end = net->group_start[e->group + 1], holds = 0;
    double t = e->time;
    for (k = net->group_start[e->group]; k < end; k++) {
        int32_t n = net->target[k];
        neuron *p = touch(r, n, t);
        double w = net->weight[k], kick = net->kick[n];
        if (e->kind != CURRENT && (kick != 0 || net->pulse == 0)) {
            if (e->kind == END) continue;          /* of a pulse that others hold */
            if (p->law->synapse != 0) p->i += kick * w;
            else if (p->until <= t) p->v += kick * w;
            continue;
        }
        p->x += w * e->value;
        p->held += e->change;
        if (p->held == 0) p->x = net->bias[n];
        holds = 1;
    }
    r->out->delivered += end - net->group_start[e->group];
    r->out->arrived++;
    if (e->kind == SPIKE && holds) {
        arrival stop = *e;
        stop.kind = END;
        stop.time = fmax(t, on_step(t + net->pulse, net->dt));
        stop.value = -e->value;
        stop.change = -1;
        push(r, stop);
    }
}

/* Let a group arrive, and put its unit's next group into the queue. */
static void arrive(run *r, arrival e) {
    deliver(r, &e);
    if (e.kind != END && ++e.group < r->net->group_first[e.unit + 1]) {
        e.time = fmax(e.origin, on_step(e.origin + r->net->group_delay[e.group], r->net->dt));
        push(r, e);
    }
}

static void launch(run *r, int32_t unit, double t, double value, int kind, int change) {
    arrival e = {t, t, value, 0, 0, unit, (int8_t)kind, (int8_t)change};
    e.group = r->net->group_first[unit];
    if (e.group == r->net->group_first[unit + 1]) return;
    if (r->net->group_delay[e.group] > 0) {
        e.time = fmax(t, on_step(t + r->net->group_delay[e.group], r->net->dt));
        push(r, e);
    } else arrive(r, e);
}

static int grow(trace *o) {
    int64_t room = o->room ? 2 * o->room : 1024;
    size_t bytes = (size_t)room * 8;
    void **all[5], *more;
    int k;
    all[0] = (void **)&o->time, all[1] = (void **)&o->unit, all[2] = (void **)&o->current;
    all[3] = (void **)&o->drive, all[4] = (void **)&o->v;
    for (k = 0; k < 5; k++) {
        more = realloc(*all[k], bytes);
        if (!more) return NO_MEMORY;
        *all[k] = more;
    }
    o->room = room;
    return OK;
}

static void fail(run *r, int why, int32_t n, double t) {
    r->failure = why;
    r->out->bad_time = t;
    r->out->bad_unit = n + r->net->inputs;
}

static void record(run *r, int32_t n, double t) {
    trace *o = r->out;
    const neuron *p = &r->all[n];
    if (o->count >= r->job->most) { fail(r, TOO_MANY, n, t); return; }
    if (o->count == o->room && (r->failure = grow(o)) != OK) return;
    o->time[o->count] = t;
    o->unit[o->count] = n + r->net->inputs;
    o->current[o->count] = p->i;
    o->drive[o->count] = p->x;
    o->v[o->count++] = p->v;
}

static int is_beyond(const law *c, double v) {
    return v > c->threshold || (c->ge != 0 && v == c->threshold);
}

/* Whether a touched neuron fires now; if not, when it will is put down. */
static int judge(run *r, int32_t n, double t) {
    neuron *p = &r->all[n];
    const law *c = p->law;
    double start = p->until > t ? p->until : t, s;
    if (!(fabs(p->v) <= DBL_MAX && fabs(p->i) <= DBL_MAX && fabs(p->x) <= DBL_MAX)) {
        fail(r, NOT_FINITE, n, t);
        return 0;
    }
    if (start == t && c->reset == NONE && !is_beyond(c, p->before) && is_beyond(c, p->v)) return 1;
    if (start == t && (c->synapse == 0 || p->v >= c->threshold)) {
        s = crossing(c, p->v, p->i, p->x);
        r->out->searched++;
        if (s == 0) return 1;
        predict(r, n, t + s);
        p->is_exact = 1;
        return 0;
    }
    s = start > t ? (c->threshold < INFINITY ? 0 : INFINITY) : soonest(c, p->v, p->i, p->x);
    p->is_exact = 0;
    if (p->place < 0 || s == INFINITY || p->when > start + s) predict(r, n, start + s);
    return 0;
}

/* Find when a neuron really fires of which it is only known that it does not before `when`. */
static void refine(run *r, int32_t n) {
    neuron *p = &r->all[n];
    double v = p->v, i = p->i, from = p->t, when;
    if (p->until > from) {
        flow(p->law, p->memo, p->until - from, p->x, &v, &i, 1);
        from = p->until;
    }
    when = from + crossing(p->law, v, i, p->x);
    r->out->searched++;
    p->is_exact = 1;
    predict(r, n, when > p->when ? when : p->when);
}

static int by_number(const void *a, const void *b) {
    int32_t p = *(const int32_t *)a, q = *(const int32_t *)b;
    return (p > q) - (p < q);
}

/* Fire once; again at once while what was subtracted leaves the membrane beyond the threshold. */
static void fire(run *r, int32_t n, double t) {
    neuron *p = &r->all[n];
    const law *c = p->law;
    do {
        record(r, n, t);
        if (c->reset == TO) p->v = c->v_reset;
        else if (c->reset == SUBTRACT) p->v -= c->threshold;
        if (c->refractory > 0) p->until = on_step(t + c->refractory, r->net->dt);
    } while (!r->failure && c->reset == SUBTRACT && !(p->until > t) && is_beyond(c, p->v));
}

/* Everything at time t after what arrived was applied: spikes, and what they cause at once. */
static void settle(run *r, double t) {
    int64_t generation = 0, k, first, last;
    for (;;) {
        r->fires = 0;
        for (k = 0; k < r->touches && !r->failure; k++)
            if (judge(r, r->touched[k], t)) r->firing[r->fires++] = r->touched[k];
        for (k = 0; k < r->fires; k++) predict(r, r->firing[k], INFINITY);
        while (r->predicted && r->all[r->heap[0]].when <= t) {
            int32_t n = r->heap[0];
            neuron *p = &r->all[n];
            if (!p->is_exact) {
                refine(r, n);
                continue;
            }
            predict(r, n, INFINITY);
            if (t > p->t) {
                advance(p, t, &p->v, &p->i, p->t);
                p->t = t;
            }
            if (p->until != t || !is_beyond(p->law, p->v)) p->v = p->law->threshold;
            r->firing[r->fires++] = n;
        }
        if (!r->fires || r->failure) return;
        if (++generation > 2 * r->net->neurons + 16) {
            fail(r, CASCADE, r->firing[0], t);
            return;
        }
        qsort(r->firing, (size_t)r->fires, sizeof *r->firing, by_number);
        r->stamp++;
        r->touches = 0;
        first = r->out->count;
        for (k = 0; k < r->fires && !r->failure; k++) {
            fire(r, r->firing[k], t);
            touch(r, r->firing[k], t)->before = INFINITY;
        }
        last = r->out->count;
        for (k = first; k < last && !r->failure; k++)
            launch(r, (int32_t)r->out->unit[k], t, 1, SPIKE, 1);
    }
}

static void probe(run *r, int64_t at) {
    const job *j = r->job;
    int64_t k;
    for (k = 0; k < j->probed; k++) {
        neuron *p = &r->all[j->probe_neuron[k]];
        double v = p->v, i = p->i;
        if (j->probe_time[at] > p->t) advance(p, j->probe_time[at], &v, &i, p->t);
        j->probe_v[at * j->probed + k] = v;
        j->probe_i[at * j->probed + k] = i;
    }
}

static void loop(run *r) {
    const job *j = r->job;
    int64_t given = 0, probed = 0;
    int32_t n;
    r->stamp = 1;
    for (n = 0; n < r->net->neurons; n++) {
        touch(r, n, 0);
        r->all[n].before = -INFINITY;
    }
    double t = 0;
    int is_start = 1;
    for (;;) {
        if (!is_start) {
            t = INFINITY;
            if (given < j->count) t = j->time[given];
            if (r->waits && r->waiting[0].time < t) t = r->waiting[0].time;
            while (r->predicted && r->all[r->heap[0]].when < t) {
                if (r->all[r->heap[0]].is_exact) t = r->all[r->heap[0]].when;
                else refine(r, r->heap[0]);
            }
            if (!(t < j->duration)) break;
        }
        while (probed < j->probes && j->probe_time[probed] <= t) probe(r, probed++);
        if (!is_start) {
            r->stamp++;
            r->touches = 0;
        }
        is_start = 0;
        for (; given < j->count && j->time[given] <= t; given++)
            launch(r, j->unit[given], t, j->value[given], j->kind[given], j->change[given]);
        while (r->waits && r->waiting[0].time <= t && !r->failure) arrive(r, pop(r));
        settle(r, t);
        if (r->failure) return;
    }
    for (; probed < j->probes; probed++) probe(r, probed);
}

int snn_events(const network *net, const job *j, trace *out) {
    run r;
    int64_t n, room = net->neurons + 1;
    memset(&r, 0, sizeof r);
    r.net = net, r.job = j, r.out = out, r.room = 256;
    r.all = malloc((size_t)room * sizeof *r.all);
    r.memos = malloc((size_t)(net->laws + 1) * sizeof *r.memos);
    r.waiting = malloc((size_t)r.room * sizeof *r.waiting);
    r.heap = malloc((size_t)room * sizeof *r.heap);
    r.touched = malloc((size_t)room * sizeof *r.touched);
    r.firing = malloc((size_t)room * sizeof *r.firing);
    if (!r.all || !r.memos || !r.waiting || !r.heap || !r.touched || !r.firing)
        r.failure = NO_MEMORY;
    else {
        for (n = 0; n < net->laws; n++) r.memos[n].s = -1;
        for (n = 0; n < net->neurons; n++) {
            neuron fresh = {net->v_start[n], net->i_start[n], 0, net->bias[n], -INFINITY, INFINITY,
                            0, -1, 0, 0, 0, &net->law[net->law_of[n]], &r.memos[net->law_of[n]]};
            r.all[n] = fresh;
        }
        loop(&r);
    }
    free(r.all), free(r.memos), free(r.waiting), free(r.heap), free(r.touched), free(r.firing);
    return r.failure;
}

void snn_free(trace *o) {
    free(o->time), free(o->unit), free(o->current), free(o->drive), free(o->v);
}
"""

ENGINE = f"#define SAME {SAME!r}\n#define LONGEST {LONGEST!r}\n{NEURONS}{_LOOP}"
