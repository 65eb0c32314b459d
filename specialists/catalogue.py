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
        Beside its name in a table.
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
        "with specialists, combined as validation chose", "specialists", "use specialists"
    ),
    PAPER: ModelWords("KL, n = 1, weights 1, as in the paper"),
    ALL: ModelWords("every specialist for every example"),
    CONTINUED: ModelWords(
        "trained on, for the FLOPs of the ensemble's rest; its start may stay the best",
        "the generalist trained longer",
        "train longer",
    ),
    WIDE: ModelWords(
        "the ensemble's inference, at most its training FLOPs", "a wider generalist", "go wider"
    ),
    AVERAGED: ModelWords(
        "as many as the ensemble's training FLOPs pay for, rounded up",
        "averaged generalists",
        "average generalists",
    ),
    SAME_INFERENCE: ModelWords(
        "those that its inference pays for, rounded up",
        "averaged generalists of the same inference",
        "average a few generalists",
    ),
    DEFERRED: ModelWords(
        "the later ones asked less, for the ensemble's inference",
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
