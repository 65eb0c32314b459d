"""What a specialist reads and computes follows the rows that it trains on."""

import numpy as np
import pytest
import reference
import torch
from torch import nn
from torch.nn import functional as F

from specialists import predictions
from specialists.calibration import fit_calibration
from specialists.config import SpecialistsConfig
from specialists.datasets.base import Split
from specialists.errors import DataError, InputError
from specialists.predictions import (
    DensePredictions,
    SelectedPredictions,
    StoredPredictions,
    write_shards,
)
from specialists.probability import aggregate
from specialists.shards import SUMS, Shards
from specialists.specialist import check_share, soft_targets, train_specialist, training_rows
from specialists.specialist.sampling import natural_weights, subset_examples, subset_validation
from specialists.training.examples import TensorExamples, drawn

N, C = 600, 40
SUBSET = torch.tensor([31, 2, 17])
LABELS = torch.arange(N) % C


def log_probs(scale: float = 3.0) -> torch.Tensor:
    """In half precision, with classes without mass, and rows that one class has for itself."""
    logits = torch.randn(N, C, generator=torch.Generator().manual_seed(0)) * scale
    logits[:50, 31] += 30
    logits[50:80, 2] = -torch.inf
    logits[80:100, 5] += 40
    return F.log_softmax(logits, dim=-1).half()


def stored(folder, rows: torch.Tensor, monkeypatch, per_shard: int = 64) -> StoredPredictions:
    monkeypatch.setattr(predictions, "SHARD_BYTES", 2 * C * per_shard)
    write_shards(folder, [DensePredictions(part) for part in rows.split(50)], C, {"inputs": {}})
    return StoredPredictions(folder)


@pytest.mark.parametrize("has_sums", [True, False])
@pytest.mark.parametrize("scale", [0.1, 3.0, 20.0])
@pytest.mark.parametrize("n_named", [1, 3, 39, 40])
def test_what_a_subset_leaves_is_as_exact_from_its_own_columns_as_from_all_others(
    tmp_path, monkeypatch, n_named, scale, has_sums
):
    rows = log_probs(scale)
    known, subset = stored(tmp_path, rows, monkeypatch), torch.randperm(C)[:n_named]
    if not has_sums:
        (tmp_path / SUMS).unlink()
        known = StoredPredictions(tmp_path)
    exact = aggregate(rows.double(), subset)
    index = torch.randperm(N)
    for found, expected in (
        (known.of_subset(subset), exact),
        (known.of_subset(subset, index), exact[index]),
        (SelectedPredictions(known, index).of_subset(subset, torch.arange(9)), exact[index[:9]]),
    ):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_most_rows_are_read_in_the_columns_of_the_subset_alone(tmp_path, monkeypatch):
    known, read, whole = stored(tmp_path, log_probs(), monkeypatch), Shards.read, []

    def watched(self, index, columns=None):
        whole.extend(index.tolist() if columns is None else [])
        return read(self, index, columns)

    monkeypatch.setattr(Shards, "read", watched)
    known.of_subset(SUBSET)
    mass = log_probs()[:, SUBSET].float().exp().sum(1)
    assert set(range(50)) <= set(whole)
    assert set(whole) == set((mass > 0.9).nonzero().flatten().tolist())


@pytest.mark.parametrize("row", [-1, N])
def test_a_row_that_is_not_stored_is_refused(tmp_path, monkeypatch, row):
    known = stored(tmp_path, log_probs(), monkeypatch)
    with pytest.raises(IndexError, match=f"of {N}"):
        known.of_subset(SUBSET, torch.tensor([3, row]))


@pytest.mark.parametrize("wrong", [torch.nan, 0.0, -60.0])
def test_stored_rows_that_are_no_log_probabilities_are_refused_when_they_are_drawn(
    tmp_path, monkeypatch, wrong
):
    rows = log_probs()
    rows[7] = wrong
    known = stored(tmp_path, rows, monkeypatch)
    with pytest.raises(InputError, match="no log-probabilities"):
        soft_targets(known, SUBSET, 0.5, 0.1, torch.tensor([5, 7]))
    assert soft_targets(known, SUBSET, 0.5, 0.1, torch.tensor([5, 6])).shape == (2, 4)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("share", [0.5, 0.2])
