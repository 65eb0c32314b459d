"""Slow float64 oracles: what the fast code is compared with.

Rows of small problems in dense form, many at a time; every formula is written out as in
METHOD.md (1), (3), (13), (20), (25) to (28) and (31), or as in the head of a module, without
any of the library's shortcuts.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Dense:
    """A combination written out: p is zero outside a subset, v is zero for an inactive specialist.

    ``g`` has shape (n, n_classes), ``p`` (n, M, n_classes), ``d`` and ``v`` (n, M), ``member``
    (M, n_classes) with 1 inside a subset.
    """

    g: Tensor
    p: Tensor
    d: Tensor
    v: Tensor
    member: Tensor


def dense(generalist, specialists, subsets, active=None, weights=None) -> Dense:
    """The arguments of ``combine`` as float64 probabilities."""
    n, n_classes = generalist.shape
    p = torch.zeros(n, len(subsets), n_classes, dtype=torch.float64)
    member = torch.zeros(len(subsets), n_classes, dtype=torch.float64)
    for m, (log_p, subset) in enumerate(zip(specialists, subsets, strict=True)):
        p[:, m, subset] = log_p[:, :-1].double().exp()
        member[m, subset] = 1.0
    d = torch.stack([log_p[:, -1].double().exp() for log_p in specialists], dim=1)
    v = torch.ones(n, len(subsets), dtype=torch.float64)
    v = v if weights is None else v * weights.double()
    v = v if active is None else v * active
    return Dense(generalist.double().exp(), p, d, v, member)


def forward_objective(problem: Dense, q: Tensor) -> Tensor:
    """``KL(g || q) + sum v_m KL(p_m || q on S_m and dustbin)`` without its constant, (n,)."""
    outside = (q[:, None, :] * (1 - problem.member)).sum(2)
    inside = problem.g + (problem.v[:, :, None] * problem.p).sum(1)
    return -torch.xlogy(inside, q).sum(1) - torch.xlogy(problem.v * problem.d, outside).sum(1)


def reverse_objective(problem: Dense, q: Tensor) -> Tensor:
    """``KL(q || g) + sum v_m KL(q on S_m and dustbin || p_m)``, (n,); infinite off the support."""
    outside = (q[:, None, :] * (1 - problem.member)).sum(2)
    inside = q[:, None, :] * problem.member
    base = (torch.xlogy(q, q) - torch.xlogy(q, problem.g)).sum(1)
    voted = (torch.xlogy(inside, inside) - torch.xlogy(inside, problem.p)).sum(2)
    voted = voted + torch.xlogy(outside, outside) - torch.xlogy(outside, problem.d)
    return base + torch.where(problem.v > 0, problem.v * voted, 0.0).sum(1)


def expectation_maximisation(problem: Dense, n_steps: int = 4000) -> tuple[Tensor, Tensor]:
    """EM from a strictly positive start; returns q and whether each row stands still.

    A row counts as converged where the geometric tail that its last steps extrapolate to is below
    1e-10.
    """
    total = 1 + problem.v.sum(1, keepdim=True)
    uniform = torch.full_like(problem.g, 1 / problem.g.shape[1])
    q = 0.5 * problem.g + 0.5 * uniform
    fixed = problem.g + (problem.v[:, :, None] * problem.p).sum(1)
    beyond = 1 - problem.member
    last = previous = torch.full_like(q[:, 0], torch.inf)
    for _ in range(n_steps):
        mass = q @ beyond.T
        share = torch.where(mass > 0, problem.v * problem.d / mass, 0.0)
        new = (fixed + q * (share @ beyond)) / total
        previous, last = last, (new - q).abs().amax(1)
        q = new
    rate = torch.where(previous > 0, last / previous, 0.0).clamp(max=1.0)
    tail = torch.where(rate < 1, last * rate / (1 - rate), torch.where(last > 0, torch.inf, 0.0))
    return q, (tail < 1e-10) & (last < 1e-12)


def kkt_violation(problem: Dense, q: Tensor) -> Tensor:
    """Largest violation of ``q_j s_j = c_j`` and ``s_j >= 0`` over L by class; shape (n,)."""
    total = 1 + problem.v.sum(1)
    c = problem.g + (problem.v[:, :, None] * problem.p).sum(1)
    beyond = 1 - problem.member
    b = problem.v * problem.d
    w = torch.where(b > 0, b / (q @ beyond.T), 0.0)
    s = total[:, None] - w @ beyond
    return torch.maximum((q * s - c).abs(), -s).amax(1) / total


def solve_with_cvxpy(problem: Dense, row: int, direction: str = "forward") -> np.ndarray:
    """The minimiser of one row by an interior-point solver, shape (n_classes,)."""
    import cvxpy

    g, p, d, v = (x[row].numpy() for x in (problem.g, problem.p, problem.d, problem.v))
    member = problem.member.numpy() > 0
    q = cvxpy.Variable(len(g))

    def divergence(given, other):
        pair = (given, other) if direction == "forward" else (other, given)
        return cvxpy.sum(cvxpy.rel_entr(*pair))

    cost = divergence(g, q)
    for m in np.flatnonzero(v):
        merged = cvxpy.hstack([q[member[m]], cvxpy.sum(q[~member[m]])])
        cost += v[m] * divergence(np.append(p[m, member[m]], d[m]), merged)
    limits: list[Any] = [cvxpy.sum(q) == 1, q >= 0]
    task = cvxpy.Problem(cvxpy.Minimize(cost), limits)
    task.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    assert q.value is not None
    return q.value


def random_problem(kind: str, n: int, seed: int, n_classes: int = 12, decades: float = 3.0):
    """Arguments of ``combine`` in float64: (generalist, specialists, subsets, active, weights).

    ``kind`` is "one", "disjoint", "covering", "nested", "overlapping" or "mixed" (small subsets, so
    that rows of all kinds stand in one batch). About one entry in ten is
    -inf, one dustbin in eight is exactly zero, and one row in eight has no active specialist.
    """
    rng = np.random.default_rng([seed, n_classes, len(kind)])
    subsets = _random_subsets(kind, n_classes, rng)
    generalist = _random_log_probs(rng, n, n_classes, decades)
    specialists = []
    for subset in subsets:
        log_p = _random_log_probs(rng, n, len(subset) + 1, decades)
        log_p[rng.random(n) < 1 / 8, -1] = -np.inf
        nothing = np.isinf(log_p).all(1)
        log_p[nothing, 0] = 0.0
        specialists.append(torch.from_numpy(log_p).log_softmax(1))
    active = rng.random((n, len(subsets))) < (0.5 if kind == "mixed" else 0.8)
    active[rng.random(n) < 1 / 8] = False
    weights = rng.uniform(0.2, 3.0, len(subsets))
    return (
        torch.from_numpy(generalist).log_softmax(1),
        specialists,
        [torch.from_numpy(subset) for subset in subsets],
        torch.from_numpy(active),
        torch.from_numpy(weights),
    )


def _random_log_probs(rng, n: int, width: int, decades: float) -> np.ndarray:
    values = -np.log(10) * decades * rng.random((n, width))
    values[rng.random((n, width)) < 0.1] = -np.inf
    values[np.isinf(values).all(1), 0] = 0.0
    return values


def _random_subsets(kind: str, n_classes: int, rng) -> list[np.ndarray]:
    order = rng.permutation(n_classes)
    cuts = np.sort(rng.choice(np.arange(1, n_classes), size=3, replace=False))
    parts = np.split(order, cuts)
    if kind == "one":
        return parts[:1]
    if kind == "disjoint":
        return parts[:3]
    if kind == "covering":
        return parts
    if kind == "nested":
        return [order[:cut] for cut in cuts[rng.permutation(3)]]
    largest = n_classes if kind == "overlapping" else 5
    sizes = rng.integers(1, largest, size=rng.integers(2, 6))
    return [rng.permutation(n_classes)[:size] for size in sizes]


def distillation_loss(student, teacher, labels, temperature: float, alpha: float) -> float:
    """alpha T^2 KL(softmax(t / T) || softmax(z / T)) + (1 - alpha) CE(z, y), row by row."""
    rows = [
        _soft_row(z, t, temperature)
        for z, t in zip(student.double().numpy(), teacher.double().numpy(), strict=True)
    ]
    soft = temperature**2 * float(np.mean(rows))
    pairs = zip(student.double().numpy(), labels.tolist(), strict=True)
    hard = [np.logaddexp.reduce(z) - z[y] for z, y in pairs if y >= 0]
    return alpha * soft + (1 - alpha) * float(np.mean(hard) if hard else 0.0)


def _soft_row(z: np.ndarray, t: np.ndarray, temperature: float) -> float:
    log_p = t / temperature - np.logaddexp.reduce(t / temperature)
    log_q = z / temperature - np.logaddexp.reduce(z / temperature)
    there = log_p > -np.inf
    return float(np.sum(np.exp(log_p[there]) * (log_p[there] - log_q[there])))


def kl_to_cells(logits, classes, log_cells) -> tuple[float, np.ndarray]:
    """The mean KL over cells, and its gradient q - (p of its own cell, or p_R q_j / q_R)."""
    values, gradients = [], []
    rows = zip(logits.double().numpy(), classes.tolist(), log_cells.double().numpy(), strict=True)
    for z, kept, log_p in rows:
        log_q = z - np.logaddexp.reduce(z)
        others = [j for j in range(len(z)) if j not in kept]
        log_rest = np.logaddexp.reduce(log_q[others])
        gaps = log_p - np.array([*log_q[kept], log_rest])
        values.append(float(np.sum(np.exp(log_p) * gaps)))
        gradient = np.exp(log_q)
        gradient[kept] -= np.exp(log_p[:-1])
        gradient[others] -= np.exp(log_p[-1] + log_q[others] - log_rest)
        gradients.append(gradient)
    return float(np.mean(values)), np.array(gradients) / len(values)


def shifted_targets(g, subset, s: float, f: float, temperature: float) -> np.ndarray:
    """Soft targets of a specialist as probabilities: aggregate, shift the prior, temper."""
    g = g.double().exp().numpy()
    inside = g[:, subset.tolist()]
    outside = np.delete(g, subset.tolist(), axis=1).sum(1, keepdims=True)
    shifted = np.concatenate([inside * ((1 - f) / f) * (s / (1 - s)), outside], axis=1)
    tempered = (shifted / shifted.sum(1, keepdims=True)) ** (1 / temperature)
    return tempered / tempered.sum(1, keepdims=True)


def shared_within(problem: Dense, weight: float) -> Tensor:
    """Means of ``(1 - a) g_j + a g(S_m) p_mj / p_m(S_m)`` over active m holding j, (n, n_classes).

    Row by row and class by class; ``g_j`` where no active subset holds j, or p_m is nowhere in S_m.
    """
    a = 1.0 if np.isinf(weight) else weight / (1 + weight)
    g, p, v, member = (x.numpy() for x in (problem.g, problem.p, problem.v, problem.member > 0))
    q = g.copy()
    for i, j in np.ndindex(*g.shape):
        terms = []
        for m in np.flatnonzero((v[i] > 0) & member[:, j]):
            held, said = g[i, member[m]].sum(), p[i, m].sum()
            new = held * p[i, m, j] / said if said > 0 else g[i, j]
            terms.append((1 - a) * g[i, j] + a * new)
        q[i, j] = np.mean(terms) if terms else g[i, j]
    return torch.from_numpy(q / q.sum(1, keepdims=True))


def calibration_objective(logits, labels, log_temperature: float, bias: float, weights) -> float:
    """Minus the log posterior of a temperature and a dustbin bias, summed over examples."""
    weights = np.asarray(weights, dtype=np.float64)
    effective = weights.sum() ** 2 / (weights**2).sum()
    total = 0.0
    for z, label, weight in zip(np.asarray(logits, np.float64), labels, weights, strict=True):
        z = z.copy()
        z[-1] += bias
        z = z / np.exp(log_temperature)
        total += weight * (np.logaddexp.reduce(z) - z[label])
    prior = log_temperature**2 / (2 * 0.5**2) + bias**2 / 2
    return effective * total / weights.sum() + prior


def adagrad(table: Tensor, steps, rate: float) -> Tensor:
    """A table after steps of (row, gradient) pairs: s <- s + g^2, w <- w - rate g / (sqrt(s) + e).

    The g of a row is the sum of what the pairs of one step give it; e is 1e-10.
    """
    weights = table.double().clone()
    sums = torch.zeros_like(weights)
    for pairs in steps:
        for row in {row for row, _ in pairs}:
            g = torch.stack([part for read, part in pairs if read == row]).sum(0)
            sums[row] += g**2
            weights[row] -= rate * g / (sums[row].sqrt() + 1e-10)
    return weights


def resampled_groups(values, groups, n_resamples: int, seed: int) -> np.ndarray:
    """Means of ``n_resamples`` resamples of whole groups, group by group and row by row."""
    rng = np.random.default_rng(seed)
    rows_of: dict[int, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        rows_of.setdefault(int(group), []).append(float(value))
    every = sorted(rows_of)
    means = []
    for _ in range(n_resamples):
        drawn = [rows_of[every[i]] for i in rng.integers(len(every), size=len(every))]
        means.append(np.mean([value for rows in drawn for value in rows]))
    return np.array(means)


def flipped_groups(values, groups, alternative: str = "two-sided") -> float:
    """p by all signs of the groups' sums, one after another."""
    sums = [sum(v for v, g in zip(values, groups, strict=True) if g == one) for one in set(groups)]
    flips = [np.dot(signs, sums) for signs in itertools.product([1, -1], repeat=len(sums))]
    if alternative == "two-sided":
        return float(np.mean([abs(flip) >= abs(sum(sums)) - 1e-9 for flip in flips]))
    return float(np.mean([flip >= sum(sums) - 1e-9 for flip in flips]))


