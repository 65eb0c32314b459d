"""How do clusters look in a notebook? As tables of pandas, with what chance gives beside shares."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from specialists.clustering.checks import whole_number
from specialists.clustering.confused_pairs import as_table, columns_of, confused_pairs
from specialists.errors import InputError
from specialists.escaping import one_line, readable

if TYPE_CHECKING:
    import pandas as pd

    from specialists.clustering.classes import ClassClusters
    from specialists.clustering.pair_table import PairTable

SHOWN = 12  # names of a cluster, of which the others are counted
LEFT = '<div style="text-align: left">{}</div>'


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

    def confused_pairs(
        self: ClassClusters,  # pyright: ignore[reportGeneralTypeIssues]
        k: int = 20,
        probs: Any = None,
        *,
        labels: Any = None,
        examples: Any = None,
    ) -> PairTable:
        """The most confused pairs, each with the cluster that holds it, or -1.

        Without ``probs`` those that the clusters were found by, of which they keep 200. With
        ``probs``, and perhaps ``labels`` and ``examples``, all that
        :func:`specialists.clustering.confused_pairs` tells.

        Raises
        ------
        InputError
            ``k`` is no positive whole number; labels or examples are given without ``probs``; or
            ``confused_pairs`` raises it.
        """
        if probs is not None:
            more = {"labels": labels, "examples": examples, "clusters": self}
            return confused_pairs(probs, self.class_names, k, **more)
        k = whole_number(k, "k", 1)
        if labels is not None or examples is not None:
            what = "labels and examples are of rows, whose predictions are not given"
            raise InputError(what, where="probs", expected="probabilities of these rows")
        return as_table(columns_of(self.pairs[:k], self.class_names, self))

    def _repr_html_(self: ClassClusters) -> str:  # pyright: ignore[reportGeneralTypeIssues]
        """A sentence, and a table with the first names of each cluster."""
        frame = self.to_frame()
        frame["classes"] = [LEFT.format(escape(_few(names))) for names in frame["classes"]]
        for name in ("share_of_confusions", "random_share"):
            frame[name] = frame[name].map("{:.1%}".format)
        table = frame.to_html(border=0, escape=False)
        told = (
            f"{self.n_clusters} clusters of {self.n_classes:,} classes hold "
            f"{self.total_share:.1%} of the confusions; random clusters of the same sizes would "
            f"hold {self.random_share:.1%}."
        )
        return f"<p>{escape(told)}</p>\n{table}"


def _few(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    shown = ", ".join(one_line(readable(name)) for name in names[:SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
