"""How likely do a combination's weights and temperatures make the labels that were seen?

Only the label's probability is needed, so classes of the same membership pattern are merged: each
pattern has one column with the mass of its other classes, and one for the label if it lies there.
Merging is exact, since a pattern has one factor s (METHOD.md (4)). The exception is a pattern to
which no input gives mass: its columns, not its classes, share evenly what is left over. Merging
costs one sum over classes; the problem that is solved and differentiated has few columns.

Worked row: the subset {0, 1, 2} of 5 classes has the patterns {3, 4} and {0, 1, 2}, columns 0 and
1; a label in them goes to column 2 or 3. With label 1, the four columns hold the masses of {3, 4},
{0, 2}, nothing and {1}.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specialists.combination.minimiser import combine
from specialists.combination.problem import CombinationProblem
from specialists.combination.subset_tables import Subsets
from specialists.probability import MAX_NLL, safe_log

_NEVER = -1e30


@dataclass(frozen=True)
class _Columns:
    """Membership patterns of all classes, and the columns that stand for them.

    ``of_class`` (n_classes,) is the pattern of each class, which is also the column of its mass.
    ``of_label`` (P,) is the column of a label in each pattern: the same column if the pattern holds
    one class only. There are at most n_classes columns.
    """

    of_class: Tensor
    of_label: Tensor
    n_columns: int

    @classmethod
    def from_member(cls, member: Tensor) -> _Columns:
        """The columns of subsets given as a bool matrix (M, n_classes)."""
        _, pattern, sizes = torch.unique(member.T, dim=0, return_inverse=True, return_counts=True)
        several = sizes > 1
        single = torch.arange(len(sizes), device=pattern.device)
        extra = len(sizes) + several.cumsum(0) - 1
        return cls(pattern, torch.where(several, extra, single), len(sizes) + int(several.sum()))

    def columns(self, classes: Tensor) -> Tensor:
        """The columns of a set of whole patterns, increasing."""
        patterns = self.of_class[classes].unique()
        return torch.cat([patterns, self.of_label[patterns]]).unique()


@dataclass(frozen=True)
class _Merged:
    """One model's distribution in r rows, relative to the row's largest log-probability.

    ``others`` (k, r) are those of its classes but the label, ``label`` and ``dustbin`` (r,) those
    of the label, if it is one of its classes, and of the dustbin, if it has one. Each class adds to
    its ``column`` (k,). The label goes to ``label_column`` (r,), which is ``n_columns + 1`` and is
    cut off where the label is none of its classes.
    """

    others: Tensor
    label: Tensor
    dustbin: Tensor
    column: Tensor
    label_column: Tensor
    n_columns: int

    @classmethod
    def from_log_probs(
        cls, log_p: Tensor, dustbin: Tensor | None, classes: Tensor, labels: Tensor, to: _Columns
    ) -> _Merged:
        """Merge log-probabilities (r, k) over ``classes``, and of a dustbin (r,)."""
        columns = to.columns(classes)  # of the worked row's specialist: [1, 3]
        positions = torch.full_like(to.of_class, -1)
        positions[classes] = torch.arange(len(classes), device=classes.device)
        position = positions[labels]
        inside = position >= 0
        rows = inside.nonzero().squeeze(1)
        top = log_p.amax(1)
        top = top if dustbin is None else torch.maximum(top, dustbin)
        others = (log_p - top[:, None]).clamp_min(_NEVER).T.contiguous()
        label = torch.full_like(top, _NEVER)
        label[rows] = others[position[rows], rows]
        others[position[rows], rows] = _NEVER
        label_column = torch.searchsorted(columns, to.of_label[to.of_class[labels]])
        return cls(
            others,
            label,
            torch.full_like(top, _NEVER) if dustbin is None else (dustbin - top).clamp_min(_NEVER),
            torch.searchsorted(columns, to.of_class[classes]),
            torch.where(inside, label_column, len(columns) + 1),
            len(columns),
        )

    def tempered(self, temperature: Tensor) -> Tensor:
        """Columns of ``log_softmax(x / T)``, then the dustbin, (r, n_columns + 1)."""
        sharpness = 1 / temperature
        label, dustbin = (
            (x * sharpness).masked_fill(x == _NEVER, -torch.inf) for x in (self.label, self.dustbin)
        )
        masses = label.new_zeros(self.n_columns, len(label))
        masses = masses.index_add(0, self.column, (self.others * sharpness).exp())
        log_total = (masses.sum(0) + label.exp() + dustbin.exp()).log()
        columns = torch.cat([safe_log(masses), dustbin[None], dustbin[None]]) - log_total
        columns = columns.scatter(0, self.label_column[None], (label - log_total)[None])
        return columns[:-1].T


@dataclass(frozen=True)
class LabelLikelihood:
    """Labelled rows, and how likely a combination makes their labels.

    ``active_rows`` are those in which each specialist is active, ``subsets`` each specialist's
    columns; ``label_column`` has shape (n, 1).
    """

    problem: CombinationProblem
    generalist: _Merged
    specialists: tuple[_Merged, ...]
    active_rows: tuple[Tensor, ...]
    subsets: Subsets
    label_column: Tensor
    counts: Tensor | None = None

    @classmethod
    def from_problem(
        cls, problem: CombinationProblem, labels: Tensor, counts: Tensor | None = None
    ) -> LabelLikelihood:
        """The rows of ``problem``, their true classes, int64 (n,), and how often each counts."""
        to = _Columns.from_member(problem.subsets.member)
        everything = torch.arange(problem.n_classes, device=labels.device)
        columns = [to.columns(subset) for subset in problem.subsets.indices]
        specialists, active_rows = [], []
        for log_p, subset, rows in problem.parts():
            part, dustbin = log_p[rows, :-1], log_p[rows, -1]
            specialists.append(_Merged.from_log_probs(part, dustbin, subset, labels[rows], to))
            active_rows.append(rows)
        return cls(
            problem,
            _Merged.from_log_probs(problem.generalist, None, everything, labels, to),
            tuple(specialists),
            tuple(active_rows),
            Subsets.from_indices(columns, to.n_columns, labels.device),
            to.of_label[to.of_class[labels]][:, None],
            counts,
        )

    def loss(self, weights: Tensor, temperatures: Tensor, generalist_temperature: Tensor) -> Tensor:
        """Sum over rows of -log q_label, at most 100 nats each; differentiable.

        Weights and temperatures are float64 of shape (M,), the generalist's a scalar.
        """
        generalist = self.generalist.tempered(generalist_temperature)[:, :-1]
        specialists = []
        for m, (merged, rows) in enumerate(zip(self.specialists, self.active_rows, strict=True)):
            inactive = generalist.new_zeros(len(generalist), merged.n_columns + 1)
            specialists.append(inactive.index_copy(0, rows, merged.tempered(temperatures[m])))
        joined = combine(generalist, specialists, self.subsets, self.problem.active, weights)
        of_labels = joined.log_probs.gather(1, self.label_column)
        gained = of_labels.clamp_min(-MAX_NLL)
        if self.counts is not None:
            gained = gained * self.counts[:, None]
        return -gained.sum(dtype=torch.float64)