def averaged(members, n_members, mean, temperature, confidence, shortlist):
    """Generalists averaged row by row: log-probabilities of shape (n, C) in float64."""
    result = members[0].copy()
    for i, first in enumerate(members[0]):
        whole = n_members > 1 and (confidence is None or np.exp(first).max() <= confidence)
        if n_members == 1 or not (whole or shortlist):
            continue
        said = [first]
        for member in members[1:n_members]:
            other = first.copy()
            classes = np.arange(len(first)) if whole else np.argsort(-first)[:shortlist]
            mass = 1.0 if whole else np.exp(first[classes]).sum()
            own = np.exp(member[i][classes])
            other[classes] = np.log(mass * own / own.sum())
            said.append(other)
        pooled = np.log(np.mean(np.exp(said), 0)) if mean == "arithmetic" else np.mean(said, 0)
        tempered = pooled / temperature
        result[i] = tempered - np.logaddexp.reduce(tempered)
    return result


def ensemble_log_probs(ensemble, inputs) -> Tensor:
    """What an ensemble predicts, (n, C): every member on all rows, all rows combined at once."""
    from specialists.ensemble import active_specialists, join
    from specialists.predictions import DensePredictions

    def outputs(network, x):
        return network.eval()(x[torch.arange(len(x))]).float()

    with torch.no_grad():
        features = inputs if ensemble.lower is None else outputs(ensemble.lower, inputs)
        logits = outputs(ensemble.upper, features)
        generalist = DensePredictions(torch.log_softmax(logits / ensemble.temperature, 1))
        specialists = [
            each.calibration.log_probs(outputs(each.network, features))
            for each in ensemble.specialists
        ]
        active = active_specialists(generalist, ensemble.subsets, ensemble.rule)
        return join(generalist, specialists, ensemble.subsets, active, ensemble.rule).dense()


