"""What is known of how classes are predicted together: whole matrices, or a sketch of them?

Methods that only look at columns or at confused pairs work with either; those that need the whole
matrix say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse

from specialists.clustering.checks import confusion_matrix, one_of, square_matrix
from specialists.clustering.shares import n_rows
from specialists.covariance.sketched import PredictionSketch
from specialists.covariance.streaming import PredictionCovariance, normalised
from specialists.errors import InputError

MATRICES = ("covariance", "correlation", "confusion")
NEED_WHOLE_MATRIX = ("agglomerative", "correlation")


@dataclass(frozen=True)
class Evidence:
    """Covariance and confusion mass, or a sketch in the place of the covariance.

    Parameters
    ----------
    confusion : ndarray or sparse matrix of shape (C, C)
        Symmetric, not negative, diagonal zero.
    covariance : ndarray of shape (C, C), optional
    sketch : PredictionSketch, optional
    """

    confusion: np.ndarray | sparse.csr_matrix
    covariance: np.ndarray | None = None
    sketch: PredictionSketch | None = None

    @classmethod
    def of(cls, source: Any, confusion: Any) -> Evidence:
        """Checked evidence of a covariance (object, array, tensor) or a sketch.

        Raises
        ------
        InputError
            A matrix is not square, finite and symmetric, or a sketch comes with a confusion.
        """
        if isinstance(source, PredictionSketch):
            if confusion is not None:
                raise InputError(
                    "a sketch has its own confusion",
                    where="confusion",
                    got=type(confusion).__name__,
                    expected=None,
                    fix="leave confusion out",
                )
            return cls(source.confusion(), sketch=source)
        if isinstance(source, PredictionCovariance):
            confusion = source.confusion() if confusion is None else confusion
            source = source.covariance()
        covariance = square_matrix(source, "covariance")
        return cls(confusion_matrix(confusion, covariance), covariance)

    @property
    def n_classes(self) -> int:
        """Number of classes C."""
        return n_rows(self.confusion)

    def matrix_name(self, asked: str | None, usual: str, method: str) -> str:
        """The matrix that a method is to compare: the one asked for, or its usual one.

        Raises
        ------
        InputError
            Unknown, or not in a sketch.
        """
        if self.sketch is None:
            return one_of(asked or usual, MATRICES, "matrix")
        there = "confusion" if method == "balanced" else "covariance"
        if method in NEED_WHOLE_MATRIX or asked not in (None, there):
            raise InputError(
                f"a sketch does not hold what {method} needs",
                where="method" if method in NEED_WHOLE_MATRIX else "matrix",
                got=f"method {method!r}, matrix {asked!r}",
                expected="balanced on the confusion; kmeans, minibatch, spherical on covariance",
            )
        return there

    def columns(self, matrix: str) -> np.ndarray:
        """One row a class to compare, shape (C, C), or (C, d) of a sketch (d = 0: confusion)."""
        if self.sketch is not None:
            empty = matrix == "confusion"
            return np.empty((self.n_classes, 0)) if empty else self.sketch.columns()
        if matrix == "confusion":
            return np.asarray(self.confusion)
        return normalised(self.whole()) if matrix == "correlation" else self.whole()

    def whole(self) -> np.ndarray:
        """The C x C covariance.

        Raises
        ------
        InputError
            There is only a sketch.
        """
        if self.covariance is None:
            raise InputError(
                "a sketch does not hold the whole covariance",
                got="PredictionSketch",
                expected="PredictionCovariance or a matrix",
            )
        return self.covariance
