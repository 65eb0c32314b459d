import numpy as np
import pytest
import torch

from specialists.covariance import PredictionCovariance, confusion_mass, normalised
from specialists.errors import InputError


def random_probs(n_rows: int, n_classes: int, seed: int = 0, sharpness: float = 3.0) -> np.ndarray:
    logits = sharpness * np.random.default_rng(seed).normal(size=(n_rows, n_classes))
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def streamed(probs: np.ndarray, batch: int) -> PredictionCovariance:
    covariance = PredictionCovariance(probs.shape[1])
    for start in range(0, len(probs), batch):
        covariance.update(probs[start : start + batch])
    return covariance


@pytest.mark.parametrize("batch", [1, 7, 64, 200])
def test_streaming_in_any_batches_equals_the_covariance_of_all_rows(batch):
    probs = random_probs(200, 6)
    covariance = streamed(probs, batch)
    np.testing.assert_allclose(covariance.covariance(), np.cov(probs.T), rtol=1e-12, atol=1e-17)
    np.testing.assert_allclose(covariance.correlation(), np.corrcoef(probs.T), atol=1e-12)
    np.testing.assert_allclose(covariance.mean, probs.mean(axis=0), rtol=1e-13)
    assert covariance.n_samples == 200


def test_merging_shards_equals_one_pass():
    probs = random_probs(90, 5)
    shards = [streamed(part, 16) for part in np.split(probs, [10, 11, 60])]
    merged = PredictionCovariance(5)
    for shard in shards:
        merged.merge(shard)
    np.testing.assert_allclose(merged.covariance(), np.cov(probs.T), rtol=1e-12, atol=1e-17)
    assert merged.n_samples == 90


def test_merging_an_empty_shard_changes_nothing():
    covariance = streamed(random_probs(20, 3), 5)
    before = covariance.covariance()
    covariance.merge(PredictionCovariance(3))
    np.testing.assert_array_equal(covariance.covariance(), before)


def test_tiny_variations_on_a_large_mean_are_not_cancelled():
    noise = 1e-9 * np.random.default_rng(0).normal(size=(1000, 1))
    covariance = streamed(np.hstack([0.5 + noise, 0.5 - noise]), 10).covariance()
    assert covariance[0, 0] == pytest.approx(noise.var(ddof=1), rel=1e-5)
    assert covariance[0, 1] == pytest.approx(-noise.var(ddof=1), rel=1e-5)


def test_rows_and_columns_of_the_covariance_sum_to_zero():
    covariance = streamed(random_probs(500, 8), 100).covariance()
    np.testing.assert_allclose(covariance.sum(axis=0), 0.0, atol=1e-16)
    np.testing.assert_array_equal(covariance, covariance.T)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_tensors_of_every_float_type_are_accumulated_in_float64(dtype):
    probs = torch.tensor(random_probs(50, 4)).to(dtype)
    covariance = PredictionCovariance(4).update(probs.requires_grad_())
    assert covariance.covariance().dtype == np.float64
    np.testing.assert_allclose(
        covariance.covariance(), np.cov(probs.detach().double().numpy().T), rtol=1e-12
    )


def test_a_class_that_is_never_predicted_has_no_correlation():
    probs = np.hstack([random_probs(30, 3), np.zeros((30, 1))])
    correlation = PredictionCovariance(4).update(probs).correlation()
    np.testing.assert_array_equal(correlation[3], [0, 0, 0, 1])
    assert np.abs(correlation).max() <= 1


def test_confusion_mass_is_the_mean_outer_product_without_its_diagonal():
    probs = random_probs(40, 5)
    expected = np.mean([np.outer(row, row) for row in probs], axis=0)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(confusion_mass(probs), expected, rtol=1e-12)
    np.testing.assert_allclose(confusion_mass(torch.tensor(probs)), expected, rtol=1e-12)
    assert confusion_mass(probs).sum() == pytest.approx(1 - (probs**2).sum(axis=1).mean())


def test_the_streaming_confusion_equals_the_confusion_mass():
    probs = random_probs(60, 7, sharpness=8.0)
    np.testing.assert_allclose(
        streamed(probs, 9).confusion(), confusion_mass(probs), rtol=1e-9, atol=1e-17
    )


def test_many_rows_are_worked_through_in_chunks(monkeypatch):
    monkeypatch.setattr("specialists.covariance.streaming.CHUNK_VALUES", 20)
    probs = random_probs(50, 4)
    covariance = PredictionCovariance(4).update(probs)
    np.testing.assert_allclose(covariance.covariance(), np.cov(probs.T), rtol=1e-12)
    assert confusion_mass(probs).sum() == pytest.approx(1 - (probs**2).sum(axis=1).mean())


def test_normalising_keeps_correlations_within_one():
    matrix = normalised(np.array([[1.0, 2.0 + 1e-9], [2.0 + 1e-9, 4.0]]))
    assert matrix.max() == 1.0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0.2, 0.3, 0.5]], "wrong number of columns"),
        ([0.5, 0.5], "must be a matrix"),
        ([[0.5, 0.5], [np.nan, 1.0]], "(?s)not finite.*row 1"),
        ([[np.inf, 0.0]], "not finite"),
        ([[-2.0, 3.0]], "not probabilities"),
        ([[-0.7, -0.7]], "(?s)not probabilities.*softmax"),
        ([[0.9, 0.9]], "(?s)not probabilities.*sum 1.8"),
    ],
)
def test_rows_that_are_not_probabilities_are_named(rows, message):
    with pytest.raises(InputError, match=message):
        PredictionCovariance(2).update(np.array(rows))


def test_a_wrong_row_is_named_by_its_place_among_all_rows(monkeypatch):
    monkeypatch.setattr("specialists.covariance.streaming.CHUNK_VALUES", 4)
    probs = np.full((9, 2), 0.5)
    probs[7] = 3.0
    with pytest.raises(InputError, match="row 7"):
        PredictionCovariance(2).update(probs)


def test_a_covariance_needs_two_rows_and_a_mean_one():
    covariance = PredictionCovariance(2)
    with pytest.raises(InputError, match="too few rows"):
        _ = covariance.mean
    covariance.update(np.array([[0.5, 0.5]]))
    with pytest.raises(InputError, match="too few rows"):
        covariance.covariance()
    np.testing.assert_array_equal(covariance.mean, [0.5, 0.5])


def test_wrong_numbers_of_classes_are_refused():
    with pytest.raises(InputError, match="at least two classes"):
        PredictionCovariance(1)
    with pytest.raises(InputError, match="different numbers of classes"):
        PredictionCovariance(2).merge(PredictionCovariance(3))
    with pytest.raises(InputError, match="too few rows"):
        confusion_mass(np.empty((0, 3)))
    with pytest.raises(InputError, match="must be a matrix"):
        confusion_mass(np.empty(3))
