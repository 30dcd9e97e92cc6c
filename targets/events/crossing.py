"""When a neuron crosses its threshold, and how its states flow until then; copied into folders.

Operation by operation what the C engine does (`flow`, `crossing` and what they call there).
"""

from __future__ import annotations

import math
from typing import Any

from snnir.targets.events.plan import LAW

INF = math.inf
TO, SUBTRACT, NONE = 0, 1, 2


#: base, c, d and slope of v(s) = base + c exp(-a s) + d phi(s) + slope s.
Course = tuple[float, float, float, float]


class Law:
    """Parameters that neurons share, and what a time does to their states."""

    def __init__(self, row: Any) -> None:
        for name, number in zip(LAW, row, strict=True):
            setattr(self, name, float(number))
        self.known = -1.0
        self.ea = self.eb = self.phi = 0.0

    synapse: float
    a: float
    b: float
    g: float
    ki: float
    kv: float
    leak: float
    threshold: float
    ge: float
    reset: float
    v_reset: float
    refractory: float
    highest: float
    gap: float
    form: float
    slow: float
    far: float

    def recall(self, s: float) -> None:
        """Put down what s seconds do."""
        if s == self.known:
            return
        self.known = s
        self.ea, self.eb, self.phi = self.factors(s)

    def factors(self, s: float) -> tuple[float, float, float]:
        """Return exp(-a s), exp(-b s) and phi(s)."""
        if self.form == 0:
            z = self.gap * s
            ea = math.exp(-self.a * s)
            if abs(z) < 0.5:
                u = math.expm1(z) * ea
                return ea, ea + u, u / self.gap
            eb = math.exp(-self.b * s)
            return ea, eb, (eb - ea) / self.gap
        if self.form == 1:
            ea = math.exp(-self.a * s)
            return ea, ea, s * ea
        if self.form >= 4:
            return math.exp(-self.a * s), 0.0, 0.0
        rate = self.a if self.form == 2 else self.b  # one is the square of the other
        z = rate * s
        if z < 0.5:
            u = -math.expm1(-z)
            slow = 1 - u
        else:
            slow = math.exp(-z)
            u = 1 - slow
        phi = slow * u / rate
        return (slow, slow * slow, phi) if self.form == 2 else (slow * slow, slow, phi)

    def flow(self, s: float, x: float, v: float, i: float, is_held: bool) -> tuple[float, float]:
        """Return v and i after s seconds."""
        if self.synapse:
            self.recall(s)
            level = self.ki * x
            over = i - level
            if not is_held and self.a > 0:
                base = self.leak + self.kv * level
                v = base + (v - base) * self.ea + self.g * over * self.phi
            elif not is_held:
                v += self.g * (level * s + over * self.phi)
            return v, level + over * self.eb
        if not is_held and self.a > 0:
            self.recall(s)
            base = self.leak + self.kv * x
            v = base + (v - base) * self.ea
        elif not is_held:
            v += self.g * x * s
        return v, i

    def is_beyond(self, v: float) -> bool:
        """Return whether v is where a neuron fires."""
        return v > self.threshold or (self.ge != 0 and v == self.threshold)

    # --- When the threshold is crossed -----------------------------------------------------------

    def value(self, w: Course, s: float) -> tuple[float, float]:
        """Return base + c exp(-a s) + d phi(s) + slope s, and its derivative."""
        base, c, d, slope = w
        ea, eb, phi = self.factors(s)
        rate = slope - self.a * c * ea + d * (eb - self.a * phi)
        return base + c * ea + d * phi + slope * s, rate

    def guess(self, w: Course, low: float, high: float) -> float:
        """Return the crossing by its closed form where there is one; any other number is none."""
        base, c, d, _ = w
        k = base - self.threshold
        if self.form == 2:
            return _root_of(-d / self.a, c + d / self.a, k, self.a, low, high)
        if self.form == 3:
            return _root_of(c - d / self.b, d / self.b, k, self.b, low, high)
        if self.form != 1 or d == 0:
            return -1.0
        exponent = -self.a * c / d
        z = self.a * k / d * (math.exp(exponent) if exponent < 709.0 else INF)
        if not math.isfinite(z) or z < -0.36787944117144233 or z == 0:
            return -1.0
        return -_lambert(z, d < 0) / self.a - c / d

    def root(self, w: Course, low: float, high: float) -> float:
        """Return where the value rises through the threshold between low and high."""
        threshold, step = self.threshold, self.slow
        if not high < INF:
            while True:
                high = low + step
                if not high < 1e300:
                    return INF
                if self.value(w, high)[0] > threshold:
                    break
                low = high
                step = step + step
        s = self.guess(w, low, high)
        if not low < s < high:
            s = low
        for k in range(200):
            v, rate = self.value(w, s)
            f = v - threshold
            if f == 0:
                return s
            if f < 0:
                low = s
            else:
                high = s
            following = s - f / rate if rate else INF
            if abs(following - s) <= 4.5e-16 * s:
                return following
            if high - low <= 4.5e-16 * high:
                return high
            if not low < following < high or k > 60:
                following = 0.5 * (low + high)
            s = following
        return high

    def course(self, v: float, i: float, x: float) -> tuple[Course, float, float, float]:
        """Return how v goes on with a synapse: its terms, slope now, limit, and an upper bound."""
        s = self.ki * x
        d = self.g * (i - s)
        if self.a > 0:
            base = self.leak + self.kv * s
            c, slope = v - base, 0.0
            rate = d - self.a * c
            limit = base
            bound = max(v, base)
        else:
            base, c, slope = v, 0.0, self.g * s
            rate = slope + d
            limit = INF if slope > 0 else -INF if slope < 0 else v + d * self.highest
            bound = INF if slope > 0 else v
        if d > 0:
            bound = bound + d * self.highest
        return (base, c, d, slope), rate, limit, bound

    def turn(self, rate: float, d: float) -> float:
        """Return when v has its only extremum, infinity if it has none."""
        q = rate / (self.b * d) if self.b * d != 0 else -1.0
        if not (q > 0 and self.gap * q > -1):
            return INF
        s = q if self.gap == 0 else math.log1p(self.gap * q) / self.gap
        return s if s <= self.far else INF

    def crossing(self, v: float, i: float, x: float) -> float:
        """Return the time until a spike if nothing comes in between; infinity for none."""
        threshold = self.threshold
        above = self.reset == NONE and v >= threshold
        if self.is_beyond(v) and not above:
            return 0.0
        if not self.synapse or not threshold < INF:
            return INF if above or not threshold < INF else self.simple(v, x)
        w, rate, limit, bound = self.course(v, i, x)
        d = w[2]
        slack = 1e-15 * (abs(v) + abs(w[0]) + abs(d) * self.highest + abs(threshold))
        if not bound + slack >= threshold:
            return INF
        rising = rate > 0 or (rate == 0 and d < 0)
        if rising and (above or v == threshold):
            return INF if above else 0.0
        s = self.turn(rate, d)
        if rising and s < INF:
            peak = self.value(w, s)[0]
            if peak > threshold:
                return self.root(w, 0.0, s)
            return s if self.ge != 0 and peak + slack >= threshold else INF
        returns = (rising or s < INF) and limit > threshold
        if not returns or (above and not self.value(w, s)[0] < threshold):
            return INF
        return self.root(w, 0.0 if rising else s, INF)

    def soonest(self, v: float, i: float, x: float) -> float:
        """Return a time before which a neuron with a synapse below its threshold cannot fire.

        Until it does, v has to rise from where it is, and never faster than it would there under
        the largest current.
        """
        level = self.ki * x
        d = self.g * (i - level)
        drive, end = self.g * i, self.g * level
        if not self.threshold < INF:
            return INF
        if self.a > 0:
            base = self.leak + self.kv * level
            bound = max(v, base)
        else:
            base = v
            bound = INF if end > 0 else v
        if d > 0:
            bound = bound + d * self.highest
        slack = 1e-15 * (abs(v) + abs(base) + abs(d) * self.highest + abs(self.threshold))
        if not bound + slack >= self.threshold:
            return INF
        rate = max(drive, end) - self.a * (v - self.leak)
        return (self.threshold - v) / rate * (1 - 1e-9) if rate > 0 else INF

    def simple(self, v: float, x: float) -> float:
        """Return the time until a spike of a neuron without a synapse."""
        if self.a > 0:
            base = self.leak + self.kv * x
            if not base > self.threshold:
                return INF
            return math.log1p((self.threshold - v) / (base - self.threshold)) / self.a
        rate = self.g * x
        return (self.threshold - v) / rate if rate > 0 else INF


