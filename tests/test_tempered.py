"""One temperature for some rows, from losses on a grid that many sets of rows share."""

import math

import pytest
import torch
from torch.nn import functional as F

from specialists.baselines.tempered import TemperedLosses, fit_shared_temperature
from specialists.calibration import fit_temperature, tempered_losses
from specialists.probability import MAX_NLL


def predictions(n: int, scale: float, seed: int = 0) -> torch.Tensor:
    return F.log_softmax(
        scale * torch.randn(n, 50, generator=torch.Generator().manual_seed(seed)), 1
    )


def drawn(log_probs: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.multinomial(log_probs.exp(), 1, generator=generator).squeeze(1)


@pytest.mark.parametrize("truth", [0.3, 0.9, 1.0, 1.4, 4.0, 12.0])
@pytest.mark.parametrize("scale", [1.0, 5.0, 30.0])
def test_the_temperature_is_the_one_of_calibration(scale, truth):
    log_probs = predictions(2000, scale)
    labels = drawn(F.log_softmax(log_probs / truth, 1))
    rows = torch.rand(2000, generator=torch.Generator().manual_seed(1)) < 0.4
    temperature, (losses,) = fit_shared_temperature([(TemperedLosses(log_probs, labels), rows)])
    assert temperature == pytest.approx(fit_temperature(log_probs[rows], labels[rows]), rel=3e-3)
    exact = tempered_losses(log_probs[rows], labels[rows], temperature).double()
    assert float(losses.mean()) == pytest.approx(float(exact.mean()), abs=1e-5)


def test_two_parts_share_their_temperature_by_their_rows():
    one, other = predictions(300, 3.0), predictions(300, 4.0, seed=1)
    labels = drawn(F.log_softmax(one / 2, 1))
    first = torch.arange(300) < 200
    parts = [(TemperedLosses(one, labels), first), (TemperedLosses(other, labels), ~first)]
    temperature, losses = fit_shared_temperature(parts)
    together = torch.cat([one[first], other[~first]])
    assert temperature == pytest.approx(fit_temperature(together, labels), rel=3e-3)
    assert [len(of_part) for of_part in losses] == [200, 100]


@pytest.mark.parametrize("n", [1, 3])
def test_few_rows_keep_near_their_prior(n):
    sure = F.log_softmax(20 * torch.eye(n, 50), 1)
    everyone = torch.ones(n, dtype=torch.bool)
    for labels in (torch.arange(n), torch.arange(n) + 10):
        ((found, (losses,)), exact) = (
            fit_shared_temperature([(TemperedLosses(sure, labels), everyone)]),
            fit_temperature(sure, labels),
        )
        assert found == pytest.approx(exact, rel=3e-3)
        assert losses.isfinite().all()


def test_a_class_without_probability_costs_what_a_score_takes_it_for():
    log_probs = torch.tensor([[0.0, -math.inf], [-0.1, -2.3]])
    parts = [(TemperedLosses(log_probs, torch.tensor([1, 0])), torch.tensor([True, True]))]
    temperature, (losses,) = fit_shared_temperature(parts)
    assert math.isfinite(temperature)
    assert float(losses[0]) == pytest.approx(MAX_NLL)


def test_losses_at_a_point_are_computed_once_for_all_sets_of_rows(monkeypatch):
    from specialists.baselines import tempered

    calls = []
    monkeypatch.setattr(
        tempered, "tempered_losses", lambda *args: calls.append(args[2]) or tempered_losses(*args)
    )
    losses = TemperedLosses(predictions(100, 2.0), torch.arange(100) % 50)
    for n in (10, 40, 100):
        fit_shared_temperature([(losses, torch.arange(100) < n)])
    assert len(calls) == len(set(calls))