def test_targets_of_any_batch_are_those_of_the_whole_matrix(
    tmp_path, monkeypatch, share, temperature
):
    settings = SpecialistsConfig(subset_share=share, temperature=temperature, soft_targets=0.5)
    known = stored(tmp_path, log_probs(), monkeypatch)
    examples, natural = subset_examples(torch.zeros(N, 1), LABELS, known, SUBSET, settings)
    expected = reference.shifted_targets(log_probs(), SUBSET, share, natural, temperature)
    generator = torch.Generator().manual_seed(0)
    for index in (examples.order(generator), torch.tensor([599, 2, 2, 31, 0]), torch.arange(0)):
        target, places = examples.batch(index, generator).targets
        np.testing.assert_allclose(target.double(), expected[index], rtol=1e-4, atol=1e-7)
        assert places.tolist() == [[31, 2, 17, c].index(c) for c in LABELS[index].tolist()]


def test_only_drawn_rows_are_read_and_those_of_the_subset_once(tmp_path, monkeypatch):
    known, asked = stored(tmp_path, log_probs(), monkeypatch), []
    of_subset = StoredPredictions.of_subset
    monkeypatch.setattr(
        StoredPredictions,
        "of_subset",
        lambda self, subset, rows: asked.extend(rows.tolist()) or of_subset(self, subset, rows),
    )
    settings = SpecialistsConfig(soft_targets=0.5)
    examples, _ = subset_examples(torch.zeros(N, 1), LABELS, known, SUBSET, settings)
    assert asked == []
    generator = torch.Generator().manual_seed(0)
    orders = [examples.order(generator) for _ in range(3)]
    for order in orders:
        for part in order.split(16):
            examples.batch(part, generator)
    inside = torch.isin(LABELS, SUBSET).nonzero().flatten()
    outside = torch.cat(orders)[~torch.isin(torch.cat(orders), inside)]
    assert sorted(asked) == sorted([*inside.tolist(), *outside.tolist()])


@pytest.mark.parametrize(("n", "k"), [(1000, 0), (1000, 5), (1000, 124), (1000, 900), (7, 7)])
def test_numbers_are_drawn_without_replacement(n, k):
    found = drawn(n, k, torch.Generator().manual_seed(k))
    assert len(found.unique()) == len(found) == k
    assert k == 0 or 0 <= int(found.min()) <= int(found.max()) < n


@pytest.mark.parametrize("k", [5, 30])
def test_every_number_is_drawn_equally_often(k):
    generator = torch.Generator().manual_seed(0)
    counts = torch.bincount(torch.cat([drawn(100, k, generator) for _ in range(4000)]))
    expected = 4000 * k / 100
    variance = expected * (1 - k / 100)
    chi_squared = float(((counts - expected) ** 2 / variance).sum()) * 99 / 100
    assert 50 < chi_squared < 160


def judges(seed: int = 0, least: int = 60):
    return subset_validation(torch.arange(N)[:, None].float(), LABELS, C, SUBSET, 0.3, seed, least)


def test_all_rows_of_the_subset_and_a_sample_of_the_others_judge():
    judge = judges()
    rows = judge.inputs[:, 0].long()  # type: ignore[index]
    inside = torch.isin(LABELS[rows], SUBSET)
    assert rows[inside].tolist() == torch.isin(LABELS, SUBSET).nonzero().flatten().tolist()
    assert (len(rows.unique()), int((~inside).sum())) == (45 + 60, 60)
    assert torch.equal(judge.labels < 3, inside)
    assert judge.weights is not None
    assert float(judge.weights[inside].sum() / judge.weights.sum()) == pytest.approx(0.3)