def shortlist_loss(logits, labels, shortlists, batch, shares) -> float:
    """METHOD.md (28) row by row, its mean; ``logits`` (n, C), a shortlist a list of classes."""
    losses = []
    for z, y, shortlist in zip(logits.double(), labels.tolist(), shortlists, strict=True):
        total = sum(math.exp(z[j]) for j in shortlist)
        for j in set(batch.tolist()) - set(shortlist):
            total += math.exp(z[j]) / (1 - (1 - float(shares[j])) ** len(batch))
        losses.append(math.log(total) - float(z[y]))
    return sum(losses) / len(losses)


def log_odds_inside(problem: Dense, most: float = 12.0) -> tuple[Tensor, Tensor]:
    """Log-odds of each subset, (n, M), by its specialist and by the generalist, cut off."""
    masses = (problem.p.sum(2) / (problem.p.sum(2) + problem.d), problem.g @ problem.member.T)
    least = 1 / (1 + np.exp(most))
    odds = [mass.clamp(least, 1 - least) for mass in masses]
    return odds[0].log() - (-odds[0]).log1p(), odds[1].log() - (-odds[1]).log1p()


def with_dustbins(problem: Dense, numbers) -> tuple[Tensor, Tensor]:
    """p and d with METHOD.md (31)'s mass inside, where the specialist has any."""
    own, others = log_odds_inside(problem)
    inside = torch.sigmoid(numbers[0] * own + numbers[1] * others + numbers[2])
    before = problem.p.sum(2)
    scale = torch.where(before > 0, inside / before.clamp(min=1e-300), 0.0)
    return problem.p * scale[:, :, None], torch.where(before > 0, 1 - inside, problem.d)


