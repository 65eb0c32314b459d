"""The bias of classes that a student's transfer set lacks."""

import math

import pytest
import torch

from specialists.distillation import MissingClassBias, fit_missing_bias
from specialists.errors import InputError

MISSING = [1, 3]


def believed(n=4000, bias=3.0, temperature=0.5, seed=0):
    """Logits of a student that gives two classes ``bias`` nats too little, and true labels."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.randn(n, 5, generator=generator) * 2
    labels = torch.multinomial(true.softmax(1), 1, generator=generator).squeeze(1)
    logits = true * temperature
    logits[:, MISSING] -= bias
    return logits, labels, true.log_softmax(1)


def test_bias_and_temperature_of_a_student_that_is_right_but_for_them_are_found():
    logits, labels, true = believed()
    fitted = fit_missing_bias(logits, labels, MISSING)
    assert fitted.missing == (1, 3)
    assert fitted.bias == pytest.approx(3.0, abs=0.1)
    assert fitted.temperature == pytest.approx(0.5, abs=0.03)
    assert (fitted.log_probs(logits) - true).abs().mean() < 0.1


def test_no_other_bias_or_temperature_has_a_higher_posterior():
    logits, labels, _ = believed(200)
    fitted = fit_missing_bias(logits, labels, MISSING)

    def loss(bias, temperature):
        values = logits.double().clone()
        values[:, MISSING] += bias
        nats = torch.nn.functional.cross_entropy(values / temperature, labels, reduction="sum")
        return float(nats) + math.log(temperature) ** 2 / (2 * 0.5**2) + bias**2 / (2 * 10.0**2)

    best = loss(fitted.bias, fitted.temperature)
    for bias, factor in ((0.02, 1), (-0.02, 1), (0, 1.01), (0, 0.99)):
        assert best < loss(fitted.bias + bias, fitted.temperature * factor)


def test_few_rows_that_can_be_separated_leave_the_bias_finite():
    logits = torch.tensor([[5.0, -5.0], [-5.0, -4.0]])
    fitted = fit_missing_bias(logits, torch.tensor([0, 1]), [1])
    assert 0 < fitted.bias < 10


def test_the_bias_is_added_to_the_missing_classes_alone_and_to_a_copy():
    logits = torch.zeros(1, 3)
    odds = MissingClassBias((2,), bias=math.log(2), temperature=1.0).log_probs(logits).exp()
    torch.testing.assert_close(odds, torch.tensor([[0.25, 0.25, 0.5]]))
    assert not logits.any()


@pytest.mark.parametrize("labels", [[0, 0], [1, 1]])
def test_rows_of_one_side_alone_say_nothing_of_the_bias(labels):
    with pytest.raises(InputError, match="nothing says how probable the classes are"):
        fit_missing_bias(torch.zeros(2, 2), torch.tensor(labels), [1])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_refused(value):
    logits = torch.tensor([[0.0, 0.0], [0.0, value]])
    with pytest.raises(InputError, match=r"not finite\n  where: row 1"):
        fit_missing_bias(logits, torch.tensor([0, 1]), [1])


@pytest.mark.parametrize("missing", [[], [0, 1], [2], [0, 0]])
def test_missing_classes_are_some_of_the_classes(missing):
    with pytest.raises(InputError, match=r"transfer set lacks some|does not exist|more than once"):
        fit_missing_bias(torch.zeros(2, 2), torch.tensor([0, 1]), missing)
