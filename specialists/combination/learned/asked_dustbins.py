"""How likely is the truth in a specialist's subset, on the rows where the specialist is asked?

A calibration over all rows is right on average over all rows. A specialist is asked after a
selection: where the generalist finds a class of its subset probable. Of these rows it has seen a
few at random, and there its dustbin is wrong. So the log-odds of "inside" are fitted to the rows
where the rule asks, from what the specialist and what the generalist say of them (METHOD.md (31)).
Three numbers serve all specialists of one n. They are the maximum a posteriori; before any row they
are the generalist's own mass of the subset.

Log-odds are cut off at +-12: beyond, single precision does not know the smaller of both sides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from specialists.combination.learned.row_halves import row_halves
from specialists.combination.problem import CombinationProblem, as_labels, as_problem
from specialists.combination.subset_tables import Subsets
from specialists.errors import InputError

MOST_LOG_ODDS = 12.0
PRIOR_DEVIATION = 0.25  # of each of the three numbers
_LEAST_MASS = 1 / (1 + math.exp(MOST_LOG_ODDS))
_MOST_STEPS, _MOST_HALVINGS, _TOLERANCE = 50, 30, 1e-10


@dataclass(frozen=True)
class FittedDustbin:
    """The log-odds of "inside S_m" where specialist m is asked.

    They are ``specialist`` times those of the specialist, plus ``generalist`` times those of the
    generalist's mass of S_m, plus ``bias``. The default is the generalist's mass.

    Parameters
    ----------
    specialist, generalist : float
        Slopes.
    bias : float
        Nats.
    """

    specialist: float = 0.0
    generalist: float = 1.0
    bias: float = 0.0

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, astuple(self))):
            raise InputError("the numbers of a dustbin are not finite", got=self)

    def mend_(
        self,
        generalist: Tensor,
        subsets: Subsets,
        answers: Tensor,
        rows: Tensor,
        asked: Tensor,
    ) -> None:
        """Give answers, in place, this mass inside; shares within the subsets stay as they are.

        Parameters
        ----------
        generalist : Tensor of shape (n, n_classes)
            Log-probabilities.
        subsets : Subsets
        answers : Tensor of shape (N, w)
            Log-probabilities of the k_m classes of a subset, the dustbin, and -inf from there on.
            One without any mass inside stays as it is.
        rows, asked : int64 Tensors of shape (N,)
            Of which row each answer is, and of which specialist.
        """
        dustbin = subsets.sizes[asked][:, None]
        before = answers.scatter(1, dustbin, -torch.inf).logsumexp(1)
        masses = subset_masses(generalist, subsets, rows, asked)
        odds = self.log_odds(before.exp(), masses)
        inside, empty = F.logsigmoid(odds), before == -torch.inf
        outside = (inside - odds).masked_fill_(empty, 0.0)
        answers += (inside - before).masked_fill_(empty, 0.0)[:, None]
        answers.scatter_(1, dustbin, outside[:, None])

    def log_odds(self, specialist: Tensor, generalist: Tensor) -> Tensor:
        """Fitted log-odds, of the masses of the subsets in [0, 1] by both; all of shape (N,)."""
        own, others = (torch.logit(mass, _LEAST_MASS) for mass in (specialist, generalist))
        return self.specialist * own + self.generalist * others + self.bias

    def mended(
        self,
        generalist: Tensor,
        specialists: Sequence[Tensor],
        subsets: Subsets | Sequence[Tensor],
        active: Tensor,
    ) -> list[Tensor]:
        """The specialists' log-probabilities with these dustbins, where they are active.

        Other rows are uninitialised memory. Arguments as for
        :func:`specialists.combination.combine`.
        """
        return self._mended(as_problem(generalist, specialists, subsets, active))

    def _mended(self, problem: CombinationProblem) -> list[Tensor]:
        answers = [torch.empty_like(log_probs) for log_probs in problem.specialists]
        for m, (log_probs, _, rows) in enumerate(problem.parts()):
            if len(rows):
                some = log_probs[rows]
                asked = torch.full_like(rows, m)
                self.mend_(problem.generalist, problem.subsets, some, rows, asked)
                answers[m][rows] = some
        return answers


def subset_masses(generalist: Tensor, subsets: Subsets, rows: Tensor, asked: Tensor) -> Tensor:
    """The generalist's mass of subset ``asked[i]`` in row ``rows[i]``, of shape (N,)."""
    masses = generalist[rows[:, None], subsets.classes[asked]].exp()
    if subsets.valid is not None:
        masses = masses.masked_fill(~subsets.valid[asked], 0.0)
    return masses.sum(1)


