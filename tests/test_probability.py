"""Logits, log-probabilities, divergences and the dustbin."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specialists.errors import InputError
from specialists.probability import (
    aggregate,
    complement,
    log_sum_exp,
    safe_log,
    tempered_log_softmax,
)

INF = torch.inf


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("temperature", [1e-3, 1.0, 20.0])
def test_tempered_log_softmax_sums_to_one_at_any_scale(scale, temperature):
    logits = torch.randn(50, 7, dtype=torch.float64) * scale
    log_probs = tempered_log_softmax(logits, temperature)
    assert log_probs.exp().sum(1) == pytest.approx(1, abs=1e-12)


def test_a_temperature_divides_the_logits():
    logits = torch.randn(5, 4, dtype=torch.float64)
    expected = torch.softmax(logits / 3, 1)
    torch.testing.assert_close(tempered_log_softmax(logits, 3.0).exp(), expected)


def test_a_logit_of_minus_infinity_stays_a_probability_of_zero():
    log_probs = tempered_log_softmax(torch.tensor([[0.0, -INF, 0.0]]), 2.0)
    assert log_probs.exp().tolist() == [[0.5, 0.0, 0.5]]


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), INF])
def test_a_temperature_must_be_positive_and_finite(temperature):
    with pytest.raises(InputError, match="temperature"):
        tempered_log_softmax(torch.zeros(1, 2), temperature)


def test_the_temperature_gets_the_right_gradient():
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    temperature = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(tempered_log_softmax, (logits, temperature))


def test_the_dustbin_is_the_sum_of_probabilities_and_not_of_logits():
    log_probs = torch.tensor([[0.1, 0.2, 0.3, 0.4]], dtype=torch.float64).log()
    merged = aggregate(log_probs, torch.tensor([2, 0]))
    torch.testing.assert_close(merged.exp(), torch.tensor([[0.3, 0.1, 0.6]]).double())
    assert merged[0, -1] != log_probs[0, [1, 3]].sum()


def test_a_dustbin_far_below_the_precision_of_one_is_not_lost():
    log_probs = tempered_log_softmax(torch.tensor([[0.0, -80.0, -90.0]], dtype=torch.float64))
    merged = aggregate(log_probs, torch.tensor([0]))
    expected = torch.tensor([-80.0, -90.0]).double().logsumexp(0)
    assert merged[0, 1].item() == pytest.approx(expected.item(), abs=1e-9)


def test_the_dustbin_of_all_classes_is_empty():
    merged = aggregate(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([0, 1]))
    assert merged[0, -1] == -INF


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 8), st.data())
def test_aggregation_keeps_the_total_of_one(n_classes, data):
    subset = data.draw(st.lists(st.integers(0, n_classes - 1), unique=True))
    logits = data.draw(st.lists(st.floats(-700, 700), min_size=n_classes, max_size=n_classes))
    log_probs = tempered_log_softmax(torch.tensor([logits], dtype=torch.float64))
    merged = aggregate(log_probs, torch.tensor(subset, dtype=torch.int64))
    assert merged.exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_aggregation_has_the_right_gradient_and_none_at_empty_classes():
    log_probs = torch.log_softmax(torch.randn(2, 5, dtype=torch.float64), 1).requires_grad_()
    subset = torch.tensor([3, 1])
    assert torch.autograd.gradcheck(lambda x: aggregate(x, subset), (log_probs,))
    empty = torch.tensor([[0.0, -INF, -INF]], requires_grad=True)
    aggregate(empty, torch.tensor([0]))[0, 1].backward()
    assert empty.grad is not None
    assert empty.grad.tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("subset", "message"),
    [
        (torch.tensor([0, 4]), "does not exist"),
        (torch.tensor([-1]), "does not exist"),
        (torch.tensor([1, 1]), "more than once"),
        (torch.tensor([0.5]), "list of class indices"),
        (torch.tensor([[0], [1]]), "list of class indices"),
    ],
)
def test_a_subset_lists_existing_classes_once(subset, message):
    with pytest.raises(InputError, match=message):
        aggregate(torch.zeros(2, 4), subset)


def test_the_complement_lists_what_the_subset_does_not():
    assert complement(torch.tensor([3, 0]), 5).tolist() == [1, 2, 4]


def test_safe_log_is_log_with_a_gradient_of_zero_at_zero():
    probs = torch.tensor([0.0, 1.0], requires_grad=True)
    value = safe_log(probs)
    value[0].backward()
    assert value.tolist() == [-INF, 0.0]
    assert probs.grad is not None
    assert probs.grad.tolist() == [0.0, 0.0]


def test_log_sum_exp_of_nothing_is_minus_infinity():
    assert log_sum_exp(torch.empty(2, 0)).tolist() == [-INF, -INF]
    assert log_sum_exp(torch.tensor([[1e9, -1e9]])).tolist() == [1e9]
