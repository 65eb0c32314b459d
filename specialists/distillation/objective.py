"""What does a student minimise? A sum of terms, each with its weight.

    objective = sum_k weight_k mean_i w_i term_k(batch)_i

w_i is the weight of row i (1 without any). Layers that a term looks at pass through its adapter
first, which is trained along with the student and thrown away.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from specialists.distillation.terms.term import (
    OUTPUTS,
    BatchView,
    Term,
    changed_feature,
    lacking,
)
from specialists.errors import InputError


def layers_of(terms: Sequence[Term]) -> tuple[list[str], list[str]]:
    """Paths of the layers that terms look at, in the student and in the teacher."""
    pairs = [term.layers for term in terms if term.layers is not None]
    ours, theirs = ({pair[side] for pair in pairs} - {OUTPUTS} for side in (0, 1))
    return sorted(ours), sorted(theirs)


class Objective(nn.Module):
    """A weighted sum of terms.

    Parameters
    ----------
    terms : sequence of Term

    Raises
    ------
    InputError
        If there are none, or something else is among them.

    Examples
    --------
    >>> from specialists.distillation.terms import Labels, SoftTargets
    >>> objective = Objective([SoftTargets(temperature=2.0, weight=0.7), Labels(weight=0.3)])
    >>> z, t = torch.zeros(1, 2), torch.tensor([[0.8, 0.2]]).log()
    >>> objective(BatchView(z, teacher=t, labels=torch.tensor([0])))
    tensor(0.3665)
    """

    def __init__(self, terms: Sequence[Term]) -> None:
        super().__init__()
        if not terms:
            raise InputError("an objective has no terms", got="none", expected="at least one")
        if strange := [term for term in terms if not isinstance(term, Term)]:
            raise InputError(
                "an objective is a list of terms",
                got=repr(strange[0]),
                expected="for instance [SoftTargets(temperature=2.0), Labels()]",
                fix="read_terms makes terms of tables, as a configuration has them",
            )
        self.terms = tuple(terms)
        self.adapters = nn.ModuleDict()

    def check(self, there: Collection[str]) -> None:
        """Raise an InputError for the first term that needs what is not ``there``."""
        for term in self.terms:
            for what in sorted(term.needs - set(there)):
                raise lacking(term.kind, what)

    @property
    def needs(self) -> frozenset[str]:
        """What any of the terms needs."""
        return frozenset().union(*(term.needs for term in self.terms))

    def layers(self) -> tuple[list[str], list[str]]:
        """Paths of the layers that terms look at, in the student and in the teacher."""
        return layers_of(self.terms)

    def prepare(self, view: BatchView) -> None:
        """Make what is trained between layers, from the shapes of a few rows.

        Raises an InputError if the layers of a term do not fit one another.
        """
        view = view.in_full_precision()
        for i, term in enumerate(self.terms):
            if term.layers is None or OUTPUTS in term.layers:
                continue
            student, teacher = view.features[term.layers[0]], view.teacher_features[term.layers[1]]
            if (adapter := term.adapter(student, teacher)) is not None:
                self.adapters[str(i)] = adapter.to(student.device, student.dtype)

    def forward(self, view: BatchView, weights: Tensor | None = None) -> Tensor:
        """The value of a batch, a scalar; ``weights`` (n,) are those of the rows.

        Raises
        ------
        InputError
            If the view lacks what a term needs, or its parts do not fit one another.
        """
        return torch.stack(self.parts(view, weights)).sum()

    def parts(self, view: BatchView, weights: Tensor | None = None) -> list[Tensor]:
        """What each term adds to the value."""
        view, found = view.in_full_precision(), []
        for i, term in enumerate(self.terms):
            rows = term(self._adapted(i, term, view))
            mean = rows.mean() if weights is None else (rows * weights).mean()
            found.append(term.weight * mean)
        return found

    def _adapted(self, i: int, term: Term, view: BatchView) -> BatchView:
        if term.layers is None or str(i) not in self.adapters:
            return view
        path = term.layers[0]
        return changed_feature(view, path, self.adapters[str(i)](view.features[path]))
