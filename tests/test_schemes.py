"""Networks that teach one another: peers, generations, and a network's own exits."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from specialists.config import Recipe
from specialists.datasets.base import Split
from specialists.distillation import distil, schemes
from specialists.distillation.schemes import (
    Scheme,
    SchemeData,
    born_again,
    mutual,
    usual_terms,
    with_exits,
)
from specialists.distillation.taught_together import LessonLoss, Peers, WithExits
from specialists.distillation.terms import BatchView, BinaryTargets, Hint, Labels, SoftTargets
from specialists.errors import InputError
from specialists.losses import DistillationLoss
from specialists.runtime import Hardware


def rows(n: int, seed: int) -> Split:
    inputs = torch.randn(n, 5, generator=torch.Generator().manual_seed(seed))
    centres = torch.randn(5, 3, generator=torch.Generator().manual_seed(9))
    return Split(inputs, (inputs @ centres).argmax(1))


DATA = SchemeData(
    rows(160, 0),
    rows(60, 1),
    Recipe(epochs=4, batch_size=16, learning_rate=0.05),
    hardware=Hardware("cpu", "float32"),
)


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))


def gradients(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


@pytest.mark.parametrize("n", [2, 3])
def test_each_peer_learns_from_the_labels_and_the_mean_of_the_others(n):
    batch, peers = rows(10, 2), [network(i) for i in range(n)]
    together = Peers(peers).train()
    loss = LessonLoss(together, [SoftTargets(), Labels()])
    loss(together(batch.inputs), batch.labels).backward()
    found = [gradients(peer) for peer in peers]
    logits = [peer(batch.inputs).detach() for peer in peers]
    for i, peer in enumerate(peers):
        peer.zero_grad()
        z = peer(batch.inputs)
        others = [logits[j].softmax(1) for j in range(n) if j != i]
        kl = [F.kl_div(z.log_softmax(1), p, reduction="batchmean") for p in others]
        (F.cross_entropy(z, batch.labels) + torch.stack(kl).mean()).backward()
        torch.testing.assert_close(found[i], gradients(peer))


def test_a_student_of_peers_is_the_first_and_better_for_it():
    peers = [network(0), network(1)]
    students = mutual(peers, DATA)
    assert [student.network for student in students] == peers
    assert [student.top1 > 0.8 for student in students] == [True, True]
    assert type(students[0].network) is nn.Sequential
    assert students[0].cost == students[1].cost
    x = DATA.validation.inputs
    right = students[1].predictions(x).predicted() == DATA.validation.labels
    assert students[1].top1 == pytest.approx(float(right.double().mean()))
    apart = [network(0), network(1)]
    agree = [
        (a.network(x).softmax(1) - b.network(x).softmax(1)).abs().mean()
        for a, b in (students, [distil(one, None, **vars(DATA)) for one in apart])
    ]
    assert float(agree[0].detach()) < float(agree[1].detach())


@pytest.mark.parametrize("n", [1, 2])
def test_one_peer_has_nobody_to_learn_from(n):
    with pytest.raises(InputError, match="at least two, all different"):
        mutual(n * [network(0)], DATA)


def test_a_scheme_has_a_known_name_and_something_to_train():
    with pytest.raises(InputError, match="no such scheme\n  got: mutal"):
        Scheme("mutal")
    with pytest.raises(InputError, match="generations follow one another"):
        born_again(network, None, DATA, n_generations=0)
    with pytest.raises(InputError, match="without exits teaches nothing"):
        with_exits(network(0), [], DATA)


def test_each_generation_learns_from_the_one_before(monkeypatch, tmp_path):
    asked = []
    plain = schemes.distil

    def distil(student, teacher, *arguments, **settings):
        asked.append((teacher, settings["seed"], settings["terms"], settings["folder"].name))
        return plain(student, teacher, *arguments, **settings)

    monkeypatch.setattr(schemes, "distil", distil)
    data = SchemeData(**{**vars(DATA), "seed": 7, "folder": tmp_path})
    students = born_again(network, None, data, n_generations=3)
    assert [seed for _, seed, _, _ in asked] == [7, 8, 9]
    assert [folder for *_, folder in asked] == ["generation-0", "generation-1", tmp_path.name]
    assert [bool(terms) for _, _, terms, _ in asked] == [False, True, True]
    for (teacher, *_), before in zip(asked[1:], students, strict=False):
        expected = before.network(DATA.train.inputs).log_softmax(1)
        torch.testing.assert_close(teacher.dense(), expected)
    assert asked[0][0] is None
    assert students[-1].top1 > 0.8


def test_generations_are_asked_about_what_the_next_one_sees(monkeypatch):
    teachers = []
    plain = schemes.distil

    def distil(student, teacher, *arguments, **settings):
        teachers.append(teacher)
        return plain(student, teacher, *arguments, **settings)

    monkeypatch.setattr(schemes, "distil", distil)
    data = SchemeData(**{**vars(DATA), "augment": lambda inputs, generator: inputs + 0.01})
    first = network(5)
    students = born_again(network, first, data, n_generations=2, terms=[SoftTargets()])
    assert teachers == [first, students[0].network]  # not what they said of the inputs as they are


def test_terms_that_need_a_network_have_that_of_the_generation_before():
    terms = [Hint(layer="0"), BinaryTargets(), Labels()]
    students = born_again(network, network(5), DATA, n_generations=2, terms=terms)
    assert students[-1].top1 > 0.8


def test_an_exit_of_a_sequence_is_of_its_mean_over_all_places_however_many_there_are():
    net = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 6), nn.Flatten(), nn.LazyLinear(3))
    together = WithExits(net, ["1"], torch.randint(9, (6, 5))).train()
    assert together.exits[0].in_features == 6
    tokens = torch.randint(9, (6, 5))
    (_, (logits, _)) = together.teach(tokens)
    torch.testing.assert_close(logits, together.exits[0](net[1](net[0](tokens)).mean(1)))


def test_exits_learn_from_the_last_layer_which_learns_the_labels():
    batch, net = rows(10, 2), network(0)
    together = WithExits(net, ["0"], batch.inputs).train()
    loss = LessonLoss(together, usual_terms(2.0, 0.6), smoothing=0.1)
    loss(together(batch.inputs), batch.labels).backward()
    found = gradients(together)
    together.zero_grad()
    last, early = net(batch.inputs), together.exits[0](net[0](batch.inputs))
    expected = F.cross_entropy(last, batch.labels, label_smoothing=0.1)
    expected = expected + DistillationLoss(2.0, 0.6)(early, last.detach(), batch.labels)
    expected.backward()
    torch.testing.assert_close(found, gradients(together))


def test_an_exit_of_a_map_is_of_its_mean_over_all_places():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 3))
    images = torch.randn(6, 1, 4, 4)
    together = WithExits(net, ["0"], images).train()
    (_, none), (logits, teachers) = together.teach(images)
    torch.testing.assert_close(logits, together.exits[0](net[0](images).mean((2, 3))))
    assert none == []
    torch.testing.assert_close(teachers[0], net(images))
    assert not teachers[0].requires_grad


def test_label_smoothing_is_of_the_network_with_exits_too():
    recipe = DATA.recipe.model_copy(update={"label_smoothing": 0.6})
    smooth, plain = (
        with_exits(network(0), ["1"], SchemeData(**{**vars(DATA), "recipe": each}))
        for each in (recipe, DATA.recipe)
    )
    x = DATA.train.inputs
    sure = [s.network(x).detach().softmax(1).amax(1).mean() for s in (smooth, plain)]
    assert float(sure[0]) < 0.65 < float(sure[1])


def test_a_network_with_exits_is_left_without_them():
    student = with_exits(network(0), ["1"], DATA)
    assert student.top1 > 0.8
    assert [name for name, _ in student.network.named_modules()] == ["", "0", "1", "2"]
    with pytest.raises(InputError, match="the student has no such layer"):
        with_exits(network(0), ["5"], DATA)


@pytest.mark.parametrize(
    "scheme",
    [
        lambda t: mutual([network(0), network(1)], DATA, t),
        lambda t: with_exits(network(0), ["1"], DATA, t),
    ],
)
def test_terms_of_layers_are_refused_where_logits_alone_are_taught(scheme):
    with pytest.raises(InputError, match="hint needs a teacher's network"):
        scheme([Hint(layer="0")])


@pytest.mark.parametrize(("alpha", "kinds"), [(0.0, ["labels"]), (1.0, ["soft_targets"])])
def test_usual_terms_without_weight_are_left_out(alpha, kinds):
    assert [term.kind for term in usual_terms(alpha=alpha)] == kinds
    z, t, y = torch.randn(4, 3), torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    value = sum(term.weight * term(BatchView(z, t, y)).mean() for term in usual_terms(3.0, alpha))
    torch.testing.assert_close(value, DistillationLoss(3.0, alpha)(z, t, y))
