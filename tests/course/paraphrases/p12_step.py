"""Other implementations of the mistakes on page 12_step."""

import math


def _torch(w, grads, rates, momentum, decay, sign=-1, mix=1.0, keep=True, look=False, parts=1):
    velocity = 0 * w
    for k in range(len(grads)):
        gradient = grads[k] + parts * decay * w
        velocity = (momentum * velocity if keep else 0) + mix * gradient
        step = mix * gradient + momentum * velocity if look else velocity
        w = w + sign * rates[k] * step
    return w


def _paper(w, grads, rates, momentum, decay, sign=1, mix=1.0, keep=True, look=False, parts=1):
    velocity = 0 * w
    for k in range(len(grads)):
        pull = -mix * rates[k] * (parts * decay * w + grads[k])
        velocity = (momentum * velocity if keep else 0) + pull
        w = w + sign * (momentum * velocity + pull if look else velocity)
    return w


def _apart(w, grads, rates, momentum, decay, inside, bare=False):
    velocity = 0 * w
    for gradient, rate in zip(grads, rates, strict=True):
        velocity = momentum * velocity + gradient * (rate if inside else 1)
        shrink = 1 - decay if bare else 1 - rate * decay
        w = w * shrink - velocity * (1 if inside else rate)
    return w


def _schedule(errors, rate, patience, better=lambda e, low: e < low, again=True, after=0, by=10):
    out, low, bad, dropped = [], math.inf, 0, False
    for e in errors:
        out.append(rate)
        bad = 0 if better(e, low) else bad + 1
        low = min(low, e)
        if bad >= patience + after and not (dropped and not again):
            rate, bad, dropped = rate / by, 0, True
    return out


def _all_bad_epochs(errors, rate, patience):
    out, bad = [], 0
    for i, e in enumerate(errors):
        out.append(rate)
        if i and e >= min(errors[:i]):
            bad += 1
            if bad == patience:
                rate, bad = rate / 10, 0
    return out


def _no_new_count(errors, rate, patience):
    out, low, bad = [], math.inf, 0
    for e in errors:
        out.append(rate)
        bad, low = (0, e) if e < low else (bad + 1, low)
        rate = rate / 10 if bad == patience else rate
    return out


def _neighbor(errors, rate, patience):
    out, bad, last = [], 0, math.inf
    for e in errors:
        out.append(rate)
        bad, last = (0 if e < last else bad + 1), e
        if bad == patience:
            rate, bad = rate / 10, 0
    return out


def _at_once(errors, rate, patience):
    out = []
    low, bad = math.inf, 0
    for e in errors:
        bad, low = (0, e) if e < low else (bad + 1, low)
        if bad == patience:
            rate, bad = rate / 10, 0
        out.append(rate)
    return out


def _first(step):
    return lambda w, grads, rates, *rest: step(w, grads, [rates[0]] * len(rates), *rest)


def _common(step, up):
    return {
        "uphill": [lambda *given: step(*given, sign=up)],
        "velocity lost": [lambda *given: step(*given, keep=False)],
        "gradient damped": [lambda w, g, r, m, d: step(w, g, r, m, d, mix=1 - m)],
        "Nesterov": [lambda *given: step(*given, look=True)],
        "decay forgotten": [lambda *given: step(*given, parts=0)],
        "decay twice": [lambda *given: step(*given, parts=2)],
        "first rate for ever": [_first(step)],
    }


PARAPHRASES = {
    "sgd_torch": {
        **_common(_torch, 1),
        "rate inside the velocity": [_paper],
        "decay outside the velocity": [lambda *given: _apart(*given, inside=False)],
    },
    "sgd_paper": {
        **_common(_paper, -1),
        "rate outside the velocity": [_torch],
        "decay without the rate": [lambda *given: _apart(*given, inside=True, bare=True)],
        "decay outside the velocity": [lambda *given: _apart(*given, inside=True)],
    },
    "drops": {
        "equal counts as better": [lambda *g: _schedule(*g, better=lambda e, low: e <= low)],
        "compares with the epoch before": [_neighbor],
        "not in a row": [_all_bad_epochs],
        "no new count": [_no_new_count],
        "an epoch too early": [
            lambda e, r, p: _schedule(e, r, p, after=-1) if p > 1 else _early_of_one(e, r)
        ],
        "an epoch too late": [lambda *g: _schedule(*g, after=1)],
        "drops in the same epoch": [_at_once],
        "halves": [lambda *g: _schedule(*g, by=2)],
    },
}


def _early_of_one(errors, rate):
    out, low = [], math.inf
    for e in errors:
        out.append(rate)
        rate, low = (rate / 10, e) if e < low else (rate, low)
    return out
