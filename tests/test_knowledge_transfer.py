"""What got across from a teacher to its students."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from specialists.datasets.base import Ragged
from specialists.errors import InputError
from specialists.evaluation import ModelTransfer, ProbedRows, Transfer, knowledge_transfer
from specialists.evaluation.adversarial import adversarial_inputs
from specialists.evaluation.repeated_errors import chance_of_repeating
from specialists.networks import NetworkSpec, build
from specialists.predictions import DensePredictions
from specialists.predictor import Predictor

N, C, D = 60, 4, 3


def log_probs(seed: int, n: int = N) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, C, generator=generator).log_softmax(1)


def labels(seed: int = 9, n: int = N) -> torch.Tensor:
    return torch.randint(C, (n,), generator=torch.Generator().manual_seed(seed))


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(D, 8), nn.ReLU(), nn.Linear(8, C)).eval()


def inputs(n: int = N, seed: int = 1) -> torch.Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed))


def measured(
    teacher, student, truth, x=None, **settings
) -> tuple[ModelTransfer, ModelTransfer, Transfer]:
    """The rows of teacher and student, and all."""
    found = knowledge_transfer(teacher, {"student": student}, truth, x, **settings)
    return *found.models, found  # pyright: ignore[reportReturnType]


def test_agreement_and_repeated_errors_are_what_a_loop_over_rows_counts():
    t, s, y = log_probs(0), log_probs(1), labels()
    _, student, found = measured(t, s, y)
    theirs, ours = t.argmax(1).tolist(), s.argmax(1).tolist()
    errors = [i for i in range(N) if theirs[i] != y[i]]
    chances = []
    for i in errors:
        others = [j for j in range(N) if j != i and y[j] == y[i]]
        chances.append(sum(ours[j] == theirs[i] for j in others) / len(others))
    assert found.n_errors == len(errors) > 10
    assert student.agreement == pytest.approx(
        np.mean([a == b for a, b in zip(theirs, ours, strict=True)])
    )
    assert student.repeated == pytest.approx(np.mean([ours[i] == theirs[i] for i in errors]))
    assert student.repeated_by_chance == pytest.approx(np.mean(chances))
    expected = F.kl_div(s.double(), t.double(), log_target=True, reduction="batchmean")
    assert student.kl == pytest.approx(expected.item())


def test_scores_are_those_of_the_evaluation():
    p, y = log_probs(1), labels()
    teacher, _, _ = measured(p, p, y)
    assert teacher.top1 == pytest.approx((p.argmax(1) == y).double().mean().item())
    assert teacher.nll == pytest.approx(F.nll_loss(p, y).item())
    assert (teacher.agreement, teacher.kl, teacher.repeated) == (None, None, None)


def test_a_copy_repeats_every_error_and_a_row_alone_with_its_label_has_no_chance():
    y = torch.tensor([0, 0, 0, 1])
    answers = torch.tensor([1, 1, 0, 2])
    said = (F.one_hot(answers, C).double() * 5).log_softmax(1)
    _, copy, _ = measured(said, said, y)
    assert (copy.repeated, copy.kl, copy.agreement) == (1.0, 0.0, 1.0)
    assert copy.repeated_by_chance == 0.5


def test_a_teacher_without_errors_has_none_to_repeat():
    y = labels()
    right = (F.one_hot(y, C).double() * 5).log_softmax(1)
    _, student, found = measured(right, log_probs(1), y)
    assert (found.n_errors, student.repeated, student.repeated_by_chance) == (0, None, None)


def test_impossible_classes_cost_a_finite_divergence():
    p = torch.tensor([[0.0, -math.inf]])
    _, student, _ = measured(p, p.flip(1), torch.tensor([0]))
    assert student.kl == pytest.approx(87.3, abs=0.1)


def test_gains_and_losses_of_classes_are_counted_in_rows():
    y = torch.tensor([0, 0, 0, 1, 1, 3])
    t = (F.one_hot(torch.tensor([0, 0, 1, 1, 0, 0]), C) * 5.0).log_softmax(1)
    s = (F.one_hot(torch.tensor([0, 1, 1, 1, 1, 0]), C) * 5.0).log_softmax(1)
    *_, found = measured(t, s, y, class_names=["a", "b", "c", "d"])
    assert [(c.name, c.n, c.teacher, c.gain("student")) for c in found.classes] == [
        ("a", 3, 2, -1),
        ("b", 2, 1, 1),
        ("d", 1, 0, 0),
    ]
    assert [c.name for c in found.changed_classes("student")] == ["b", "a"]
    assert [c.name for c in found.changed_classes("student", k=0)] == []
    assert found.class_frame().loc["a"].tolist() == [3, 2, 1]
    text = found.to_text()
    assert "more right answers than the teacher in 1 classes, fewer in 1" in text
    assert "gained most: b +1 of 2" in text
    assert "lost most: a -1 of 3" in text


def test_rows_with_a_wrong_label_say_whether_that_label_was_learned():
    clean, given = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 2, 2, 1])
    t = (F.one_hot(torch.tensor([0, 2, 1, 1]), C) * 5.0).log_softmax(1)
    s = (F.one_hot(torch.tensor([1, 2, 3, 1]), C) * 5.0).log_softmax(1)
    teacher, student, found = measured(t, s, clean, given_labels=given)
    assert found.n_mislabelled == 2
    assert (teacher.mislabelled_agreement, teacher.mislabelled_taken) == (None, 0.5)
    assert (student.mislabelled_agreement, student.mislabelled_taken) == (0.5, 0.5)
    assert teacher.top1 == 0.75
    assert "2 were given a wrong label" in found.to_text()


def test_every_form_of_a_model_gives_the_same():
    net, x, y = network(), inputs(), labels()
    said = net(x).log_softmax(1).detach()
    predictor = Predictor(
        ("a",) * C, {}, lambda z: DensePredictions(net(z).log_softmax(1).detach())
    )
    forms = (said, DensePredictions(said), net, lambda z: net(z).log_softmax(1).detach(), predictor)
    rows = [measured(form, log_probs(1), y, x)[0] for form in forms]
    for row in rows[1:]:
        assert (row.top1, row.ece) == pytest.approx((rows[0].top1, rows[0].ece))


def test_all_models_see_the_same_views_and_an_augmentation_that_does_nothing_changes_nothing():
    net, x, y, seen = network(), inputs(), labels(), []

    def ask(z):
        seen.append(z)
        return net(z).log_softmax(1).detach()

    def noisy(z, generator):
        return z + torch.randn(z.shape, generator=generator)

    teacher, student, _ = measured(ask, net, y, x, augment=noisy, n_views=2)
    views = seen[1:]
    assert len(views) == 2
    assert not torch.equal(*views)
    said, answers = net(x), net(x).argmax(1)
    changed = [(net(view).argmax(1) != answers).double().mean().item() for view in views]
    kl = [
        F.kl_div(net(v).log_softmax(1), said.log_softmax(1), log_target=True, reduction="batchmean")
        for v in views
    ]
    for row in (teacher, student):
        assert row.changed == pytest.approx(sum(changed) / 2)
        assert row.kl_views == pytest.approx(sum(k.item() for k in kl) / 2, rel=1e-4)
    still, fixed, _ = measured(net, log_probs(1), y, x, augment=lambda z, _: z)
    assert (still.changed, still.kl_views, fixed.changed) == (0.0, 0.0, None)


def test_steps_on_a_linear_model_of_two_classes_are_the_worst_in_the_box():
    torch.manual_seed(0)
    linear, epsilon = nn.Linear(D, 2), 0.3
    x, y = inputs(), labels() % 2
    slope = linear.weight[1] - linear.weight[0]
    margin = (linear(x)[:, 1] - linear(x)[:, 0]) * (2 * y - 1)
    worst = margin - epsilon * slope.abs().sum()
    for n_steps in (1, 10):
        moved = adversarial_inputs(linear, x, y, epsilon, n_steps=n_steps)
        found = (linear(moved)[:, 1] - linear(moved)[:, 0]) * (2 * y - 1)
        torch.testing.assert_close(found, worst)
    row, *_ = measured(linear, linear, y, x, epsilon=epsilon)
    assert row.pgd is not None
    assert row.fgsm == row.pgd == pytest.approx((worst > 0).double().mean().item())
    assert 0 < row.pgd < row.top1


def test_steps_stay_in_the_box_and_the_seed_places_their_start():
    net, x, y = network(), inputs(), labels()
    first, again, other = (
        adversarial_inputs(net, x, y, 0.2, n_steps=3, seed=seed) for seed in (0, 0, 1)
    )
    assert (first - x).abs().max() <= 0.2 + 1e-6
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert all(parameter.grad is None for parameter in net.parameters())


def test_images_of_bytes_move_by_grey_levels_and_stay_images():
    spec = NetworkSpec("resnet", C, width=4, depth=1, input_shape=(1, 8, 8))
    net = build(spec).eval()
    x = torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8)
    moved = adversarial_inputs(net, x, labels(n=5), 4.0)
    change = (moved + 1) * 127.5 - x
    assert change.abs().max() <= 4.001
    assert change.abs().max() > 3.9
    assert moved.abs().max() <= 1


class Halved(nn.Module):
    """Takes bytes as shares of 255, and floats as they are."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, C)

    def forward(self, x):
        return self.head(x.flatten(1) if x.is_floating_point() else x.flatten(1) / 255)