def fit_dustbin(
    generalist: Tensor,
    specialists: Sequence[Tensor],
    subsets: Subsets | Sequence[Tensor],
    labels: Tensor,
    active: Tensor | None = None,
    counts: Tensor | None = None,
) -> FittedDustbin:
    """The dustbin of highest posterior probability on the rows where specialists are active.

    Parameters
    ----------
    generalist, specialists, subsets, active
        As for :func:`specialists.combination.combine`, of examples that trained none of them.
    labels : int64 Tensor of shape (n,)
        True classes.
    counts : Tensor of shape (n,), optional
        How many rows each one counts as; None: one.

    Returns
    -------
    FittedDustbin
        Where nobody is active there is nothing to fit: the generalist's mass.

    Raises
    ------
    InputError
        As ``combine``, and if the labels are not n classes.
    """
    problem = as_problem(generalist, specialists, subsets, active)
    rows, features, inside = _examples(problem, as_labels(labels, problem))
    return _most_probable(features, inside, None if counts is None else counts[rows])


def cross_fitted_dustbins(
    generalist: Tensor,
    specialists: Sequence[Tensor],
    subsets: Subsets | Sequence[Tensor],
    labels: Tensor,
    active: Tensor | None = None,
    groups: Tensor | None = None,
    seed: int = 0,
    counts: Tensor | None = None,
) -> list[Tensor]:
    """:meth:`FittedDustbin.mended` of each half of the rows by what the other half fitted.

    Rules that are judged on these answers can stand beside rules without fitted numbers.

    Parameters
    ----------
    generalist, specialists, subsets, labels, active, counts
        As for :func:`fit_dustbin`.
    groups : int64 Tensor of shape (n,), optional
        Rows that share a number are in the same half.
    seed : int
        Of the split.
    """
    problem = as_problem(generalist, specialists, subsets, active)
    rows, features, inside = _examples(problem, as_labels(labels, problem))
    is_first = torch.zeros_like(problem.rows, dtype=torch.bool)
    is_first[row_halves(problem.n_rows, seed, groups)[0].to(is_first.device)] = True
    many = None if counts is None else counts[rows]
    by_first, by_second = (
        _most_probable(features[of], inside[of], None if many is None else many[of])._mended(
            problem
        )
        for of in (is_first[rows], ~is_first[rows])
    )
    pairs = zip(by_second, by_first, strict=True)
    return [torch.where(is_first[:, None], *pair) for pair in pairs]


def _examples(problem: CombinationProblem, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each active specialist: row (N,), its and the generalist's log-odds and 1, the truth."""
    rows, features, inside = [], [], []
    for m, (log_probs, subset, at) in enumerate(problem.parts()):
        asked = torch.full_like(at, m)
        own = log_probs[at, :-1].logsumexp(1).exp()
        others = subset_masses(problem.generalist, problem.subsets, at, asked)
        odds = [torch.logit(mass.double(), _LEAST_MASS) for mass in (own, others)]
        features.append(torch.stack([*odds, torch.ones_like(odds[0])], 1))
        inside.append(torch.isin(labels[at], subset))
        rows.append(at)
    if not rows:
        return labels[:0], torch.zeros(0, 3, dtype=torch.float64), labels[:0] > 0
    return torch.cat(rows), torch.cat(features), torch.cat(inside)


def _most_probable(features: Tensor, inside: Tensor, counts: Tensor | None = None) -> FittedDustbin:
    """The posterior's only maximum, by Newton steps that are halved until they do not overshoot."""
    start = features.new_tensor(astuple(FittedDustbin()))
    signs = torch.where(inside, 1.0, -1.0).to(features.dtype)
    many = 1.0 if counts is None else counts.to(features.dtype)

    def loss(numbers: Tensor) -> Tensor:
        penalty = ((numbers - start) / PRIOR_DEVIATION).square().sum() / 2
        return (F.softplus(-signs * (features @ numbers)) * many).sum() + penalty

    numbers, lowest = start, loss(start)
    for _ in range(_MOST_STEPS):
        wrong = torch.sigmoid(-signs * (features @ numbers))
        gradient = -features.T @ (signs * wrong * many) + (numbers - start) / PRIOR_DEVIATION**2
        curvature = (features * (wrong * (1 - wrong) * many)[:, None]).T @ features
        curvature += torch.eye(3, dtype=features.dtype, device=features.device) / PRIOR_DEVIATION**2
        step = torch.linalg.solve(curvature, gradient)
        for halving in range(_MOST_HALVINGS):
            tried = numbers - step / 2**halving
            if loss(tried) <= lowest:
                break
        else:
            break
        gained, numbers = lowest - loss(tried), tried
        lowest = lowest - gained
        if gained <= _TOLERANCE:
            break
    return FittedDustbin(*numbers.tolist())
