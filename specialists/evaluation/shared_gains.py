"""What do shared specialists gain on which rows? By what they are asked, and by their shortlists.

A shared specialist that is asked about a row's shortlist can only help where the true class is on
it. Where the generalist is least sure it is asked about every class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from specialists.catalogue import ENSEMBLE, GENERALIST
from specialists.ensemble import CombinationRule
from specialists.evaluation.scores import Scores
from specialists.json_record import JsonRecord
from specialists.predictions import Predictions
from specialists.probability import PADDING
from specialists.shared import Shortlisting, places_of_labels
from specialists.uncertainty import DIFFERENCE_OF_SHARES, Interval, difference_interval

NOTHING, SHORTLIST, ALL_CLASSES = "nothing", "the shortlist", "all classes"


@dataclass(frozen=True)
class KindOfRows(JsonRecord):
    """Test rows on which shared specialists are asked about one thing.

    Parameters
    ----------
    asked : {"the shortlist", "all classes", "nothing"}
    on_shortlist : bool
        Whether the true class is on the row's shortlist.
    n_test : int
    generalist, ensemble : float
        Top-1 on them.
    interval : pair of floats
        At 95%, of the gain.
    """

    asked: str
    on_shortlist: bool
    n_test: int
    generalist: float
    ensemble: float
    interval: Interval

    @property
    def gain(self) -> float:
        """In top-1, a fraction."""
        return self.ensemble - self.generalist


@dataclass(frozen=True)
class SharedGains(JsonRecord):
    """What shared specialists are, and what they gain on the test rows.

    Parameters
    ----------
    n_trained, n_answering : int
        All, and those that the ensemble asks.
    n_listed : float
        Classes of a shortlist, the mean over the rows.
    of_clusters : bool
        Whether shortlists are made of clusters.
    on_shortlist, asked_whole : float
        Shares of the rows: with the true class on the shortlist, and with every class asked about.
    kinds : tuple of KindOfRows
        Empty where the ensemble asks none of them.
    """

    n_trained: int
    n_answering: int
    n_listed: float
    of_clusters: bool
    on_shortlist: float
    asked_whole: float
    kinds: tuple[KindOfRows, ...]


def shared_gains(
    shortlisting: Shortlisting,
    rule: CombinationRule,
    generalist: Predictions,
    labels: ArrayLike,
    scores: Mapping[str, Scores],
    *,
    n_trained: int,
    n_bootstrap: int = 1000,
    seed: int = 0,
    groups: ArrayLike | None = None,
) -> SharedGains:
    """Measure by kind of row what the shared specialists of a rule gain on n labelled rows.

    Parameters
    ----------
    shortlisting : Shortlisting
    rule : CombinationRule
        Of the ensemble.
    generalist : Predictions of n rows
        Which make the shortlists.
    labels : int array of shape (n,)
    scores : mapping of model name to Scores
        Of the generalist and the ensemble.
    n_trained : int
        Shared specialists that there are.
    groups : int array of shape (n,), optional
        Rows that are one observation share a number; None: each is one.
    """
    truth = torch.as_tensor(np.asarray(labels, dtype=np.int64))
    shortlists = shortlisting(generalist)
    listed = (places_of_labels(shortlists, truth) >= 0).numpy()
    asked, whole = _asked(rule, scores[GENERALIST].confidence)
    units = np.arange(len(truth)) if groups is None else np.asarray(groups)
    base, better = (scores[name].correct for name in (GENERALIST, ENSEMBLE))
    kinds = []
    for what, rows in ((SHORTLIST, asked & ~whole), (ALL_CLASSES, whole), (NOTHING, ~asked)):
        for on_shortlist in (True, False):
            some = rows & (listed == on_shortlist)
            if rule.shared is None or not some.any():
                continue
            before, after = base[some], better[some]
            drawn = {"groups": units[some], "limits": DIFFERENCE_OF_SHARES}
            interval = difference_interval(after, before, n_bootstrap, seed, **drawn)
            means = float(before.mean()), float(after.mean())
            kinds.append(KindOfRows(what, on_shortlist, int(some.sum()), *means, interval))
    return SharedGains(
        n_trained=n_trained,
        n_answering=rule.n_shared,
        n_listed=float((shortlists != PADDING).sum(1).double().mean()),
        of_clusters=shortlisting.subsets is not None,
        on_shortlist=float(listed.mean()),
        asked_whole=float(whole.mean()),
        kinds=tuple(kinds),
    )


def _asked(
    rule: CombinationRule, confidence: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Rows about which shared specialists are asked, and those of them with every class."""
    sure = torch.from_numpy(confidence).float()
    asked = rule.asks_shared(sure)
    if rule.shared is None:
        return asked.numpy(), asked.numpy()
    return asked.numpy(), (asked & rule.shared.asks_whole(sure)).numpy()
