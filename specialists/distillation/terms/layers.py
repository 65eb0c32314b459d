"""Terms of inner layers, which are named by their paths in the student and in the teacher.

They need the teacher's network. Each is divided by what it sums over, so that neither wide layers
nor large maps weigh more.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn
from torch.nn import functional as F

from specialists.distillation.terms.term import NETWORK, OUTPUTS, BatchView, Term
from specialists.errors import InputError

MAP_DIMS = 4  # rows, channels, height, width


def _inner(path: str) -> str:
    if path == OUTPUTS:
        raise ValueError("these are outputs, which logit_matching and terms of relations compare")
    return path


Path = Annotated[str, Field(min_length=1)]
InnerPath = Annotated[Path, AfterValidator(_inner)]


class LayerTerm(Term):
    """A term that compares a layer of the student with one of the teacher."""

    layer: InnerPath
    """Path of the student's layer, for instance stage2."""
    teacher_layer: InnerPath | None = None
    """Path of the teacher's layer. None: the same."""

    @property
    def layers(self) -> tuple[str, str]:
        return self.layer, self.teacher_layer or self.layer

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({NETWORK})

    def losses(self, view: BatchView) -> Tensor:
        ours, theirs = self.layers
        return self.compare(view.features[ours], view.teacher_features[theirs])

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Losses of the rows, (n,), from the outputs of both layers."""
        raise NotImplementedError

    def misfit(self, student: Tensor, teacher: Tensor, expected: str) -> InputError:
        """The error of layers whose shapes do not fit one another; it has both."""
        ours, theirs = self.layers
        shapes = [["n", *map(str, one.shape[1:])] for one in (student, teacher)]
        ours, theirs = (
            f"{path} [{', '.join(shape)}]"
            for path, shape in zip((ours, theirs), shapes, strict=True)
        )
        return InputError(
            f"{self.kind}: the shapes of these layers do not fit one another",
            got=f"student {ours}, teacher {theirs}",
            expected=expected,
        )


class Hint(LayerTerm):
    """(1 / 2 d) |r(h) - u|^2 of a student's layer h and a teacher's u of d numbers, METHOD.md (38).

    r is a regressor that is trained along: a linear map of the last axis or, of maps [n, c, h, w],
    a 1 x 1 convolution. The paper trains the lower layers by hints alone first; here they are one
    term among others. It sums over the d numbers, and has a kernel that fits maps of other sizes.

    Source: Romero et al. 2015, "FitNets: Hints for Thin Deep Nets", equation 3.
    """

    kind: ClassVar[str] = "hint"

    def adapter(self, student: Tensor, teacher: Tensor) -> nn.Module:
        sizes = slice(2, None) if student.dim() >= MAP_DIMS else slice(1, -1)
        if student.dim() != teacher.dim() or student.shape[sizes] != teacher.shape[sizes]:
            raise self.misfit(student, teacher, "the same but for the channels")
        if student.dim() > MAP_DIMS:
            raise self.misfit(student, teacher, "at most four axes")
        if student.dim() < MAP_DIMS:
            return nn.Linear(student.shape[-1], teacher.shape[-1])
        return nn.Conv2d(student.shape[1], teacher.shape[1], 1)

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        if student.shape != teacher.shape:
            raise self.misfit(student, teacher, "one shape, after the regressor")
        return (student - teacher).square().flatten(1).mean(1) / 2


class Attention(LayerTerm):
    """1/2 |a(h) / |a(h)| - a(u) / |a(u)||^2 of maps h and u, METHOD.md (39).

    a is the sum of squares over the channels, at each place of a map. The term lies in [0, 1], and
    is 1 - cos(a(h), a(u)). Equation 2 of the paper has the norm without the square, whose gradient
    does not exist where both agree; the authors' program has the square, and divides it by the
    number of places.

    Source: Zagoruyko, Komodakis 2017, "Paying More Attention to Attention", section 3.1.
    """

    kind: ClassVar[str] = "attention"

    def adapter(self, student: Tensor, teacher: Tensor) -> None:
        maps = student.dim() == teacher.dim() == MAP_DIMS
        if not maps or student.shape[2:] != teacher.shape[2:]:
            expected = "maps [n, channels, height, width] of one height and width"
            raise self.misfit(student, teacher, expected)

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        self.adapter(student, teacher)
        return (_attention(student) - _attention(teacher)).square().sum(1) / 2


def _attention(maps: Tensor) -> Tensor:
    """Squares summed over channels, a row of length 1 for each input."""
    return F.normalize(scaled(maps).square().sum(1).flatten(1), dim=1)


def scaled(features: Tensor) -> Tensor:
    """Features divided by their largest size: for formulas that the scale does not change.

    So squares neither overflow nor vanish. The factor is a constant to the gradient, which is right
    where a formula does not depend on it.
    """
    largest = features.detach().abs().amax()
    return features / largest.clamp_min(torch.finfo(features.dtype).tiny)