def most_probable_dustbin(problem: Dense, labels: Tensor, deviation: float) -> np.ndarray:
    """The three numbers of METHOD.md (31) by a simplex search, shape (3,)."""
    from scipy.optimize import minimize

    asked = problem.v > 0
    own, others = (odds[asked].numpy() for odds in log_odds_inside(problem))
    is_inside = problem.member[:, labels].T[asked].numpy() > 0

    def objective(numbers):
        odds = numbers[0] * own + numbers[1] * others + numbers[2]
        loss = np.logaddexp(0.0, np.where(is_inside, -odds, odds)).sum()
        return loss + (np.square(numbers - np.array([0.0, 1.0, 0.0])) / deviation**2).sum() / 2

    options = {"xatol": 1e-7, "fatol": 1e-11, "maxiter": 10000, "maxfev": 10000}
    return minimize(objective, [0.1, 0.9, 0.1], method="Nelder-Mead", options=options).x


def soft_targets_term(z, t, temperature) -> float:
    """T^2 KL(softmax(t / T) || softmax(z / T)), the mean over rows."""
    rows = [_soft_row(a, b, temperature) for a, b in zip(z, t, strict=True)]
    return temperature**2 * float(np.mean(rows))


def labels_term(z, labels, smoothing) -> float:
    """Cross-entropy with (1 - s) y + s / C, row by row."""
    values = []
    for row, label in zip(z, labels, strict=True):
        log_q = row - np.logaddexp.reduce(row)
        target = np.full(len(row), smoothing / len(row))
        target[label] += 1 - smoothing
        values.append(-float(target @ log_q))
    return float(np.mean(values))


