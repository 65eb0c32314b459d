"""How likely do a combination's weights and temperatures make the labels that were seen?

Only the label's probability is asked for, so classes that lie in the same subsets, a *place*, need
not be told apart: of each place there is one column with the mass of its other classes and one for
the label if it lies there. Merging is exact, since ``q = c / s`` with one s for a place (but where
nobody gives a place any mass: what is left over is shared by its columns, not by its classes). It
costs a sum over classes; what is solved and differentiated has few columns, whatever n_classes is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specialists.combination.minimiser import combine
from specialists.combination.problem import Problem
from specialists.probability import safe_log

LEAST_LOG_PROB = -100.0
_NEVER = -1e30


@dataclass(frozen=True)
class Places:
    """Classes by the subsets that hold them, and the columns that stand for them.

    Parameters
    ----------
    of_class : int64 Tensor of shape (n_classes,)
        Place of each class.
    label_column : int64 Tensor of shape (n_places,)
        Column of a label that lies in the place: the place's own if it holds one class only.
    n_columns : int
        At most n_classes; the first n_places are the places' masses.
    """

    of_class: Tensor
    label_column: Tensor
    n_columns: int

    @classmethod
    def of(cls, member: Tensor) -> Places:
        """Of subsets as a bool matrix (M, n_classes)."""
        _, place, sizes = torch.unique(member.T, dim=0, return_inverse=True, return_counts=True)
        several = sizes > 1
        own = torch.arange(len(sizes), device=place.device)
        extra = len(sizes) + several.cumsum(0) - 1
        return cls(place, torch.where(several, extra, own), len(sizes) + int(several.sum()))

    def columns(self, classes: Tensor) -> Tensor:
        """The columns of a set of whole places, increasing."""
        places = self.of_class[classes].unique()
        return torch.cat([places, self.label_column[places]]).unique()


@dataclass(frozen=True)
class _Voice:
    """What one member says in r rows, relative to the largest log-probability of the row.

    Parameters
    ----------
    others : Tensor of shape (k, r)
        Of its classes but the label.
    label, dustbin : Tensors of shape (r,)
        Of the label, if it is one of its classes, and of the dustbin, if it has one.
    column : int64 Tensor of shape (k,)
        Where each class adds to.
    label_column : int64 Tensor of shape (r,)
        Where the label goes; ``n_columns + 1``, which is cut off, if it is not of its classes.
    n_columns : int
    """

    others: Tensor
    label: Tensor
    dustbin: Tensor
    column: Tensor
    label_column: Tensor
    n_columns: int

    @classmethod
    def of(
        cls, log_probs: Tensor, dustbin: Tensor | None, classes: Tensor, labels: Tensor, at: Places
    ) -> _Voice:
        """Of log-probabilities (r, k) over ``classes``, and of a dustbin (r,)."""
        columns = at.columns(classes)
        where = torch.full_like(at.of_class, -1)
        where[classes] = torch.arange(len(classes), device=classes.device)
        place = where[labels]
        inside = place >= 0
        rows = inside.nonzero().squeeze(1)
        top = log_probs.amax(1)
        top = top if dustbin is None else torch.maximum(top, dustbin)
        others = (log_probs - top[:, None]).clamp_min(_NEVER).T.contiguous()
        label = torch.full_like(top, _NEVER)
        label[rows] = others[place[rows], rows]
        others[place[rows], rows] = _NEVER
        label_column = torch.searchsorted(columns, at.label_column[at.of_class[labels]])
        return cls(
            others,
            label,
            torch.full_like(top, _NEVER) if dustbin is None else (dustbin - top).clamp_min(_NEVER),
            torch.searchsorted(columns, at.of_class[classes]),
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
class Evidence:
    """Labelled rows, ready to be asked how likely a combination makes their labels.

    Parameters
    ----------
    problem : Problem
        Its weights are those of the start.
    generalist : _Voice
    specialists : tuple of M _Voice
    voting : tuple of M int64 Tensors
        Rows in which each specialist votes.
    subsets : tuple of M int64 Tensors
        Its columns.
    label_column : int64 Tensor of shape (n, 1)
    """

    problem: Problem
    generalist: _Voice
    specialists: tuple[_Voice, ...]
    voting: tuple[Tensor, ...]
    subsets: tuple[Tensor, ...]
    label_column: Tensor

    @classmethod
    def of(cls, problem: Problem, labels: Tensor) -> Evidence:
        """Of the rows of ``problem`` and their true classes, int64 (n,)."""
        at = Places.of(problem.member)
        everything = torch.arange(problem.n_classes, device=labels.device)
        voting = tuple(column.nonzero().squeeze(1) for column in problem.active.T)
        specialists = []
        for log_p, rows, subset in zip(problem.specialists, voting, problem.subsets, strict=True):
            said = log_p[rows]
            voice = _Voice.of(said[:, :-1], said[:, -1], subset, labels[rows], at)
            specialists.append(voice)
        return cls(
            problem,
            _Voice.of(problem.generalist, None, everything, labels, at),
            tuple(specialists),
            voting,
            tuple(at.columns(subset) for subset in problem.subsets),
            at.label_column[at.of_class[labels]][:, None],
        )

    def loss(self, weights: Tensor, temperatures: Tensor, generalist_temperature: Tensor) -> Tensor:
        """Sum over rows of -log q_label, at most 100 nats each; differentiable.

        Parameters
        ----------
        weights, temperatures : float64 Tensors of shape (M,)
        generalist_temperature : float64 Tensor, scalar
        """
        generalist = self.generalist.tempered(generalist_temperature)[:, :-1]
        specialists = []
        for m, (voice, rows) in enumerate(zip(self.specialists, self.voting, strict=True)):
            silent = generalist.new_zeros(len(generalist), voice.n_columns + 1)
            specialists.append(silent.index_copy(0, rows, voice.tempered(temperatures[m])))
        joined = combine(generalist, specialists, self.subsets, self.problem.active, weights)
        found = joined.log_probs.gather(1, self.label_column)
        return -found.clamp_min(LEAST_LOG_PROB).sum(dtype=torch.float64)
