"""The distillation loss against a float64 oracle, at any number of classes and temperature."""

import pytest
import reference
import torch
from torch.nn import functional as F

from specialists.errors import InputError
from specialists.losses import UNLABELLED, DistillationLoss, SpecialistLoss, kl_to


def problem(n: int = 16, n_classes: int = 10, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(n, n_classes, generator=generator) * 2
    teacher = torch.randn(n, n_classes, generator=generator) * 3
    return student, teacher, torch.randint(n_classes, (n,), generator=generator)


@pytest.mark.parametrize("n_classes", [2, 10, 10_000])
@pytest.mark.parametrize(("temperature", "alpha"), [(1.0, 1.0), (2.0, 0.7), (5.0, 0.3), (0.5, 0.0)])
def test_the_loss_is_that_of_the_oracle_whatever_the_number_of_classes(
    n_classes, temperature, alpha
):
    student, teacher, labels = problem(n_classes=n_classes)
    loss = DistillationLoss(temperature, alpha)(student, teacher, labels)
    expected = reference.distillation_loss(student, teacher, labels, temperature, alpha)
    assert float(loss) == pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize("n_classes", [10, 10_000])
def test_gradients_of_the_soft_term_do_not_shrink_with_the_number_of_classes(n_classes):
    student, teacher, _ = problem(n_classes=n_classes)
    student.requires_grad_()
    DistillationLoss(3.0, 1.0)(student, teacher).backward()
    expected = 3.0 * (F.softmax(student / 3, -1) - F.softmax(teacher / 3, -1)) / len(student)
    torch.testing.assert_close(student.grad, expected.detach(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_soft_term_is_zero_where_student_and_teacher_agree(temperature):
    _, teacher, _ = problem(n_classes=1000)
    loss = DistillationLoss(temperature, 1.0)(teacher + 7.0, teacher)
    assert abs(float(loss)) < 1e-5


def test_at_high_temperature_the_loss_tends_to_half_the_squared_logit_difference_per_class():
    student, teacher, _ = problem()
    loss = DistillationLoss(1000.0, 1.0)(student.double(), teacher.double())
    difference = (student - teacher).double()
    centred = difference - difference.mean(1, keepdim=True)
    assert float(loss) == pytest.approx(float((centred**2).mean()) / 2, rel=1e-2)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_classes_that_the_teacher_excludes_give_finite_loss_and_gradients(temperature):
    student, teacher, labels = problem()
    teacher[:, ::2] = -torch.inf
    student.requires_grad_()
    loss = DistillationLoss(temperature, 0.7)(student, teacher, labels)
    loss.backward()
    expected = reference.distillation_loss(student.detach(), teacher, labels, temperature, 0.7)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    assert student.grad is not None
    assert bool(student.grad.isfinite().all())


def test_logits_and_log_probabilities_of_a_teacher_are_the_same_to_the_loss():
    student, teacher, labels = problem()
    loss = DistillationLoss(2.0, 0.5)
    torch.testing.assert_close(
        loss(student, teacher, labels), loss(student, F.log_softmax(teacher, -1), labels)
    )


def test_a_half_precision_teacher_is_enough():
    student, teacher, labels = problem()
    loss = DistillationLoss(2.0, 0.5)
    half = F.log_softmax(teacher, -1).half()
    assert float(loss(student, half, labels)) == pytest.approx(
        float(loss(student, teacher, labels)), rel=2e-3
    )


def test_unlabelled_rows_learn_from_soft_targets_alone():
    student, teacher, labels = problem()
    labels[:10] = UNLABELLED
    loss = DistillationLoss(2.0, 0.6)(student, teacher, labels)
    expected = reference.distillation_loss(student, teacher, labels, 2.0, 0.6)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_a_batch_without_any_label_gives_a_finite_loss():
    student, teacher, labels = problem()
    loss = DistillationLoss(2.0, 0.6)(student, teacher, torch.full_like(labels, UNLABELLED))
    expected = 0.6 * DistillationLoss(2.0, 1.0)(student, teacher)
    torch.testing.assert_close(loss, expected)


def test_label_smoothing_acts_on_the_labels_only():
    student, teacher, labels = problem()
    loss = DistillationLoss(2.0, 0.25, label_smoothing=0.1)(student, teacher, labels)
    hard = F.cross_entropy(student, labels, label_smoothing=0.1)
    soft = DistillationLoss(2.0, 1.0)(student, teacher)
    torch.testing.assert_close(loss, 0.25 * soft + 0.75 * hard)


@pytest.mark.parametrize(("temperature", "alpha"), [(0.0, 0.5), (-1.0, 0.5), (1.0, 1.1)])
def test_impossible_settings_are_refused(temperature, alpha):
    with pytest.raises(InputError, match="temperature"):
        DistillationLoss(temperature, alpha)


def test_labels_are_asked_for_where_they_count():
    student, teacher, _ = problem()
    with pytest.raises(InputError, match="labels"):
        DistillationLoss(1.0, 0.5)(student, teacher)


def test_kl_is_zero_only_at_the_target_and_positive_elsewhere():
    student, teacher, _ = problem()
    target = F.softmax(teacher, -1)
    assert float(kl_to(student, target)) > 0.1
    assert abs(float(kl_to(teacher, target))) < 1e-6


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_specialist_mixes_cross_entropy_and_a_tempered_kl(share):
    student, teacher, labels = problem(n_classes=5)
    target = F.softmax(teacher / 2.0, -1)
    loss = SpecialistLoss(2.0, share)(student, target, labels)
    expected = reference.distillation_loss(student, teacher, labels, 2.0, share)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_a_specialist_without_soft_targets_needs_none():
    student, _, labels = problem(n_classes=5)
    loss = SpecialistLoss(2.0, 0.0)(student, torch.zeros(len(labels), 0), labels)
    torch.testing.assert_close(loss, F.cross_entropy(student, labels))