def logit_matching_term(z, t) -> float:
    """Half the squared difference of centred logits, a class."""
    centred = [row - row.mean() for row in z - t]
    return float(np.mean([(row**2).sum() / (2 * len(row)) for row in centred]))


def decoupled_term(z, t, labels, temperature, alpha, beta) -> float:
    """Of probabilities: the label's class beside the rest, and the rest in itself."""
    values = []
    for student, teacher, label in zip(z, t, labels, strict=True):
        q, p = (
            np.exp(x / temperature - np.logaddexp.reduce(x / temperature))
            for x in (student, teacher)
        )
        two = _kl([p[label], 1 - p[label]], [q[label], 1 - q[label]])
        p_rest, q_rest = np.delete(p, label), np.delete(q, label)
        values.append(alpha * two + beta * _kl(p_rest / p_rest.sum(), q_rest / q_rest.sum()))
    return temperature**2 * float(np.mean(values))


def _softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x - np.logaddexp.reduce(x))


def _kl(p, q) -> float:
    return float(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0))


def standardised_term(z, t, temperature) -> float:
    """Soft targets of z-scores."""
    z, t = ((x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True) for x in (z, t))
    return soft_targets_term(z, t, temperature)


def binary_labels_term(z, answers) -> float:
    """Minus the log-likelihood of known answers, summed over classes."""
    total = 0.0
    for row, wanted in zip(z, answers, strict=True):
        for x, y in zip(row, wanted, strict=True):
            if y >= 0:
                q = 1 / (1 + math.exp(-x))
                total -= y * math.log(q) + (1 - y) * math.log(1 - q)
    return total / len(z)


