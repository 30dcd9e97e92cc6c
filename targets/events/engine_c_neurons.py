"""The C engine's neurons: how states flow, and when a threshold is crossed.

Operation by operation what `crossing` does in Python.
"""

from __future__ import annotations

NEURONS = r"""
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { TO, SUBTRACT, NONE };                       /* resets */
enum { SPIKE, END, CURRENT };                      /* what arrives */
enum { OK, NO_MEMORY, TOO_MANY, CASCADE, NOT_FINITE };

typedef struct {                                   /* one row of the table of laws */
    double synapse, a, b, g, ki, kv, leak, threshold, ge, reset, v_reset, refractory;
    double highest, gap, form, slow, far;
} law;

typedef struct { double s, ea, eb, phi; } memo;    /* what time s does to a law's states */

/* exp(-a s), exp(-b s) and phi(s) = (exp(-b s) - exp(-a s)) / (a - b) */
static void factors(const law *c, double s, double *ea, double *eb, double *phi) {
    double z, u;
    if (c->form == 0) {
        z = c->gap * s;
        *ea = exp(-c->a * s);
        if (fabs(z) < 0.5) {
            u = expm1(z) * *ea;
            *eb = *ea + u;
            *phi = u / c->gap;
        } else {
            *eb = exp(-c->b * s);
            *phi = (*eb - *ea) / c->gap;
        }
    } else if (c->form == 1) {
        *ea = *eb = exp(-c->a * s);
        *phi = s * *ea;
    } else if (c->form < 4) {                      /* one is the square of the other */
        double rate = c->form == 2 ? c->a : c->b, slow;
        z = rate * s;
        if (z < 0.5) {
            u = -expm1(-z);
            slow = 1 - u;
        } else {
            slow = exp(-z);
            u = 1 - slow;
        }
        *phi = slow * u / rate;
        *ea = c->form == 2 ? slow : slow * slow;
        *eb = c->form == 2 ? slow * slow : slow;
    } else {
        *ea = exp(-c->a * s);
        *eb = *phi = 0;
    }
}

static void recall(const law *c, memo *m, double s) {
    if (s == m->s) return;
    m->s = s;
    factors(c, s, &m->ea, &m->eb, &m->phi);
}

static void flow(const law *c, memo *m, double s, double x, double *v, double *i, int is_held) {
    double base, level, over;
    if (c->synapse != 0) {
        recall(c, m, s);
        level = c->ki * x;
        over = *i - level;
        if (!is_held && c->a > 0) {
            base = c->leak + c->kv * level;
            *v = base + (*v - base) * m->ea + c->g * over * m->phi;
        } else if (!is_held) *v += c->g * (level * s + over * m->phi);
        *i = level + over * m->eb;
    } else if (!is_held && c->a > 0) {
        recall(c, m, s);
        base = c->leak + c->kv * x;
        *v = base + (*v - base) * m->ea;
    } else if (!is_held) *v += c->g * x * s;
}

/* --- When the threshold is crossed --------------------------------------------------------- */

typedef struct { double base, c, d, slope; } course;   /* base + c e^-as + d phi(s) + slope s */

static double value(const law *c, const course *w, double s, double *rate) {
    double ea, eb, phi;
    factors(c, s, &ea, &eb, &phi);
    *rate = w->slope - c->a * w->c * ea + w->d * (eb - c->a * phi);
    return w->base + w->c * ea + w->d * phi + w->slope * s;
}

/* y e^y = z by Halley's method; a guess is enough. */
static double lambert(double z, int lower) {
    double y, e, f, slope;
    int k;
    if (lower) {
        y = z > -0.25 ? log(-z) : -1 - sqrt(fmax(0, 2 * (1 + 2.718281828459045 * z)));
        if (z > -0.25) y = y - log(-y);
    } else if (z < -0.25) y = -1 + sqrt(fmax(0, 2 * (1 + 2.718281828459045 * z)));
    else if (z < 2) y = z / (1 + z);
    else y = log(z) - log(log(z) + 1);
    for (k = 0; k < 4; k++) {
        e = exp(y);
        f = y * e - z;
        slope = y != -1 ? e * (y + 1) - (y + 2) * f / (2 * y + 2) : 0;
        if (slope == 0) return y;
        y = y - f / slope;
    }
    return y;
}

static double root_of(double p, double q, double r, double rate, double low, double high) {
    /* p y^2 + q y + r = 0 with y = e^(-rate s): an s between low and high, or -1 */
    double part = q * q - 4 * p * r, half, s;
    if (!(part >= 0)) return -1;
    half = -0.5 * (q + (q < 0 ? -sqrt(part) : sqrt(part)));
    s = p != 0 && half / p > 0 ? -log(half / p) / rate : -1;
    if (s > low && s < high) return s;
    return half != 0 && r / half > 0 ? -log(r / half) / rate : -1;
}

static double guess(const law *c, const course *w, double threshold, double low, double high) {
    double k = w->base - threshold, z;
    if (c->form == 2) return root_of(-w->d / c->a, w->c + w->d / c->a, k, c->a, low, high);
    if (c->form == 3) return root_of(w->c - w->d / c->b, w->d / c->b, k, c->b, low, high);
    if (c->form != 1 || w->d == 0) return -1;
    z = c->a * k / w->d * exp(-c->a * w->c / w->d);
    if (!(fabs(z) <= DBL_MAX) || z < -0.36787944117144233 || z == 0) return -1;
    return -lambert(z, w->d < 0) / c->a - w->c / w->d;
}

static double root(const law *c, const course *w, double threshold, double low, double high) {
    double s, f, rate, next, step = c->slow;
    int k;
    if (!(high < INFINITY)) {
        for (;;) {
            high = low + step;
            if (!(high < 1e300)) return INFINITY;
            if (value(c, w, high, &rate) > threshold) break;
            low = high;
            step = step + step;
        }
    }
    s = guess(c, w, threshold, low, high);
    if (!(s > low && s < high)) s = low;
    for (k = 0; k < 200; k++) {
        f = value(c, w, s, &rate) - threshold;
        if (f == 0) return s;
        if (f < 0) low = s;
        else high = s;
        next = s - f / rate;
        if (fabs(next - s) <= 4.5e-16 * s) return next;
        if (high - low <= 4.5e-16 * high) return high;
        if (!(next > low && next < high) || k > 60) next = 0.5 * (low + high);
        s = next;
    }
    return high;
}

/* Time until a spike from now on if nothing comes in between; infinity for none. */
static double crossing(const law *c, double v, double i, double x) {
    double threshold = c->threshold, limit, bound, rate, s, q, peak, slack;
    course w;
    int above, rising, turns;
    if (!(threshold < INFINITY)) return INFINITY;
    above = c->reset == NONE && v >= threshold;
    if (!above && (v > threshold || (v == threshold && c->ge != 0))) return 0;
    if (c->synapse == 0) {
        if (above) return INFINITY;
        if (c->a > 0) {
            w.base = c->leak + c->kv * x;
            if (!(w.base > threshold)) return INFINITY;
            return log1p((threshold - v) / (w.base - threshold)) / c->a;
        }
        rate = c->g * x;
        return rate > 0 ? (threshold - v) / rate : INFINITY;
    }
    s = c->ki * x;
    w.d = c->g * (i - s);
    if (c->a > 0) {
        w.base = c->leak + c->kv * s;
        w.c = v - w.base;
        w.slope = 0;
        rate = w.d - c->a * w.c;
        limit = w.base;
        bound = v > w.base ? v : w.base;
    } else {
        w.base = v;
        w.c = 0;
        w.slope = c->g * s;
        rate = w.slope + w.d;
        limit = w.slope > 0 ? INFINITY : w.slope < 0 ? -INFINITY : v + w.d * c->highest;
        bound = w.slope > 0 ? INFINITY : v;
    }
    if (w.d > 0) bound = bound + w.d * c->highest;
    slack = 1e-15 * (fabs(v) + fabs(w.base) + fabs(w.d) * c->highest + fabs(threshold));
    if (!(bound + slack >= threshold)) return INFINITY;
    rising = rate > 0 || (rate == 0 && w.d < 0);
    if (above && rising) return INFINITY;
    if (v == threshold && rising) return 0;
    q = c->b * w.d != 0 ? rate / (c->b * w.d) : -1;
    turns = q > 0 && c->gap * q > -1;
    s = turns ? (c->gap == 0 ? q : log1p(c->gap * q) / c->gap) : INFINITY;
    if (!(s <= c->far)) turns = 0;
    if (rising && turns) {
        peak = value(c, &w, s, &rate);
        if (peak > threshold) return root(c, &w, threshold, 0, s);
        return c->ge != 0 && peak + slack >= threshold ? s : INFINITY;
    }
    if ((!rising && !turns) || !(limit > threshold)) return INFINITY;
    if (above && !(value(c, &w, s, &rate) < threshold)) return INFINITY;
    return root(c, &w, threshold, rising ? 0 : s, INFINITY);
}

/* A time before which a neuron with a synapse below its threshold cannot fire: until it does, v has
   to rise from where it is, and never faster than it would there under the largest current. */
static double soonest(const law *c, double v, double i, double x) {
    double level = c->ki * x, d = c->g * (i - level), base, bound, rate, slack;
    double drive = c->g * i, end = c->g * level;
    if (!(c->threshold < INFINITY)) return INFINITY;
    if (c->a > 0) {
        base = c->leak + c->kv * level;
        bound = v > base ? v : base;
    } else {
        base = v;
        bound = end > 0 ? INFINITY : v;
    }
    if (d > 0) bound = bound + d * c->highest;
    slack = 1e-15 * (fabs(v) + fabs(base) + fabs(d) * c->highest + fabs(c->threshold));
    if (!(bound + slack >= c->threshold)) return INFINITY;
    rate = (drive > end ? drive : end) - c->a * (v - c->leak);
    return rate > 0 ? (c->threshold - v) / rate * (1 - 1e-9) : INFINITY;
}
"""
