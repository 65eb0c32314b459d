"""The dustbin correction is exact, and the fit finds the temperature and bias that are there."""

import math

import pytest
import torch
from reference import calibration_objective
from torch.nn import functional as F

from specialists.calibration import (
    Calibration,
    dustbin_correction,
    fit_calibration,
    fit_temperature,
)
from specialists.errors import CalibrationWarning, InputError
from specialists.probability import aggregate


@pytest.mark.parametrize(("s", "f"), [(0.5, 0.1), (0.5, 0.9), (0.3, 0.02), (0.8, 0.4)])
def test_the_papers_wording_differs_from_the_exact_formula_by_a_known_term(s, f):
    exact, paper = dustbin_correction(s, f), dustbin_correction(s, f, "paper")
    assert exact == pytest.approx(math.log(((1 - f) / f) * (s / (1 - s))), abs=1e-14)
    assert exact - paper == pytest.approx(math.log((1 - f) / (1 - s)), abs=1e-14)


def test_nothing_is_corrected_where_training_has_the_natural_share():
    assert dustbin_correction(0.3, 0.3) == pytest.approx(0, abs=1e-15)
    assert dustbin_correction(0.5, 0.2) == pytest.approx(math.log(4))


def natural_world(n_inputs: int = 40, n_classes: int = 9, seed: int = 0):
    """Joint distribution of a discrete input and a class, float64 of shape (inputs, classes)."""
    generator = torch.Generator().manual_seed(seed)
    joint = torch.rand(n_inputs, n_classes, generator=generator, dtype=torch.float64) ** 3
    return joint / joint.sum()


@pytest.mark.parametrize("share", [0.5, 0.2, 0.9])
@pytest.mark.parametrize("subset", [[0], [2, 5, 7], [0, 1, 2, 3, 4, 5, 6, 7]])
def test_a_bayes_optimal_specialist_corrected_is_the_natural_posterior(subset, share):
    joint, subset = natural_world(), torch.tensor(subset)
    kept = torch.zeros(joint.shape[1], dtype=torch.bool)
    kept[subset] = True
    natural_share = float(joint[:, kept].sum())
    rebalanced = torch.where(
        kept, joint * (share / natural_share), joint * ((1 - share) / (1 - natural_share))
    )
    rebalanced = rebalanced / rebalanced.sum(1, keepdim=True)
    logits = aggregate(rebalanced.log(), subset) + 3.0
    correction = dustbin_correction(share, natural_share)
    natural = aggregate((joint / joint.sum(1, keepdim=True)).log(), subset)
    torch.testing.assert_close(
        Calibration(correction).log_probs(logits), natural, rtol=0, atol=1e-12
    )


def test_bias_is_added_to_the_dustbin_before_the_temperature_divides():
    logits = torch.tensor([[1.0, -2.0, 0.5]])
    shifted = torch.tensor([[1.0, -2.0, 0.5 + 0.7 - 0.3]])
    result = Calibration(0.7, temperature=2.0, dustbin_bias=-0.3).log_probs(logits)
    torch.testing.assert_close(result, F.log_softmax(shifted / 2.0, dim=-1))
    assert logits[0, 2] == 0.5


def sampled(log_probs: torch.Tensor, seed: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.multinomial(log_probs.exp(), 1, generator=generator).squeeze(1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_fit_recovers_the_temperature_that_labels_were_drawn_at(temperature):
    logits = torch.randn(20_000, 6, generator=torch.Generator().manual_seed(0)) * 3
    labels = sampled(F.log_softmax(logits / temperature, dim=-1))
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.04)


@pytest.mark.parametrize(("temperature", "bias"), [(1.0, 0.0), (2.0, -1.2), (0.7, 0.8)])
def test_the_fit_recovers_temperature_and_dustbin_bias(temperature, bias):
    logits = torch.randn(20_000, 5, generator=torch.Generator().manual_seed(1)) * 2
    truth = Calibration(1.5, temperature, bias)
    fitted = fit_calibration(logits, sampled(truth.log_probs(logits)), 1.5)
    assert fitted.correction == 1.5
    assert fitted.temperature == pytest.approx(temperature, rel=0.05)
    assert fitted.dustbin_bias == pytest.approx(bias, abs=0.1)


@pytest.mark.parametrize("n", [4, 30, 500])
def test_no_other_temperature_or_bias_has_a_higher_posterior(n):
    logits = torch.randn(n, 4, generator=torch.Generator().manual_seed(2)) * 4
    labels = sampled(F.log_softmax(logits / 2, dim=-1))
    labels[0], labels[1] = 3, 0
    corrected = logits + 0.5 * torch.eye(4)[3]
    fitted = fit_calibration(logits, labels, 0.5)

    def posterior(log_temperature: float, bias: float) -> float:
        return calibration_objective(corrected, labels, log_temperature, bias, torch.ones(n))

    at, bias = math.log(fitted.temperature), fitted.dustbin_bias
    best = posterior(at, bias)
    for step in [(0.02, 0.0), (-0.02, 0.0), (0.0, 0.03), (0.0, -0.03)]:
        assert posterior(at + step[0], bias + step[1]) > best


@pytest.mark.parametrize("n", [1, 20, 300])
def test_a_temperature_is_the_maximum_a_posteriori_of_weighted_rows(n):
    generator = torch.Generator().manual_seed(n)
    logits = torch.randn(n, 5, generator=generator) * 3
    labels = torch.randint(5, (n,), generator=generator)
    weights = torch.rand(n, generator=generator) ** 2 + 0.01
    at = math.log(fit_temperature(logits, labels, weights))
    best = calibration_objective(logits, labels, at, 0.0, weights)
    for step in (0.01, -0.01):
        assert calibration_objective(logits, labels, at + step, 0.0, weights) > best


def test_a_row_without_weight_is_no_row():
    logits = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)) * 3
    labels = torch.arange(40) % 5
    weights = (torch.arange(40) < 10).float()
    alone = fit_temperature(logits[:10], labels[:10])
    assert fit_temperature(logits, labels, weights) == pytest.approx(alone, rel=2e-3)
    assert fit_temperature(logits, labels, 7 * weights) == pytest.approx(alone, rel=2e-3)
    assert fit_temperature(logits, labels) != pytest.approx(alone, rel=0.05)


