"""The distillation loss against a float64 oracle, at any number of classes and temperature."""

import pytest
import reference
import torch
from torch.nn import functional as F

from specialists.errors import InputError
from specialists.losses import UNLABELLED, CrossEntropy, DistillationLoss, SpecialistLoss, kl_to


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


@pytest.mark.parametrize("loss", [DistillationLoss, SpecialistLoss])
@pytest.mark.parametrize(
    "settings",
    [
        (0.0, 0.5),
        (-1.0, 0.5),
        (float("nan"), 0.5),
        (float("inf"), 0.5),
        ("2", None),
        ("2", 0.5),
        (1.0, 1.1),
        (1.0, float("nan")),
        (1.0, 0.5, 1.0),
    ],
)
def test_impossible_settings_are_refused(loss, settings):
    with pytest.raises(InputError, match="temperature > 0"):
        loss(*settings)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1, 7, 70])
def test_half_precision_gives_a_finite_loss_near_that_of_its_float32_values(dtype, scale):
    student, teacher, labels = problem()
    student, teacher = student.to(dtype), (teacher * scale).to(dtype)
    loss = DistillationLoss(1.0, 0.5)(student, teacher, labels)
    expected = reference.distillation_loss(student.float(), teacher.float(), labels, 1.0, 0.5)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_autocast_and_flushed_denormals_leave_the_loss_finite():
    student, teacher, labels = problem()
    expected = reference.distillation_loss(student, teacher * 70, labels, 1.0, 0.5)
    try:
        torch.set_flush_denormal(True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = DistillationLoss(1.0, 0.5)(student, teacher * 70, labels)
    finally:
        torch.set_flush_denormal(False)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_a_double_precision_teacher_is_not_rounded():
    student, teacher, labels = problem()
    assert DistillationLoss(2.0, 0.5)(student, teacher.double(), labels).dtype == torch.float64


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_soft_labels_cost_their_mean_cross_entropy_and_one_hot_ones_that_of_their_labels(smoothing):
    student, teacher, labels = problem()
    loss = DistillationLoss(2.0, 0.4, smoothing)
    one_hot = F.one_hot(labels, student.shape[1]).float()
    torch.testing.assert_close(
        loss(student, teacher, one_hot), loss(student, teacher, labels), rtol=1e-6, atol=0
    )
    soft = F.softmax(teacher / 2, -1)
    log_probs = F.log_softmax(student, -1)
    hard = -((1 - smoothing) * soft * log_probs).sum(1) - smoothing * log_probs.mean(1)
    expected = 0.4 * DistillationLoss(2.0, 1.0)(student, teacher) + 0.6 * hard.mean()
    torch.testing.assert_close(loss(student, teacher, soft), expected)


STUDENT, TEACHER, LABELS = problem(8, 5)


@pytest.mark.parametrize(
    ("student", "teacher", "labels", "message"),
    [
        (STUDENT, TEACHER[:, :1], LABELS, "teacher's logits"),
        (STUDENT, TEACHER[:1], LABELS, "teacher's logits"),
        (STUDENT, TEACHER[0], LABELS, "teacher's logits"),
        (STUDENT, TEACHER.T, LABELS, "teacher's logits"),
        (STUDENT, LABELS, LABELS, "teacher's logits"),
        (STUDENT, TEACHER * torch.nan, LABELS, "no distribution"),
        (STUDENT, TEACHER - torch.inf, LABELS, "no distribution"),
        (STUDENT[0], TEACHER[0], LABELS, "no matrix"),
        (STUDENT[:0], TEACHER[:0], LABELS[:0], "no matrix"),
        (LABELS, TEACHER, LABELS, "no matrix"),
        (STUDENT, TEACHER, LABELS[:, None], "one label for each row"),
        (STUDENT, TEACHER, LABELS[:1], "one label for each row"),
        (STUDENT, TEACHER, LABELS + 1, "none of the classes"),
        (STUDENT, TEACHER, LABELS - 2, "none of the classes"),
        (STUDENT, TEACHER, LABELS > 1, "no integers"),
        (STUDENT, TEACHER, LABELS.float(), "soft labels"),
        (STUDENT, TEACHER, F.softmax(TEACHER, -1)[:1], "soft labels"),
        (STUDENT, TEACHER, TEACHER, "no distribution"),
        (STUDENT, TEACHER, F.one_hot(LABELS, 5), "one label for each row"),
    ],
)
def test_what_does_not_fit_together_is_refused_instead_of_broadcast(
    student, teacher, labels, message
):
    with pytest.raises(InputError, match=message):
        DistillationLoss(2.0, 0.5)(student, teacher, labels)


@pytest.mark.parametrize(
    ("target", "labels", "message"),
    [
        (F.softmax(TEACHER, -1)[:, :1], LABELS, "the target"),
        (F.softmax(TEACHER, -1)[:1], LABELS, "the target"),
        (F.log_softmax(TEACHER, -1), LABELS, "no distribution"),
        (F.softmax(TEACHER, -1) * 100, LABELS, "no distribution"),
        (F.softmax(TEACHER, -1), LABELS * 0 - 1, "none of the classes"),
    ],
)
def test_a_specialist_takes_probabilities_and_labels_of_its_classes_alone(target, labels, message):
    with pytest.raises(InputError, match=message):
        SpecialistLoss(2.0, 0.5)(STUDENT, target, labels)


def test_a_specialist_in_half_precision_loses_what_it_loses_in_float32():
    target = F.softmax(TEACHER * 70, -1).half()
    loss = SpecialistLoss(1.0, 0.5)(STUDENT.half(), target, LABELS)
    expected = SpecialistLoss(1.0, 0.5)(STUDENT.half().float(), target.float(), LABELS)
    torch.testing.assert_close(loss, expected)
    assert bool(loss.isfinite())


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


@pytest.mark.parametrize("label", [UNLABELLED, 3])
def test_a_label_that_is_none_of_the_classes_is_told_of_hard_labels(label):
    with pytest.raises(InputError, match="none of the classes\n  where: row 1"):
        CrossEntropy()(torch.zeros(2, 3), torch.tensor([0, label]))
