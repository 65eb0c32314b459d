"""A student whose layers are looked at: paths, shapes, what is trained, who teaches."""

from typing import Any

import pytest
import torch
from torch import nn

from specialists.config import Recipe
from specialists.datasets.base import Split
from specialists.distillation import Objective, distil, read_draws, write_draws
from specialists.distillation.by_terms import ObjectiveLoss, objective_loss
from specialists.distillation.terms import (
    Angles,
    Attention,
    BatchView,
    BinaryTargets,
    DecoupledTargets,
    Distances,
    Hint,
    Labels,
    LogitMatching,
    Similarity,
    SoftTargets,
    StandardisedTargets,
)
from specialists.distillation.watching import WatchedStudent, layer_outputs
from specialists.errors import InputError
from specialists.losses import UNLABELLED
from specialists.predictions import DensePredictions
from specialists.runtime import Hardware

HARDWARE = Hardware("cpu", "float32")
RECIPE = Recipe(epochs=5, batch_size=16, learning_rate=0.05)


def network(width: int, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = nn.Linear(6, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, 4)
    names = ("hidden", "relu", "dropout", "head")
    result = nn.Sequential()
    for name, layer in zip(names, layers, strict=True):
        result.add_module(name, layer)
    return result


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    """That has learned the labels."""
    return trained([Labels()], None, network(16, 1)).network


def pictures(width: int, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    body = nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()
    return nn.Sequential(nn.Sequential(*body), nn.Flatten(), nn.Linear(16 * width, 4))


def data(n: int = 256, seed: int = 0, shape: tuple[int, ...] = (6,)) -> Split:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, *shape, generator=generator)
    rows = torch.randn(4, inputs[0].numel(), generator=torch.Generator().manual_seed(9))
    return Split(inputs, (inputs.flatten(1) @ rows.T).argmax(1))


def test_layers_are_collected_by_their_paths():
    net: Any = pictures(3).eval()
    inputs = torch.randn(2, 1, 4, 4)
    with layer_outputs(net, ["0.1", "0"]) as outputs:
        net(inputs)
    assert torch.equal(outputs["0.1"], net[0][1](net[0][0](inputs)))
    assert torch.equal(outputs["0"], net[0](inputs))
    assert not net[0]._forward_hooks


def test_a_wrong_path_prints_the_paths_that_there_are():
    with pytest.raises(InputError) as caught, layer_outputs(network(3), ["hiden"], "student"):
        pass
    for text in ("the student has no such layer", "hidden, relu, dropout, head", "`hidden`?"):
        assert text in str(caught.value)


def test_a_network_without_layers_says_so():
    lacking = pytest.raises(InputError, match="no term that looks at layers")
    with lacking, layer_outputs(nn.Identity(), ["hidden"]):
        pass


class Strange(nn.Module):
    """Has a layer that it does not call, and one that puts out a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.unused = nn.Linear(6, 4), nn.Linear(6, 4)
        self.pair = nn.GRU(6, 4, batch_first=True)

    def forward(self, x):
        return self.head(x) + self.pair(x[:, None])[0][:, 0]


@pytest.mark.parametrize(("path", "message"), [("unused", "does not call"), ("pair", "no rows")])
def test_a_layer_without_rows_of_outputs_is_refused(path, message):
    net = Strange()
    with pytest.raises(InputError, match=message), layer_outputs(net, [path]):
        net(torch.randn(2, 6))


def watched(teaches: bool = True) -> WatchedStudent:
    terms = [Hint(layer="hidden"), Distances(layer="hidden", teacher_layer="relu")]
    sample = data(2).inputs
    return WatchedStudent(network(3), Objective(terms), network(5, 1), sample, teaches)


def test_a_watched_student_trains_itself_and_its_regressors_and_saves_no_teacher():
    student = watched()
    names = [name for name, _ in student.named_parameters()]
    assert [name for name in names if not name.startswith("student.")] == [
        "objective.adapters.0.weight",
        "objective.adapters.0.bias",
    ]
    assert len(names) == 4 + 2


@pytest.mark.parametrize("teaches", [True, False])
def test_a_batch_is_seen_with_the_layers_of_both_and_the_teacher_does_not_train(teaches):
    student, inputs = watched(teaches), data(8).inputs
    teacher = student._hidden[0]
    logits = student.train()(inputs)
    view = student.seen(BatchView(logits, torch.zeros(8, 4)))
    assert not teacher.training
    torch.testing.assert_close(view.features["hidden"], student.student.hidden(inputs))  # pyright: ignore
    torch.testing.assert_close(view.teacher_features["relu"], teacher[:2](inputs))  # pyright: ignore
    assert not view.teacher_features["relu"].requires_grad
    expected = teacher(inputs) if teaches else torch.zeros(8, 4)
    assert isinstance(view.teacher, torch.Tensor)
    torch.testing.assert_close(view.teacher, expected)
    student.objective(view).backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert student.student.hidden.weight.grad is not None  # pyright: ignore


def test_a_watched_student_in_evaluation_mode_is_the_student():
    student, inputs = watched().eval(), data(8).inputs
    assert torch.equal(student(inputs), student.student(inputs))
    assert student._seen is not None  # of the sample, not of these


def test_the_first_look_changes_no_statistics():
    student: Any = pictures(3)
    sample = data(2, shape=(1, 4, 4)).inputs
    WatchedStudent(student, Objective([Attention(layer="0")]), pictures(5, 1), sample)
    assert int(student[0][1].num_batches_tracked) == 0


def trained(terms, teacher, student=None, train=None, **settings):
    torch.manual_seed(0)
    train = train or data()
    validation = data(64, 1, tuple(train.inputs.shape[1:]))  # pyright: ignore
    student = student or network(6, 2)
    return distil(
        student, teacher, train, validation, RECIPE, terms=terms, hardware=HARDWARE, **settings
    )


RESPONSES = [
    [SoftTargets(temperature=2.0), Labels()],
    [LogitMatching()],
    [DecoupledTargets(temperature=2.0, beta=2.0)],
    [StandardisedTargets(), Labels(smoothing=0.1)],
    [BinaryTargets(exclusive=True)],
    [Labels(), Similarity(), Distances(), Angles()],
]


@pytest.mark.parametrize("terms", RESPONSES, ids=lambda terms: terms[0].kind)
def test_a_student_learns_from_what_is_predicted(terms, teacher):
    predictions = teacher(data().inputs).detach().log_softmax(1)
    assert trained(terms, predictions).top1 > 0.7


@pytest.mark.parametrize("kind", ["module", "callable"])
def test_a_teacher_of_terms_may_be_asked_about_every_batch(kind, teacher):
    asked = teacher if kind == "module" else lambda x: teacher(x).detach().log_softmax(1)
    student = trained([SoftTargets(temperature=2.0)], asked)
    assert student.top1 > 0.7


@pytest.mark.parametrize(
    "terms",
    [
        [Hint(layer="hidden")],
        [Distances(layer="relu"), Angles(layer="relu", n_rows=16), Similarity(layer="relu")],
        [BinaryTargets(temperature=2.0)],
    ],
    ids=lambda terms: terms[0].kind,
)
def test_a_student_learns_from_the_layers_of_a_network(terms, teacher):
    student = trained([Labels(weight=0.1), *terms], teacher)
    assert student.top1 > 0.7
    assert type(student.network) is nn.Sequential
    if terms[0].kind != "hint":  # whose regressor is gone
        before, after = (_value(terms, one, teacher) for one in (network(6, 2), student.network))
        assert after < before


@torch.no_grad()
def _value(terms, student, teacher) -> float:
    both = WatchedStudent(student, Objective(terms[:1]), teacher, data().inputs)
    return float(both.objective(both.seen(BatchView(student(data().inputs)))))


def test_a_student_learns_where_its_teacher_looks():
    train = data(128, shape=(1, 4, 4))
    teacher = trained([Labels()], None, pictures(8, 1), train).network
    terms = [Labels(), Attention(layer="0"), Hint(layer="0.0", teacher_layer="0")]
    student = trained(terms, teacher, pictures(4, 2), train)
    assert student.top1 > 0.4


def test_layers_of_a_network_go_with_predictions_of_another_teacher():
    """So an ensemble teaches by what it predicts, and its generalist by its layers."""
    terms = [SoftTargets(), Hint(layer="hidden")]
    predictions = torch.eye(4)[data().labels].add(1e-3).log().log_softmax(1)
    student = trained(terms, predictions, teacher_network=network(16, 1))
    assert student.top1 > 0.7
    loss = objective_loss(network(3), terms, predictions, network(16, 1), data().inputs)[1]
    assert loss.n_parts == 1
    assert loss.watched is not None
    assert not loss.watched._teaches


def test_a_training_by_terms_goes_on_from_its_checkpoint(tmp_path):
    teacher, terms = network(16, 1), [Labels(), Hint(layer="hidden")]
    whole = trained(terms, teacher)
    again = trained(terms, teacher, folder=tmp_path)
    assert torch.equal(whole.network(data().inputs), again.network(data().inputs))
    assert (tmp_path / "metrics.jsonl").is_file()
    assert whole.cost.flops > 1.5 * trained([Labels()], None).cost.flops  # the teacher's are in


@pytest.mark.parametrize(
    ("terms", "teacher", "message"),
    [
        ([Hint(layer="hidden")], torch.zeros(256, 4), "hint needs a teacher's network"),
        ([Distances(layer="relu")], lambda x: x, "distances needs a teacher's network"),
        ([BinaryTargets()], torch.zeros(256, 4), "binary_targets needs a teacher's logits"),
        ([SoftTargets()], None, "soft_targets needs a teacher's predictions"),
        ([Angles()], None, "angles needs a teacher's p"),
        ([Hint(layer="hiden")], network(5), "the student has no such layer"),
        ([Hint(layer="hidden", teacher_layer="hiden")], network(5), "network has no such layer"),
        (
            [Attention(layer="hidden")],
            network(5),
            r"student hidden \[n, 6\], teacher hidden \[n, 5\]",
        ),
    ],
)
def test_what_a_term_lacks_is_told_before_anything_is_trained(terms, teacher, message):
    with pytest.raises(InputError, match=message):
        trained(terms, teacher)


def test_of_stored_draws_nothing_but_soft_targets_can_be_made(tmp_path):
    predictions = torch.eye(4)[data().labels].add(1e-3).log().log_softmax(1)
    write_draws(tmp_path, [DensePredictions(predictions)], (2.0,), 8, seed=0)
    stored = read_draws(tmp_path, 2.0)
    assert trained([SoftTargets(temperature=2.0)], stored).top1 > 0.7
    with pytest.raises(InputError, match="decoupled needs a teacher's probability of every class"):
        trained([DecoupledTargets()], stored)
    with pytest.raises(InputError, match="another temperature"):
        trained([SoftTargets(temperature=1.0)], stored)


def test_rows_weigh_and_lack_labels_in_an_objective_as_in_the_usual_loss():
    z, t = torch.randn(5, 4), torch.randn(5, 4).log_softmax(1)
    labels, weights = torch.tensor([0, 1, UNLABELLED, 3, 2]), torch.arange(5.0)
    objective = Objective([SoftTargets(weight=0.6), Labels(weight=0.4)])
    found = ObjectiveLoss(objective)(z, t, labels, weights)
    torch.testing.assert_close(found, objective(BatchView(z, t, labels), weights))
    hard = ObjectiveLoss(Objective([Labels()]), is_taught=False)(z, labels)
    torch.testing.assert_close(hard, nn.functional.cross_entropy(z, labels, ignore_index=-1))