def test_rows_that_can_be_separated_drive_no_temperature_into_its_bound():
    logits = 4 * torch.eye(3).repeat(4, 1)
    labels = torch.arange(3).repeat(4)
    assert 0.3 < fit_temperature(logits, labels) < 1
    assert 0.3 < fit_calibration(logits, labels, 0.0).temperature < 1


def test_few_rows_lose_little_to_their_prior_and_much_without():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(20_000, 6, generator=generator) * 6
    labels = sampled(F.log_softmax(logits / 1.5, dim=-1))
    right = (logits.argmax(1) == labels).nonzero().squeeze(1)[:15]  # a lucky draw
    fitted = fit_temperature(logits[right], labels[right])
    truth = F.cross_entropy(logits / 1.5, labels)
    assert F.cross_entropy(logits / fitted, labels) < truth + 0.3
    assert F.cross_entropy(logits / 0.05, labels) > truth + 5


@pytest.mark.parametrize("label", [0, 3])
def test_the_formula_stands_with_a_warning_where_validation_data_cannot_tell(label):
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(2))
    with pytest.warns(CalibrationWarning, match="formula"):
        fitted = fit_calibration(logits, torch.full((50,), label), 0.5)
    assert fitted == Calibration(0.5)


LOGITS = torch.randn(30, 4, generator=torch.Generator().manual_seed(4))
Y = torch.arange(30) % 4
WITHOUT_A_CHANCE = LOGITS.masked_fill(F.one_hot(Y, 4).bool(), -torch.inf)


@pytest.mark.parametrize("fit", [fit_temperature, lambda x, y: fit_calibration(x, y, 0.5)])
@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (LOGITS[:0], Y[:0], "no matrix"),
        (LOGITS[0], Y[:1], "no matrix"),
        (LOGITS[None], Y[None], "no matrix"),
        (LOGITS.T, Y, "one label for each row"),
        (LOGITS, Y[:, None], "one label for each row"),
        (LOGITS, Y - 1, "none of the classes"),
        (LOGITS, Y + 1, "none of the classes"),
        (LOGITS, Y.float(), "no integers"),
        (WITHOUT_A_CHANCE, Y, "no temperature"),
        (LOGITS * torch.nan, Y, "no temperature"),
        (LOGITS + torch.inf, Y, "no temperature"),
    ],
)
def test_what_no_temperature_can_be_fitted_to_is_refused(fit, logits, labels, message):
    with pytest.raises(InputError, match=message):
        fit(logits, labels)


def test_a_class_that_is_ruled_out_and_is_no_label_changes_no_temperature():
    more = torch.cat([LOGITS, torch.full((30, 1), -torch.inf)], dim=1)
    assert fit_temperature(more, Y) == pytest.approx(fit_temperature(LOGITS, Y), rel=1e-6)


def test_a_class_that_is_ruled_out_in_a_row_leaves_a_specialist_to_be_calibrated():
    ruled_out, nearly = LOGITS.clone(), LOGITS.clone()
    row = int((Y == 1).nonzero()[0])
    ruled_out[row, 0], nearly[row, 0] = -torch.inf, -1e4
    found, expected = (fit_calibration(logits, Y, 1.0) for logits in (ruled_out, nearly))
    assert found.to_dict() == pytest.approx(expected.to_dict(), rel=1e-4)
    assert found.temperature != 1.0


@pytest.mark.parametrize(
    "weights",
    [torch.ones(30, 1), torch.ones(1), -torch.ones(30), torch.zeros(30), torch.ones(30) / 0],
)
def test_weights_that_are_not_one_for_each_row_or_count_nothing_are_refused(weights):
    with pytest.raises(InputError, match="weights"):
        fit_temperature(LOGITS, Y, weights)


def test_half_precision_logits_are_calibrated_in_float32():
    half = (LOGITS * 3).half()
    assert fit_temperature(half, Y) == fit_temperature(half.float(), Y)
    assert Calibration(0.5).log_probs(half).dtype == torch.float32


@pytest.mark.parametrize("logits", [LOGITS[0], LOGITS[None], LOGITS[:, :1], LOGITS[:0], Y[:, None]])
def test_logits_along_other_axes_are_refused(logits):
    with pytest.raises(InputError):
        Calibration(0.5).log_probs(logits)


@pytest.mark.parametrize("values", [(0.5, 0.0), (0.5, -1.0), (math.nan,), (0.5, 1.0, math.inf)])
def test_a_calibration_is_of_finite_numbers(values):
    with pytest.raises(InputError, match="finite"):
        Calibration(*values)


@pytest.mark.parametrize(("s", "f"), [(0.0, 0.1), (1.0, 0.1), (0.5, 0.0), (0.5, 1.0), (0.5, 7.0)])
@pytest.mark.parametrize("formula", ["exact", "paper"])
def test_a_share_of_none_or_all_has_no_correction(s, f, formula):
    with pytest.raises(InputError, match="neither none nor all"):
        dustbin_correction(s, f, formula)


def test_an_unknown_formula_is_refused():
    with pytest.raises(InputError, match="no such formula"):
        dustbin_correction(0.5, 0.1, "Exact")
