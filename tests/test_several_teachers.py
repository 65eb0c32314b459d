"""Several teachers as one: means, teachers of some classes, classes in another order."""

import pytest
import torch
from torch import nn

from specialists.combination import arithmetic_mean, geometric_mean
from specialists.config import Recipe
from specialists.datasets.base import Split
from specialists.distillation import distil
from specialists.distillation.several_teachers import JoinedTeachers, NamedTeacher
from specialists.errors import InputError
from specialists.predictions import DensePredictions
from specialists.runtime import Hardware

NAMES = ["a", "b", "c", "d", "e"]
INPUTS = torch.zeros(6, 2)
MEANS = {"arithmetic": arithmetic_mean, "geometric": geometric_mean}


def say(n_classes: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, n_classes, generator=generator).log_softmax(1)


def closest(objective) -> torch.Tensor:
    """The distributions [6, 5] with the least objective, by plain descent in float64."""
    z = torch.zeros(6, 5, dtype=torch.float64, requires_grad=True)
    steps = torch.optim.LBFGS(
        [z], max_iter=300, tolerance_grad=1e-10, line_search_fn="strong_wolfe"
    )

    def value():
        steps.zero_grad()
        loss = objective(z.softmax(1))
        loss.backward()
        return loss

    steps.step(value)
    return z.detach().softmax(1)


def kl(p, q):
    return (p * (p.log() - q.log())).sum()


def cells(q, classes):
    """Probabilities of some classes, and of all others."""
    return torch.cat([q[:, classes], 1 - q[:, classes].sum(1, keepdim=True)], 1)


@pytest.mark.parametrize("mean", MEANS)
def test_teachers_of_all_classes_are_averaged_by_their_weights(mean):
    first, second = say(5, 1), say(5, 2)
    teachers = NamedTeacher(first, weight=2.0), NamedTeacher(DensePredictions(second))
    found = JoinedTeachers(teachers, NAMES, mean).predictions(INPUTS).dense()
    torch.testing.assert_close(found, MEANS[mean]([first, second], [2.0, 1.0]))


def test_classes_in_another_order_are_matched_by_name():
    teacher, order = say(5, 1), [4, 2, 0, 1, 3]
    names = [NAMES[j] for j in order]
    joined = JoinedTeachers([NamedTeacher(teacher[:, order], names)], NAMES)
    torch.testing.assert_close(joined.predictions(INPUTS).dense(), teacher)
    assert joined.notes == ()


@pytest.mark.parametrize("mean", MEANS)
def test_a_teacher_of_some_classes_joins_by_the_divergence_of_its_cells(mean):
    """Two of all classes, of the weights 2 and 1, and one of d and b, of the weight 3."""
    full, part = (say(5, 1), say(5, 2)), say(4, 3)
    teachers = [
        NamedTeacher(full[0], weight=2.0),
        NamedTeacher(part, ["d", "x", "b", "y"], weight=3.0, name="part"),
        NamedTeacher(full[1]),
    ]
    joined = JoinedTeachers(teachers, NAMES, mean)
    p, f, g = (one.double().exp() for one in (part, *full))
    p = torch.stack([p[:, 2], p[:, 0], p[:, 1] + p[:, 3]], 1)

    def objective(q):
        parts = (2.0, f, q), (1.0, g, q), (3.0, p, cells(q, [1, 3]))
        return sum(w * (kl(a, b) if mean == "arithmetic" else kl(b, a)) for w, a, b in parts)

    found = joined.predictions(INPUTS).dense().exp().double()
    torch.testing.assert_close(found, closest(objective), rtol=1e-4, atol=1e-5)
    assert joined.notes == ("part lacks 3 of 5 classes: a, c, e", "part: its dustbin is x, y")


@pytest.mark.parametrize("mean", MEANS)
def test_a_teacher_without_a_dustbin_shares_its_classes_and_no_more(mean):
    full, part = say(5, 1), say(2, 3)
    teachers = NamedTeacher(full), NamedTeacher(part, ["e", "b"])
    found = JoinedTeachers(teachers, NAMES, mean).predictions(INPUTS).dense().exp()
    shares = found[:, [4, 1]] / found[:, [4, 1]].sum(1, keepdim=True)
    within = full[:, [4, 1]].log_softmax(1)
    torch.testing.assert_close(shares, MEANS[mean]([within, part]).exp(), rtol=1e-4, atol=1e-5)
    others = found[:, [0, 2, 3]] / found[:, [0, 2, 3]].sum(1, keepdim=True)
    torch.testing.assert_close(others, full[:, [0, 2, 3]].softmax(1), rtol=1e-4, atol=1e-5)
    if mean == "arithmetic":
        torch.testing.assert_close(found[:, [0, 2, 3]], full[:, [0, 2, 3]].exp())


