"""Stored soft targets of augmented inputs, which the student sees again."""

import pytest
import torch
from torch import nn

from specialists.config import Recipe
from specialists.datasets.augmentation import AUGMENTATIONS
from specialists.datasets.base import Ragged, Split, joined_inputs
from specialists.distillation import (
    ReplayedViews,
    distil,
    replayed_views,
    student_examples,
    teacher_predictions,
)
from specialists.distillation.replayed_views import ReplayedExamples
from specialists.distillation.teachers import TaughtExamples, online
from specialists.errors import InputError
from specialists.losses import DistillationLoss
from specialists.predictions import DensePredictions, concatenated
from specialists.training import TensorExamples

N, C = 23, 5
KINDS = ["text", "images", "features"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def inputs(kind: str):
    if kind == "text":
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.arange(3, N + 3).cumsum(0)])
        return Ragged(torch.randint(99, (int(offsets[-1]),), generator=generator()), offsets)
    if kind == "images":
        return torch.randint(256, (N, 1, 8, 8), generator=generator(), dtype=torch.uint8)
    return torch.randn(N, 4, generator=generator())


def flat(x) -> torch.Tensor:
    return torch.cat([x.values, x.offsets]) if isinstance(x, Ragged) else x.flatten()


def same(first, second) -> bool:
    return torch.equal(flat(first), flat(second))


class Summed(nn.Module):
    """Logits that every number of an input counts in."""

    def forward(self, x):
        if isinstance(x, Ragged):
            sums = torch.stack([x.row(i).float().sum() for i in range(len(x))])
        else:
            sums = x.float().flatten(1).sum(1)
        return torch.sin(sums[:, None] * torch.arange(1.0, C + 1))


def stored(teacher, x, views: ReplayedViews) -> DensePredictions:
    """Half-precision targets of all views, one view after another."""
    parts = [teacher_predictions(teacher, views.view(x, v)) for v in range(views.n_views)]
    return DensePredictions(concatenated(parts).dense().half())


@pytest.fixture(params=KINDS)
def kind(request, monkeypatch):
    monkeypatch.setattr(replayed_views, "ROWS_AT_A_TIME", 10)  # several parts a view
    return request.param


def test_a_view_is_the_same_again_and_no_other_view_or_seed_gives_it(kind):
    x, augment = inputs(kind), AUGMENTATIONS[kind]
    views = ReplayedViews(augment, 1, 3)
    first = views.view(x, 0)
    assert len(first) == N
    assert same(first, ReplayedViews(augment, 1, 9).view(x, 0))
    for other in (x, views.view(x, 1), ReplayedViews(augment, 2, 3).view(x, 0)):
        assert not same(first, other)
    assert same(views(x, generator(5)), augment(x, generator(5)))  # pyright: ignore


def test_parts_of_a_view_do_not_repeat_one_another(monkeypatch):
    monkeypatch.setattr(replayed_views, "ROWS_AT_A_TIME", 10)
    view = ReplayedViews(AUGMENTATIONS["features"], 1, 1).view(torch.ones(20, 40), 0)
    assert isinstance(view, torch.Tensor)
    assert not torch.equal(view[:10], view[10:])


def test_rows_of_parts_follow_one_another(kind):
    x = inputs(kind)
    parts = [x[torch.arange(0, 9)], x[torch.arange(9, 10)], x[torch.arange(10, N)]]
    assert same(joined_inputs(parts), x)
    assert same(joined_inputs(parts[:1]), parts[0])


def test_targets_are_those_of_the_online_teacher_on_the_very_inputs_that_the_student_sees(kind):
    x, teacher, labels = inputs(kind), Summed(), torch.arange(N) % C
    views = ReplayedViews(AUGMENTATIONS[kind], 1, 3)
    examples = student_examples(Split(x, labels), stored(teacher, x, views), views)
    assert isinstance(examples, ReplayedExamples)
    seen = set()
    for epoch in range(8):
        order = examples.order(generator(epoch))
        seen.add(int(order[0]) // len(examples))
        assert sorted((order % N).tolist()) == list(range(N))
        for index in order.split(9):
            batch = examples.batch(index, generator())
            soft, hard = batch.targets
            reference = online(teacher)(batch.inputs).dense()
            torch.testing.assert_close(soft.float(), reference, atol=2e-3, rtol=1e-3)
            assert torch.equal(hard, labels[index % N])
            z = torch.zeros(len(hard), C, requires_grad=True)
            loss = DistillationLoss(2.0, 0.7)
            gradients = [torch.autograd.grad(loss(z, t, hard), z)[0] for t in (soft, reference)]
            torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-2)
    assert seen == {0, 1, 2}
    assert len(examples._shown) == 1  # no more than one view lies in memory


def test_weights_follow_the_rows_of_a_view():
    x, weights = inputs("features"), torch.arange(1.0, N + 1)
    views = ReplayedViews(AUGMENTATIONS["features"], 1, 2)
    split = Split(x, torch.zeros(N, dtype=torch.int64), weights=weights)
    examples = student_examples(split, stored(Summed(), x, views), views)
    index = torch.tensor([N + 4, N + 2])
    *_, found = examples.batch(index, generator()).targets
    torch.testing.assert_close(found, weights[[4, 2]] / weights.mean())


def test_without_stored_targets_views_are_drawn_afresh():
    x, labels = inputs("features"), torch.zeros(N, dtype=torch.int64)
    views = ReplayedViews(AUGMENTATIONS["features"], 1, 2)
    assert type(student_examples(Split(x, labels), None, views)) is TensorExamples
    assert type(student_examples(Split(x, labels), Summed(), views)) is TaughtExamples


def test_too_few_targets_for_the_views_are_refused():
    x = inputs("features")
    views = ReplayedViews(AUGMENTATIONS["features"], 1, 2)
    one = teacher_predictions(Summed(), x)
    with pytest.raises(InputError, match="23 predictions for 23 inputs in 2 views"):
        student_examples(Split(x, torch.zeros(N, dtype=torch.int64)), one, views)


def test_a_student_learns_from_replayed_views():
    x, labels = inputs("features"), torch.arange(N) % C
    views = ReplayedViews(AUGMENTATIONS["features"], 1, 2)
    split = Split(x, labels)
    recipe = Recipe(epochs=40, batch_size=8, learning_rate=0.02)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, C))
    teacher = nn.Sequential(nn.Linear(4, C))
    targets = stored(teacher, x, views)
    student = distil(network, targets, split, split, recipe, alpha=1.0, augment=views)
    assert student.history[-1].train_loss < student.history[0].train_loss / 4  # pyright: ignore
