"""Scikit-learn's own checks of an estimator, on trainings of a few epochs."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from specialists import SpecialistClassifier

QUICK = {
    "data.augment": False,
    "generalist.width": 24,
    "generalist.epochs": 20,
    "generalist.batch_size": 64,
    "generalist.learning_rate": 0.02,
    "generalist.dropout": 0.0,
    "specialists.width": 8,
    "specialists.epochs": 1,
    "student.width": 8,
    "student.epochs": 1,
    "student.temperatures": [1.0],
    "student.alphas": [1.0],
    "combination.n": [1],
    "combination.weights": [1.0],
    "combination.deferral": [1.0],
    "combination.rules": ["kl"],
}
AS_OFTEN = (
    "a row of weight 2 counts as two rows do in every sum, but rows are cut for validation and "
    "drawn into batches one by one, so that other rows come together"
)
EXPECTED_TO_FAIL = {
    "check_sample_weight_equivalence_on_dense_data": AS_OFTEN,
    "check_sample_weight_equivalence_on_sparse_data": AS_OFTEN,
}

pytestmark = pytest.mark.filterwarnings(
    "ignore::specialists.errors.DataWarning", "ignore::specialists.errors.CalibrationWarning"
)


@parametrize_with_checks(
    [SpecialistClassifier(settings=QUICK)],
    expected_failed_checks=lambda estimator: EXPECTED_TO_FAIL,
)
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)