def test_classes_that_the_student_lacks_are_left_out_of_a_teacher_of_all():
    wide = say(6, 1)
    joined = JoinedTeachers([NamedTeacher(wide, [*NAMES, "f"], name="wide")], NAMES)
    torch.testing.assert_close(joined.predictions(INPUTS).dense(), wide[:, :5].log_softmax(1))
    assert joined.notes == ("wide: left out, as the student lacks them: f",)


def test_teachers_that_can_be_asked_teach_about_every_batch():
    torch.manual_seed(0)
    inputs = torch.randn(120, 4)
    network, some = nn.Linear(4, 3), nn.Linear(4, 2)
    teachers = NamedTeacher(network), NamedTeacher(some, ["c", "a"])
    joined = JoinedTeachers(teachers, ["a", "b", "c"])
    taught = joined(inputs).dense()
    torch.testing.assert_close(taught, joined.predictions(inputs).dense())
    rows, recipe = (
        Split(inputs, taught.argmax(1)),
        Recipe(epochs=15, batch_size=20, learning_rate=0.1),
    )
    settings = {"hardware": Hardware("cpu", "float32"), "alpha": 1.0}
    student = distil(nn.Sequential(nn.Linear(4, 3)), joined, rows, rows, recipe, **settings)
    agree = student.predictions(inputs).predicted() == taught.argmax(1)
    assert float(agree.double().mean()) > 0.8


def test_stored_predictions_are_of_their_own_inputs_alone():
    joined = JoinedTeachers([NamedTeacher(say(5, 1), name="a file")], NAMES)
    with pytest.raises(InputError, match="cannot be asked about a batch"):
        joined(INPUTS)
    with pytest.raises(InputError, match="6 predictions for 5 inputs"):
        joined.predictions(INPUTS[:5])


@pytest.mark.parametrize(
    ("teachers", "mean", "message"),
    [
        ([], "arithmetic", "no teacher knows all classes"),
        (
            [NamedTeacher(say(2, 1), ["a", "b"])],
            "arithmetic",
            "lacks 3 of 5 classes: c, d, e",
        ),
        ([NamedTeacher(say(2, 1), ["x", "y"])], "arithmetic", "none of the student's classes"),
        ([NamedTeacher(say(2, 1), ["a", "a"])], "arithmetic", "two classes of one name"),
        ([NamedTeacher(say(5, 1), weight=0.0)], "arithmetic", "weight of a teacher"),
        ([NamedTeacher(say(5, 1))], "harmonic", "no such mean"),
    ],
)
def test_teachers_that_cannot_be_joined_are_refused(teachers, mean, message):
    with pytest.raises(InputError, match=message):
        JoinedTeachers(teachers, NAMES, mean)


def test_a_teacher_in_half_precision_is_taken_and_one_of_logits_is_named():
    half = JoinedTeachers([NamedTeacher(say(5, 1).bfloat16()), NamedTeacher(say(5, 2))], NAMES)
    whole = JoinedTeachers([NamedTeacher(say(5, 1)), NamedTeacher(say(5, 2))], NAMES)
    found, expected = (joined.predictions(INPUTS).dense().exp() for joined in (half, whole))
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0)
    for logits in (torch.zeros(6, 5), lambda inputs: DensePredictions(torch.zeros(len(inputs), 5))):
        joined = JoinedTeachers([NamedTeacher(say(5, 1)), NamedTeacher(logits, name="T2")], NAMES)
        with pytest.raises(InputError, match=r"no log-probabilities\n  where: T2, row 0"):
            joined.predictions(INPUTS)


def test_predictions_of_other_classes_than_named_are_refused():
    joined = JoinedTeachers([NamedTeacher(say(4, 1))], NAMES)
    with pytest.raises(InputError, match="a column for each of its classes"):
        joined.predictions(INPUTS)