def binary_targets_term(z, t, temperature, exclusive) -> float:
    """T^2 KL of a coin a class, summed over classes."""
    total = 0.0
    for row, teacher in zip(z / temperature, t / temperature, strict=True):
        p = (
            np.exp(teacher - np.logaddexp.reduce(teacher))
            if exclusive
            else 1 / (1 + np.exp(-teacher))
        )
        q = 1 / (1 + np.exp(-row))
        total += sum(_kl([a, 1 - a], [b, 1 - b]) for a, b in zip(p, q, strict=True))
    return temperature**2 * total / len(z)


def hint_term(h, u, weight, bias) -> float:
    """Half the squared difference a number, after a linear map of the channels (axis 1)."""
    mapped = np.einsum("oc,nc...->no...", weight, h) + bias.reshape(-1, *[1] * (h.ndim - 2))
    return float(np.mean([((a - b) ** 2).mean() / 2 for a, b in zip(mapped, u, strict=True)]))


def attention_term(h, u) -> float:
    """1 - cos of the two attention maps."""
    values = []
    for a, b in zip((h**2).sum(1), (u**2).sum(1), strict=True):
        values.append(1 - (a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()))
    return float(np.mean(values))


def similarity_term(h, u) -> float:
    """The mean squared difference of normalised similarities, over all n^2 pairs."""
    grams = []
    for x in (h, u):
        rows = [[float(a.ravel() @ b.ravel()) for b in x] for a in x]
        grams.append(np.array([np.array(row) / np.linalg.norm(row) for row in rows]))
    return float(((grams[0] - grams[1]) ** 2).mean())


def huber(x: float) -> float:
    return x * x / 2 if abs(x) <= 1 else abs(x) - 0.5


def distances_term(h, u) -> float:
    """The mean over ordered pairs of rows."""
    relative = []
    pairs = list(itertools.permutations(range(len(h)), 2))
    for x in (h, u):
        d = np.array([np.linalg.norm((x[i] - x[j]).ravel()) for i, j in pairs])
        relative.append(d / d.mean())
    return float(np.mean([huber(a - b) for a, b in zip(*relative, strict=True)]))


def angles_term(h, u) -> float:
    """The mean over ordered triples of distinct rows."""
    cosines = []
    for x in (h, u):
        found = []
        for i, j, k in itertools.permutations(range(len(x)), 3):
            a, b = (x[i] - x[j]).ravel(), (x[k] - x[j]).ravel()
            found.append(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
        cosines.append(found)
    return float(np.mean([huber(a - b) for a, b in zip(*cosines, strict=True)]))