def test_the_sample_follows_from_the_seed_and_is_no_smaller_than_the_subset():
    first, again, other = (judges(seed, least=10).inputs for seed in (1, 1, 2))
    assert isinstance(first, torch.Tensor)
    assert isinstance(again, torch.Tensor)
    assert isinstance(other, torch.Tensor)
    assert len(first) == 45 + 45
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_sample_judges_as_all_rows_do_on_average():
    losses = torch.rand(N, generator=torch.Generator().manual_seed(0))

    def mean_loss(seed: int, least: int) -> float:
        judge = judges(seed, least)
        assert judge.weights is not None
        found = losses[judge.inputs[:, 0].long()]  # type: ignore[index]
        return float((found * judge.weights).sum() / judge.weights.sum())

    found = torch.tensor([mean_loss(seed, 60) for seed in range(60)])
    error = float(found.std()) / 60**0.5
    assert 0 < error < 0.005
    assert abs(float(found.mean()) - mean_loss(0, N)) < 4 * error


def test_few_rows_all_judge():
    judge = judges(least=N)
    assert len(judge.labels) == N
    assert natural_weights(judge, SUBSET, N) is None


def test_sampled_rows_stand_for_all_where_a_specialist_is_calibrated():
    judge = judges()
    weights = natural_weights(judge, SUBSET, N)
    assert weights is not None
    assert float(weights.sum()) == pytest.approx(N)
    assert bool((weights[judge.labels < 3] == 1).all())
    logits = torch.randn(len(judge.labels), 4, generator=torch.Generator().manual_seed(1))
    found = fit_calibration(logits, judge.labels, 1.5, weights)
    expected = calibrated_slowly(logits, judge.labels, 1.5, weights)
    assert [found.temperature, found.dustbin_bias] == pytest.approx(expected, rel=2e-3, abs=2e-3)
    assert found != fit_calibration(logits, judge.labels, 1.5)


def calibrated_slowly(logits, labels, correction, weights) -> list[float]:
    """The same objective in float64, by a search without gradients."""
    from scipy.optimize import minimize

    logits, weights = logits.double(), weights.double()

    def objective(values):
        shifted = logits.clone()
        shifted[:, -1] += correction + values[1]
        losses = F.cross_entropy(shifted / np.exp(values[0]), labels, reduction="none")
        prior = values[0] ** 2 / (2 * 0.25) + values[1] ** 2 / 2
        return float((losses * weights).sum() / weights.sum()) + prior / float(weights.sum())

    found = minimize(objective, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-6})
    return [float(np.exp(found.x[0])), float(found.x[1])]


@pytest.mark.parametrize("subset", [torch.tensor([50, 60]), torch.arange(C)])
def test_a_subset_with_no_rows_or_with_all_is_refused(tmp_path, subset):
    with pytest.raises(DataError, match="inside and outside"):
        check_share(LABELS, subset)
    wide = DensePredictions(F.log_softmax(torch.zeros(N, 70), dim=-1))
    with pytest.raises(DataError, match="inside and outside"):
        subset_examples(torch.zeros(N, 1), LABELS, wide, subset, SpecialistsConfig())


def test_the_rows_that_a_training_reads_are_known_before(monkeypatch):
    settings = SpecialistsConfig(epochs=2, batch_size=16, learning_rate=0.1, soft_targets=0.0)
    split = Split(torch.arange(N).float()[:, None], LABELS)
    read = []
    network = nn.Linear(1, len(SUBSET) + 1)
    gather = TensorExamples.batch
    monkeypatch.setattr(
        TensorExamples,
        "batch",
        lambda self, index, generator: read.append(index) or gather(self, index, generator),
    )
    train_specialist(
        network, SUBSET, split, split, log_probs().float(), settings, seed=4, augment=None
    )
    first = read[0]  # a batch whose operations are counted trains nothing
    trained = torch.cat(read[1:]).unique()
    expected = training_rows(LABELS, SUBSET, settings, seed=4)
    assert torch.equal(trained, expected)
    assert len(first) < len(expected) < N
    assert not torch.equal(expected, training_rows(LABELS, SUBSET, settings, seed=5))