def _lambert(z: float, lower: bool) -> float:
    """Return y with y exp(y) = z by Halley's method; a guess is enough."""
    if lower:
        y = math.log(-z) if z > -0.25 else -1 - math.sqrt(max(0.0, 2 * (1 + math.e * z)))
        if z > -0.25:
            y = y - math.log(-y)
    elif z < -0.25:
        y = -1 + math.sqrt(max(0.0, 2 * (1 + math.e * z)))
    elif z < 2:
        y = z / (1 + z)
    else:
        y = math.log(z) - math.log(math.log(z) + 1)
    for _ in range(4):
        e = math.exp(y)
        f = y * e - z
        slope = e * (y + 1) - (y + 2) * f / (2 * y + 2) if y != -1 else 0.0
        if slope == 0:
            return y
        y = y - f / slope
    return y


def _root_of(p: float, q: float, r: float, rate: float, low: float, high: float) -> float:
    """Return an s between low and high with p y² + q y + r = 0, y = exp(-rate s); or any other."""
    part = q * q - 4 * p * r
    if not part >= 0:
        return -1.0
    half = -0.5 * (q + (-math.sqrt(part) if q < 0 else math.sqrt(part)))
    s = -math.log(half / p) / rate if p != 0 and half / p > 0 else -1.0
    if low < s < high:
        return s
    return -math.log(r / half) / rate if half != 0 and r / half > 0 else -1.0
