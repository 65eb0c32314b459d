"""How do clusters and confused pairs look in a notebook? As tables of pandas.

Beside every share of confusions stands what chance gives: random clusters of the same sizes, or a
pair that is confused as all pairs are on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sparse

from specialists.clustering.co_predictions import CoPredictions, streamed
from specialists.covariance.streaming import host_array, predictions_shape
from specialists.errors import InputError
from specialists.escaping import one_line

if TYPE_CHECKING:
    import pandas as pd

    from specialists.clustering.classes import ClassClusters

SHOWN = 12  # names of a cluster, of which the others are counted


class NotebookTable:
    """How :class:`ClassClusters` shows itself."""

    def to_frame(self: ClassClusters) -> pd.DataFrame:  # pyright: ignore[reportGeneralTypeIssues]
        """A row a cluster: ``size``, ``share_of_confusions``, ``random_share``, ``classes``."""
        import pandas as pd

        return pd.DataFrame(
            {
                "size": self.sizes,
                "share_of_confusions": self.share_of_confusions,
                "random_share": self.random_shares,
                "classes": [self.names(index) for index in range(self.n_clusters)],
            },
            index=pd.RangeIndex(self.n_clusters, name="cluster"),
        )

    def _repr_html_(self: ClassClusters) -> str:  # pyright: ignore[reportGeneralTypeIssues]
        """A sentence, and a table with the first names of each cluster."""
        frame = self.to_frame()
        frame["classes"] = [_few(names) for names in frame["classes"]]
        for name in ("share_of_confusions", "random_share"):
            frame[name] = frame[name].map("{:.1%}".format)
        table = frame.to_html(border=0, escape=True)
        told = (
            f"{self.n_clusters} clusters of {self.n_classes:,} classes hold "
            f"{self.total_share:.1%} of the confusions; random clusters of the same sizes would "
            f"hold {self.random_share:.1%}."
        )
        return f"<p>{escape(told)}</p>\n{table}"


def confused_pairs(
    probs: Any,
    class_names: Sequence[str] | None = None,
    k: int = 20,
    *,
    labels: Any = None,
    examples: Sequence[Any] | None = None,
    clusters: ClassClusters | None = None,
) -> pd.DataFrame:
    """The pairs of classes that a model confuses most.

    Parameters
    ----------
    probs : array or Tensor of shape (n, C)
        Predicted probabilities of rows that the model has not seen.
    class_names : sequence of C str, optional
        None: the clusters', or numbers.
    k : int
        Number of pairs, at most.
    labels : int array of shape (n,), optional
        The true classes.
    examples : sequence of n values, optional
        What the rows are, for instance texts.
    clusters : ClassClusters, optional
        Of the same classes.

    Returns
    -------
    DataFrame
        A row a pair, the most confused first: ``class_a``, ``class_b``, ``share_of_confusions``
        (of the mass of mean(p p^T) off its diagonal), ``times_average`` (over that of all pairs on
        average). With labels ``errors``, rows of either class for which the other one is most
        probable. With examples ``example``, a row that is torn between the two: one of these
        errors, if there is any. With clusters ``cluster``, the first one that holds both, or -1.

    Raises
    ------
    InputError
        ``probs`` are not probabilities, or something else has not their shape.

    Examples
    --------
    >>> probs = np.array([[0.5, 0.4, 0.1], [0.6, 0.4, 0.0], [0.0, 0.1, 0.9]])
    >>> confused_pairs(probs, ["a", "b", "c"], k=1).loc[0, ["class_a", "class_b"]].tolist()
    ['a', 'b']
    """
    import pandas as pd

    n, n_classes = predictions_shape(probs)
    if class_names is None:
        class_names = clusters.class_names if clusters else [str(i) for i in range(n_classes)]
    _check_lengths(n, n_classes, class_names, labels, examples, clusters)
    rows, columns, mass, total = _heaviest(probs, n_classes, k)
    pairs = list(zip(rows.tolist(), columns.tolist(), strict=True))
    share = mass / total if total else mass
    values: dict[str, Any] = {
        "class_a": [class_names[a] for a, _ in pairs],
        "class_b": [class_names[b] for _, b in pairs],
        "share_of_confusions": share,
        "times_average": share * n_classes * (n_classes - 1) / 2,
    }
    if clusters is not None:
        values["cluster"] = [_cluster_of(clusters, a, b) for a, b in pairs]
    if labels is not None or examples is not None:
        torn = [_torn(host_array(probs), labels, a, b) for a, b in pairs]
        if labels is not None:
            values["errors"] = [n_errors for n_errors, _ in torn]
        if examples is not None:
            values["example"] = [examples[row] for _, row in torn]
    return pd.DataFrame(values)


def _heaviest(
    probs: Any, n_classes: int, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Classes (k,), (k,) and mass (k,) of the most confused pairs, and the mass of all pairs."""
    confusion = CoPredictions.from_source(streamed(probs, n_classes)).confusion
    upper = sparse.triu(sparse.csr_matrix(confusion), 1).tocoo()
    mass = np.asarray(upper.data)
    order = np.lexsort((upper.col, upper.row, np.negative(mass)))[:k]
    order = order[mass[order] > 0]
    return upper.row[order], upper.col[order], mass[order], float(mass.sum())


def _torn(probs: np.ndarray, labels: Any, a: int, b: int) -> tuple[int, int]:
    """How often one of two classes is taken for the other, and the row that shows it best."""
    both = probs[:, a] * probs[:, b]
    if labels is None:
        return 0, int(both.argmax())
    truth, predicted = host_array(labels), probs.argmax(1)
    wrong = ((truth == a) & (predicted == b)) | ((truth == b) & (predicted == a))
    return int(wrong.sum()), int(np.where(wrong, 1.0 + both, both).argmax())


def _cluster_of(clusters: ClassClusters, a: int, b: int) -> int:
    held = (i for i, members in enumerate(clusters.classes) if a in members and b in members)
    return next(held, -1)


def _check_lengths(
    n: int,
    n_classes: int,
    class_names: Sequence[str],
    labels: Any,
    examples: Sequence[Any] | None,
    clusters: ClassClusters | None,
) -> None:
    wanted = {
        "clusters": (None if clusters is None else clusters.class_names, n_classes),
        "class_names": (class_names, n_classes),
        "labels": (labels, n),
        "examples": (examples, n),
    }
    for where, (given, size) in wanted.items():
        if given is not None and len(given) != size:
            what = "this does not fit the probabilities"
            raise InputError(what, where=where, got=f"{len(given):,}", expected=f"{size:,}")


def _few(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    shown = ", ".join(one_line(name) for name in names[:SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
