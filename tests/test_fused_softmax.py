"""A loss that brings its gradient along is the plain one, whatever the blocks and temperatures."""

import pytest
import torch
from torch.nn import functional as F

from specialists import fused_softmax
from specialists.errors import InputError
from specialists.fused_softmax import DenseTarget, LabelTarget, WeightedTarget, fused_loss
from specialists.losses import DistillationLoss

N, C = 11, 7


def normal(*shape, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


LABELS, WEIGHTS = torch.arange(N)[:, None] % C, normal(N, seed=3).square()


def plain(z, teacher, temperature, smoothing):
    p = (teacher / temperature).softmax(1)
    soft = (p * (p.log() - (z / temperature).log_softmax(1))).sum(1)
    hard = F.cross_entropy(z, LABELS[:, 0], label_smoothing=smoothing, reduction="none")
    return (WEIGHTS * soft).sum() + 0.3 * hard.sum()


@pytest.mark.parametrize("numbers", [1, 3 * C, 1 << 20])  # a row, three rows, all rows at a time
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 0.5])
def test_value_and_gradient_are_those_of_the_plain_formula(
    monkeypatch, temperature, smoothing, numbers
):
    monkeypatch.setattr(fused_softmax, "NUMBERS_IN_CACHE", numbers)
    teacher = normal(N, C, seed=1, scale=4.0)
    parts = [
        WeightedTarget(DenseTarget(teacher, temperature), WEIGHTS, temperature),
        WeightedTarget(LabelTarget(LABELS, smoothing), torch.full((N,), 0.3).double()),
    ]
    z = normal(N, C, seed=2).requires_grad_()
    values = fused_loss(z, parts), plain(z, teacher, temperature, smoothing)
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*(torch.autograd.grad(3 * value, z)[0] for value in values))
    assert torch.autograd.gradcheck(lambda z: fused_loss(z, parts), z)


def test_a_gradient_of_one_is_handed_on_and_stays_as_it_is():
    z = normal(N, C).requires_grad_()
    loss = fused_loss(z, [WeightedTarget(LabelTarget(LABELS), WEIGHTS)])
    once = torch.autograd.grad(loss, z, retain_graph=True)[0].clone()
    for _ in range(2):  # is added to what is there
        loss.backward(retain_graph=True)
    torch.testing.assert_close(z.grad, 2 * once)
    torch.testing.assert_close(torch.autograd.grad(loss, z)[0], once)


def test_no_gradient_reaches_the_teacher():
    z, teacher = normal(N, C).requires_grad_(), normal(N, C, seed=1).requires_grad_()
    DistillationLoss(2.0, 1.0)(z, teacher).backward()
    assert z.grad is not None
    assert teacher.grad is None


@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_large_logits_and_classes_without_probability_stay_finite(scale):
    z = torch.tensor([[1.0, -1.0, 0.5], [0.0, 1.0, 0.0]]).mul(scale).requires_grad_()
    teacher = torch.tensor([[-torch.inf, 0.0, -scale], [0.0, -torch.inf, -torch.inf]])
    loss = DistillationLoss(1.0, 0.5)(z, teacher, torch.tensor([0, 1]))
    loss.backward()
    assert bool(loss.isfinite())
    assert z.grad is not None
    torch.testing.assert_close(z.grad[0], torch.tensor([0.25, -0.25, 0.0]))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_constant_added_to_all_logits_of_a_row_changes_nothing(temperature):
    z, teacher = (normal(N, C, seed=seed).mul(64).round().div(64).float() for seed in (2, 1))
    loss = DistillationLoss(temperature, 0.5)
    moved = loss(z + 4096, teacher - 4096, LABELS[:, 0])  # 64ths up to 4,096 are exact
    torch.testing.assert_close(moved, loss(z, teacher, LABELS[:, 0]), rtol=0, atol=0)


def test_a_million_classes_lose_no_more_than_rounding():
    z, teacher = (normal(1, 1_000_000, seed=seed).float().requires_grad_() for seed in (2, 1))
    labels = torch.tensor([3])
    single = DistillationLoss(2.0, 0.5)(z, teacher, labels)
    double = DistillationLoss(2.0, 0.5)(z.double(), teacher.double(), labels)
    torch.testing.assert_close(single.double(), double, rtol=2e-6, atol=0)
    gradients = (torch.autograd.grad(loss, z)[0] for loss in (single, double))
    torch.testing.assert_close(*gradients, rtol=2e-5, atol=1e-11)


@pytest.mark.parametrize("temperature", [1.0, 1e4, 1e6])
def test_no_temperature_gives_a_class_without_probability_any(temperature):
    z, teacher = normal(N, C).requires_grad_(), normal(N, C, seed=1)
    teacher[:, 0] = -torch.inf
    p = (teacher / temperature).softmax(1)
    log_q = (z / temperature).log_softmax(1)
    expected = (p[:, 1:] * (p[:, 1:].log() - log_q[:, 1:])).sum(1).mean()
    found = DistillationLoss(temperature, 1.0)(z, teacher) / temperature**2
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(*(torch.autograd.grad(v, z)[0] for v in (found, expected)))


def test_a_row_of_the_teacher_that_is_none_is_named(monkeypatch):
    monkeypatch.setattr(fused_softmax, "NUMBERS_IN_CACHE", 4 * C)
    teacher = normal(N, C)
    teacher[9, 2] = torch.nan
    with pytest.raises(InputError, match="no distribution") as caught:
        DistillationLoss(1.0, 1.0)(normal(N, C), teacher)
    assert "9" in str(caught.value)
    student = normal(N, C)
    student[3] = torch.nan  # which is no mistake of the teacher's
    assert bool(DistillationLoss(1.0, 1.0)(student, normal(N, C)).isnan())
