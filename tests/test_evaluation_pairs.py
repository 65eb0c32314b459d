"""Pairs of classes that specialists tell apart, and what shared ones gain on which rows."""

import numpy as np
import pytest
import torch

from specialists.ensemble import CombinationRule
from specialists.ensemble.shared_members import SharedRule
from specialists.evaluation import shared_gains
from specialists.evaluation.notable_examples import ExampleRows
from specialists.evaluation.pair_changes import PairChanges, pair_changes
from specialists.evaluation.scores import Scores
from specialists.evaluation.shared_gains import SharedGains
from specialists.predictions import DensePredictions
from specialists.shared import Shortlisting

LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 3])


def answered(*classes, valid=(), confidence=None):
    """Scores of a model that says these classes; ``valid`` rows count as right whatever it says."""
    prediction = np.array(classes)
    correct, right = prediction == LABELS, np.isin(np.arange(len(LABELS)), valid)
    nll = (np.where(correct, 0.1, 2.0) + 0.01 * np.arange(len(LABELS))).astype(np.float64)
    sure = np.full(len(LABELS), 0.6) if confidence is None else np.array(confidence)
    return Scores(prediction, correct, correct, correct | right, nll, sure)


def pairs_of(generalist, ensemble) -> PairChanges | None:
    texts = [f"text {row}" for row in range(len(LABELS))]
    return pair_changes(generalist, ensemble, LABELS, ExampleRows(LABELS, texts, None))


GENERALIST = (1, 1, 0, 0, 1, 2, 3, 3)


def test_the_pair_that_gains_most_comes_first_with_what_was_confused():
    found = pairs_of(answered(*GENERALIST), answered(0, 0, 0, 0, 1, 3, 2, 3))
    assert found is not None
    assert (found.n_better, found.n_worse) == (1, 0)
    (pair,) = found.most
    assert (pair.classes, pair.n_test, pair.generalist, pair.ensemble) == ((0, 1), 5, 3, 1)
    assert pair.gain == 2
    assert [(e.row, e.label, e.text) for e in pair.examples] == [(0, 0, "text 0"), (1, 0, "text 1")]


def test_pairs_that_are_told_apart_worse_are_counted_and_not_shown():
    found = pairs_of(answered(*GENERALIST), answered(1, 1, 2, 1, 1, 2, 2, 2))
    assert found is not None
    assert (found.n_better, found.n_worse) == (1, 1)
    assert [pair.classes for pair in found.most] == [(0, 1)]
    assert PairChanges.from_dict(found.to_dict()) == found


def test_a_pair_that_is_confused_as_often_as_before_is_counted_and_not_shown():
    """Row 0 is mended, but row 1, taken for class 2 before, is taken for class 1."""
    found = pairs_of(answered(1, 2, 0, 1, 1, 2, 2, 3), answered(0, 1, 0, 1, 1, 2, 2, 3))
    assert found is not None
    assert (found.n_better, found.most) == (1, ())


def test_another_valid_label_is_no_confusion():
    found = pairs_of(answered(*GENERALIST, valid=(0, 1, 3)), answered(0, 0, 0, 1, 1, 2, 2, 3))
    assert found is not None
    assert [pair.classes for pair in found.most] == [(2, 3)]


def test_another_wrong_answer_is_no_gain():
    """Row 3 is no longer taken for class 0, but for class 2."""
    assert pairs_of(answered(*GENERALIST), answered(1, 1, 0, 2, 1, 2, 3, 3)) is None


def test_an_ensemble_that_changes_nothing_has_no_pairs():
    assert pairs_of(answered(*GENERALIST), answered(*GENERALIST)) is None


CONFIDENCE = (0.95, 0.9, 0.5, 0.5, 0.5, 0.2, 0.2, 0.2)


def gains(shared: SharedRule | None) -> SharedGains:
    """Of shortlists of two classes: those of rows 1, 4 and 7 lack the truth."""
    log_probs = torch.full((8, 4), -9.0)
    for row, label in enumerate(LABELS):
        shift = 1 if row in (1, 4, 7) else 0
        log_probs[row, [(label + shift) % 4, (label + shift + 1) % 4]] = 0.0
    rule = CombinationRule("kl", None, members=(), defer_above=0.9, shared=shared)
    generalist = answered(*GENERALIST, confidence=CONFIDENCE)
    scores = {"generalist": generalist, "ensemble": answered(1, 1, 0, 1, 1, 2, 2, 2)}
    predictions = DensePredictions(log_probs)
    return shared_gains(Shortlisting(2), rule, predictions, LABELS, scores, n_trained=3)


def test_rows_are_told_apart_by_what_is_asked_and_by_their_shortlist():
    found = gains(SharedRule(2, whole_up_to=0.3))
    assert (found.n_trained, found.n_answering, found.n_listed) == (3, 2, 2.0)
    assert (found.on_shortlist, found.asked_whole) == (5 / 8, 3 / 8)
    kinds = [(k.asked, k.on_shortlist, k.n_test, k.generalist, k.ensemble) for k in found.kinds]
    assert kinds == [
        ("the shortlist", True, 2, 0.5, 1.0),
        ("the shortlist", False, 2, 0.5, 0.5),
        ("all classes", True, 2, 0.5, 1.0),
        ("all classes", False, 1, 1.0, 0.0),
        ("nothing", True, 1, 0.0, 0.0),
    ]
    assert found.kinds[0].gain == 0.5
    assert SharedGains.from_dict(found.to_dict()) == found


def test_shared_specialists_that_may_not_answer_gain_on_no_rows():
    found = gains(None)
    assert (found.n_trained, found.n_answering, found.kinds) == (3, 0, ())
    assert (found.on_shortlist, found.asked_whole) == (5 / 8, 0.0)


@pytest.mark.parametrize(("whole_up_to", "share"), [(None, 0.0), (1.0, 7 / 8)])
def test_every_class_is_asked_about_up_to_a_confidence(whole_up_to, share):
    assert gains(SharedRule(1, whole_up_to=whole_up_to)).asked_whole == share