@pytest.mark.parametrize(
    ("x", "net", "message"),
    [
        (Ragged(torch.tensor([1, 2]), torch.tensor([0, 1, 2])), network(), "no small step"),
        (torch.ones(2, D, dtype=torch.int64), network(), "whole numbers"),
        (torch.full((2, 1, 2, 2), 200, dtype=torch.uint8), Halved(), "images of floats"),
    ],
)
def test_inputs_without_small_steps_are_refused(x, net, message):
    with pytest.raises(InputError, match=message):
        adversarial_inputs(net, x, torch.tensor([0, 1]), 0.1)


@pytest.mark.parametrize("epsilon", [-0.1, math.nan, math.inf])
def test_a_step_of_no_size_is_refused(epsilon):
    with pytest.raises(InputError, match="no size of a step"):
        adversarial_inputs(network(), inputs(), labels(), epsilon)


def test_a_linear_probe_reads_from_the_features_what_they_hold():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(D, 8), nn.Identity(), nn.Linear(8, C)).eval()
    x, other = inputs(400), inputs(300, seed=2)
    second = (x[:, 0] > 0).long()
    rows = ProbedRows(other, (other[:, 0] > 0).long(), second)
    teacher, student, found = measured(net, log_probs(1, 400), labels(n=400), x, probe=rows)
    assert teacher.probe is not None
    assert teacher.probe > 0.95
    assert student.probe is None
    assert "fitted on the features below the head, of 300 other rows" in found.to_text()
    same = ProbedRows(other, labels(3, 300))
    guess, *_ = measured(net, net, labels(n=400), x, probe=same)
    assert guess.probe is not None
    assert guess.probe < 0.5
    few = ProbedRows(inputs(22), torch.arange(22) % 12)  # scikit-learn warns of so many classes
    assert measured(net, net, labels(), inputs(), probe=few)[0].probe is not None


