"""Which models are compared, in which order, and what are they called?

`ensemble` is a generalist with its specialists, as validation data chose to combine them. Its
baselines are what the same computing could have bought instead: training longer, going wider,
averaging generalists. A student learns from the ensemble; beside it stands the same network with
hard labels.
"""

from __future__ import annotations

from dataclasses import dataclass

GENERALIST = "generalist"
ENSEMBLE, PAPER, ALL = "ensemble", "ensemble_paper", "ensemble_all"
CONTINUED, WIDE, AVERAGED = "generalist_continued", "generalist_wide", "generalist_ensemble"
SAME_INFERENCE = "generalist_ensemble_same_inference"
DEFERRED = "generalist_ensemble_deferred"
STUDENT, HARD_LABELS = "student", "student_hard_labels"
STUDENTS = (STUDENT, HARD_LABELS)

TRAINED = (CONTINUED, WIDE, AVERAGED)  # the other baselines are made of some of their members
BASELINES = (*TRAINED, SAME_INFERENCE, DEFERRED)
ALTERNATIVES = (ENSEMBLE, *BASELINES, STUDENT, HARD_LABELS)  # to the generalist alone
# One network before one that others taught, before several that are asked in turn, before several
# that are asked always.
BY_SIMPLICITY = (
    *(CONTINUED, WIDE, HARD_LABELS, STUDENT, ENSEMBLE),
    *(DEFERRED, SAME_INFERENCE, AVERAGED),
)
PAIRS = (
    (ENSEMBLE, GENERALIST),
    *((ENSEMBLE, baseline) for baseline in BASELINES),
    (PAPER, GENERALIST),
    (ALL, GENERALIST),
    (STUDENT, HARD_LABELS),
    (STUDENT, GENERALIST),
)  # whose differences a run's evaluation tests


@dataclass(frozen=True)
class ModelWords:
    """What a model is called.

    Parameters
    ----------
    description : str
        Beside its name in a table, and in a glossary.
    noun : str
        In a sentence.
    advice : str
        What to do in order to have it, as an imperative.
    """

    description: str
    noun: str = ""
    advice: str = ""


WORDS = {
    GENERALIST: ModelWords("one network for all classes"),
    ENSEMBLE: ModelWords(
        "the generalist with specialists, combined as validation chose",
        "specialists",
        "use specialists",
    ),
    PAPER: ModelWords("specialists combined as in the paper: KL, n = 1, weights 1"),
    ALL: ModelWords("every specialist, asked about every row"),
    CONTINUED: ModelWords(
        "the generalist trained on, for the specialists' training FLOPs; its start may stay best",
        "the generalist trained longer",
        "train longer",
    ),
    WIDE: ModelWords(
        "one wider network of the ensemble's inference FLOPs and at most its training FLOPs",
        "a wider generalist",
        "go wider",
    ),
    AVERAGED: ModelWords(
        "the mean of as many generalists as the ensemble's training FLOPs pay for, rounded up",
        "averaged generalists",
        "average generalists",
    ),
    SAME_INFERENCE: ModelWords(
        "the mean of as many of these as the ensemble's inference FLOPs pay for, rounded up",
        "averaged generalists of the same inference",
        "average a few generalists",
    ),
    DEFERRED: ModelWords(
        "the same generalists, the later ones asked less, for at most the ensemble's inference",
        "averaged generalists that defer",
        "average generalists and ask the later ones less",
    ),
    STUDENT: ModelWords("one network, taught by the ensemble", "the student", "deploy the student"),
    HARD_LABELS: ModelWords(
        "the same network, taught by labels alone",
        "the student's network with hard labels",
        "train the student's network with hard labels",
    ),
}