def test_the_result_goes_into_json_and_its_frame_leaves_out_what_was_not_measured():
    teacher, student, found = measured(log_probs(0), log_probs(1), labels())
    assert Transfer.from_dict(found.to_dict()) == found
    frame = found.to_frame()
    assert frame.index.tolist() == ["teacher", "student"]
    assert frame.loc["student", "repeated"] == student.repeated
    assert not {"changed", "fgsm", "probe", "mislabelled_taken"} & set(frame)
    assert "FGSM" not in found.to_text()
    assert f"{100 * teacher.top1:.1f}%" in found.to_text()


@pytest.mark.parametrize(
    ("teacher", "settings", "message"),
    [
        (network(), {}, "so it needs inputs"),
        (log_probs(0), {"augment": lambda x, _: x}, "views are made of inputs"),
        (log_probs(0, N - 1), {}, "not one label for each row"),
        (torch.zeros(N, C + 1).log_softmax(1), {}, "different classes"),
        (log_probs(0), {"given_labels": torch.zeros(3, dtype=torch.int64)}, "not one label"),
        (log_probs(0), {"class_names": ["a"]}, "not a name for each class"),
    ],
)
def test_what_does_not_fit_is_refused(teacher, settings, message):
    with pytest.raises(InputError, match=message):
        measured(teacher, log_probs(1), labels(), **settings)


def test_an_answer_that_no_other_row_of_the_label_gets_has_no_chance():
    ours, theirs = np.array([1, 2, 2, 0]), np.array([3, 3, 2, 0])
    chance = chance_of_repeating(ours, theirs, np.array([0, 0, 0, 1]))
    np.testing.assert_array_equal(chance, [0, 0, 0.5, np.nan])
