"""Few numbers of a teacher's predictions teach as much: cells exactly, draws on average."""

import math

import pytest
import reference
import torch
from torch.nn import functional as F

from specialists.config import Recipe, StudentConfig
from specialists.datasets.base import Split
from specialists.distillation import (
    CellDistillationLoss,
    DrawnDistillationLoss,
    bytes_of_sparse,
    cross_entropy_to_draws,
    distil,
    kl_to_cells,
    read_draws,
    read_top,
    write_draws,
    write_top,
)
from specialists.errors import InputError
from specialists.losses import DistillationLoss
from specialists.predictions import DensePredictions


def predictions(n=40, n_classes=9, scale=3.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(n, n_classes, generator=generator)).log_softmax(1)


def oracle_kl_to_cells(logits, classes, log_cells):
    """By sums over sets of classes in float64, row by row."""
    total = 0.0
    for z, kept, cells in zip(logits.double(), classes, log_cells.double(), strict=True):
        q = (z - z.max()).exp()
        q = q / q.sum()
        others = [j for j in range(len(q)) if j not in kept.tolist()]
        parts = [*(float(q[j]) for j in kept), float(q[others].sum()) if others else 0.0]
        for p, part in zip(cells.exp().tolist(), parts, strict=True):
            total += p * (math.log(p) - math.log(part)) if p > 0 else 0.0
    return total / len(logits)


@pytest.mark.parametrize("scale", [0.1, 3.0, 40.0])
@pytest.mark.parametrize("k", [1, 4, 8])
def test_the_loss_on_cells_is_the_kl_of_the_sums(k, scale):
    log_p, logits = predictions(seed=1), scale * predictions(seed=2)
    classes = log_p.topk(k, dim=1).indices
    rest = log_p.scatter(1, classes, -torch.inf).logsumexp(1, keepdim=True)
    cells = torch.cat([log_p.gather(1, classes), rest], 1)
    found = kl_to_cells(logits, classes, cells)
    torch.testing.assert_close(
        float(found), oracle_kl_to_cells(logits, classes, cells), rtol=2e-5, atol=1e-6
    )


def test_cells_of_all_classes_give_the_whole_loss_and_its_gradient():
    log_p, labels = predictions(seed=3), torch.arange(40) % 9
    classes = torch.arange(9).expand(40, 9)
    cells = torch.cat([log_p, torch.full((40, 1), -torch.inf)], 1)
    found, expected = (predictions(seed=4).requires_grad_() for _ in range(2))
    a = CellDistillationLoss(2.0, 0.7, 0.1)(found, classes, tempered(cells, 2.0), labels)
    b = DistillationLoss(2.0, 0.7, 0.1)(expected, log_p, labels)
    a.backward()
    b.backward()
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(found.grad, expected.grad)


def tempered(log_cells, temperature):
    return (log_cells / temperature).log_softmax(1)


def draws_of(n, n_classes, m):
    generator = torch.Generator().manual_seed(1)
    counts = torch.randint(1, 9, (n, m), generator=generator)
    return torch.randint(n_classes, (n, m), generator=generator), counts


def test_the_gradient_on_cells_is_that_of_finite_differences():
    log_p = predictions(5, 7, seed=5).double()
    classes = log_p.topk(3, dim=1).indices
    rest = log_p.scatter(1, classes, -torch.inf).logsumexp(1, keepdim=True)
    cells = torch.cat([log_p.gather(1, classes), rest], 1)
    logits = predictions(5, 7, seed=6).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: kl_to_cells(z, classes, cells), logits)
    draws = draws_of(5, 7, 4)
    assert torch.autograd.gradcheck(lambda z: cross_entropy_to_draws(z, *draws), logits)


def test_a_sure_teacher_and_a_sure_student_stay_finite():
    logits = torch.tensor([[200.0, 0.0, -200.0], [0.0, 300.0, 0.0]]).half().requires_grad_()
    classes = torch.tensor([[0], [0]])
    cells = torch.tensor([[0.0, -torch.inf], [-torch.inf, 0.0]])
    loss = kl_to_cells(logits, classes, cells)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_draws_say_on_average_what_the_whole_distribution_says(tmp_path, temperature):
    """The loss and its gradient, beside those of float64 sums over all classes."""
    log_p, repeats = predictions(6, 12, scale=2.0, seed=7), 4000
    often = DensePredictions(log_p.repeat(repeats, 1))
    write_draws(tmp_path, [often], (temperature,), 4, seed=3)
    rows = torch.arange(6 * repeats)
    classes, counts = (part[rows] for part in read_draws(tmp_path, temperature).parts)
    p = (log_p.double() / temperature).softmax(1)
    z = predictions(6, 12, seed=8).double().requires_grad_()
    loss = DrawnDistillationLoss(temperature, 1.0)
    found = loss(z.repeat(repeats, 1), classes, counts, torch.full((len(rows),), -1))
    expected = -(temperature**2) * (p * (z / temperature).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(found, expected, rtol=5e-3, atol=0)
    gradients = [torch.autograd.grad(value, z)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=0.01 * temperature / 6)


def test_the_most_probable_are_stored_with_the_mass_of_the_rest(tmp_path):
    log_p = predictions(50, 300, seed=9)
    write_top(tmp_path, [DensePredictions(log_p[:20]), DensePredictions(log_p[20:])], (1.0, 2.0), 8)
    stored = read_top(tmp_path, 2.0)
    rows = torch.tensor([49, 3, 20])
    classes, cells = (part[rows] for part in stored.parts)
    expected = (log_p[rows] / 2).log_softmax(1)
    assert torch.equal(classes, log_p[rows].topk(8).indices)
    torch.testing.assert_close(
        cells[:, :8].float(), expected.gather(1, classes), rtol=1e-3, atol=1e-3
    )
    torch.testing.assert_close(
        cells.double().exp().sum(1), torch.ones(3).double(), rtol=0, atol=5e-3
    )
    assert stored.bytes_per_example == 8 * 2 + 9 * 2
    assert torch.equal(stored.select(rows).parts[0][torch.tensor([1])], classes[1:2])


def test_the_mass_of_the_rest_of_a_sure_teacher_does_not_cancel(tmp_path):
    log_probs = torch.tensor([[40.0, 0.0, 0.0, 0.0], [20.0, 20.0, -10.0, -10.0]]).log_softmax(1)
    write_top(tmp_path, [DensePredictions(log_probs)], (1.0,), 2)
    rest = read_top(tmp_path, 1.0).parts[1][torch.arange(2)][:, -1]
    torch.testing.assert_close(rest.float(), log_probs[:, 2] + math.log(2), atol=0.02, rtol=0)


def test_some_of_some_rows_are_theirs(tmp_path):
    write_draws(tmp_path, [DensePredictions(predictions(9, 5))], (1.0,), 2, seed=0)
    stored = read_draws(tmp_path, 1.0)
    some = stored.select(torch.tensor([8, 3, 5])).select(torch.tensor([2, 0]))
    assert len(some) == 2
    for part, whole in zip(some.parts, stored.parts, strict=True):
        assert torch.equal(part[torch.tensor([1, 0])], whole[torch.tensor([8, 5])])


@pytest.mark.parametrize("write", [write_top, write_draws])
def test_a_teacher_that_says_no_distribution_is_told_with_its_row(tmp_path, write):
    blocks = [predictions(20, 5), predictions(30, 5, seed=1)]
    blocks[1][7, 2] = torch.nan
    seed = (0,) if write is write_draws else ()
    with pytest.raises(InputError, match="no log-probabilities") as caught:
        write(tmp_path, map(DensePredictions, blocks), (1.0,), 2, *seed)
    assert "row 27" in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["top", "sampled"])
def test_rows_with_weights_learn_from_what_is_stored(tmp_path, kind):
    """Rows of no weight teach nothing, although their targets are others."""
    inputs = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    right = (3 * inputs[:, :3]).log_softmax(1)
    targets, weights = right.clone(), torch.ones(200)
    targets[::2], weights[::2] = right[::2].flip(1), 0.0
    if kind == "top":
        write_top(tmp_path, [DensePredictions(targets)], (1.0,), 1)
    else:
        write_draws(tmp_path, [DensePredictions(targets)], (1.0,), 2, seed=1)
    stored = (read_top if kind == "top" else read_draws)(tmp_path, 1.0)
    train = Split(inputs, torch.full((200,), -1), weights=weights)
    validation = Split(inputs, right.argmax(1))
    recipe = Recipe(epochs=20, batch_size=50, learning_rate=0.05)
    student = distil(torch.nn.Linear(4, 3), stored, train, validation, recipe, alpha=1.0)
    agree = student.predictions(inputs).predicted() == right.argmax(1)
    assert float(agree.double().mean()) > 0.9


@pytest.mark.parametrize(("n_classes", "size"), [(65_536, 2), (65_537, 4)])
def test_a_class_takes_two_bytes_where_these_suffice(tmp_path, n_classes, size):
    log_p = torch.full((1, n_classes), -torch.inf)
    log_p[0, -1] = 0.0
    write_draws(tmp_path, [DensePredictions(log_p)], (1.0,), 3, seed=0)
    stored = read_draws(tmp_path, 1.0)
    assert stored.bytes_per_example == bytes_of_sparse("sampled", 3, n_classes) == 3 * (size + 1)
    classes, counts = (part[torch.tensor([0])] for part in stored.parts)
    assert classes.tolist() == [3 * [n_classes - 1]]
    assert counts.tolist() == [[255, 0, 0]]


def test_forty_bytes_hold_the_draws_of_an_example(tmp_path):
    log_p = predictions(4, 4342, seed=1)
    n_drawn = StudentConfig(targets="sampled").n_stored
    write_draws(tmp_path, [DensePredictions(log_p)], (1.0,), n_drawn, seed=0)
    found = read_draws(tmp_path, 1.0).bytes_per_example
    assert found == bytes_of_sparse("sampled", n_drawn, 4342) == 39
    write_top(tmp_path, [DensePredictions(log_p)], (1.0,), StudentConfig(targets="top").n_stored)
    assert read_top(tmp_path, 1.0).bytes_per_example == bytes_of_sparse("top", 32, 4342) == 130


def test_draws_follow_from_the_seed_however_rows_are_cut(tmp_path):
    log_p, found = predictions(50, 30, seed=2), []
    for seed, size in ((5, 50), (5, 7), (6, 50)):
        folder = tmp_path / f"{seed}-{size}"
        folder.mkdir()
        blocks = [DensePredictions(rows) for rows in log_p.split(size)]
        write_draws(folder, blocks, (1.0, 2.0), 6, seed)
        parts = [part for t in (1.0, 2.0) for part in read_draws(folder, t).parts]
        found.append([part[torch.arange(50)] for part in parts])
    assert all(map(torch.equal, found[0], found[1]))
    assert not any(map(torch.equal, found[0], found[2]))


@pytest.mark.parametrize("kind", ["top", "sampled"])
def test_a_student_learns_from_what_is_stored(tmp_path, kind):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(400, 6, generator=generator)
    teacher = (inputs @ torch.randn(6, 5, generator=generator)).log_softmax(1)
    labels = torch.randint(5, (400,), generator=generator)  # of no use: alpha is 1
    train, validation = Split(inputs, labels), Split(inputs, teacher.argmax(1))
    if kind == "top":
        write_top(tmp_path, [DensePredictions(teacher)], (2.0,), 2)
    else:
        write_draws(tmp_path, [DensePredictions(teacher)], (2.0,), 8, seed=1)
    stored = (read_top if kind == "top" else read_draws)(tmp_path, 2.0)
    recipe = Recipe(epochs=40, batch_size=50, learning_rate=0.05)
    network = torch.nn.Sequential(torch.nn.Linear(6, 5))
    student = distil(network, stored, train, validation, recipe, temperature=2.0, alpha=1.0)
    agree = student.predictions(inputs).predicted() == teacher.argmax(1)
    assert float(agree.double().mean()) > 0.9
    with pytest.raises(InputError, match="another temperature"):
        distil(network, stored, train, validation, recipe, temperature=1.0, alpha=1.0)


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (CellDistillationLoss, (torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 3))),
        (DrawnDistillationLoss, (torch.zeros(3, 2, dtype=torch.int64), torch.ones(3, 2))),
        (DrawnDistillationLoss, (torch.zeros(2, 2, dtype=torch.int64), torch.ones(2, 3))),
    ],
)
def test_targets_of_another_shape_are_refused(loss, targets):
    with pytest.raises(InputError, match="do not fit"):
        loss(1.0, 0.5)(torch.zeros(2, 4), *targets, torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize("other", [4, -1])
@pytest.mark.parametrize("loss", [kl_to_cells, cross_entropy_to_draws])
def test_classes_that_the_student_does_not_have_are_told(loss, other):
    classes, rest = torch.tensor([[0, 1], [1, other]]), loss is kl_to_cells
    with pytest.raises(InputError, match=rf"class {other}\n  expected: 0 to 3"):
        loss(torch.zeros(2, 4), classes, torch.ones(2, 2 + rest))


@pytest.mark.parametrize("write", [write_top, lambda *settings: write_draws(*settings, seed=0)])
@pytest.mark.parametrize(
    ("n", "temperatures", "k", "message"),
    [
        (5, (1.0,), 0, "nothing of soft targets"),
        (5, (1.0,), -1, "nothing of soft targets"),
        (5, (), 2, "nothing of soft targets"),
        (0, (1.0,), 2, "no predictions to store"),
    ],
)
def test_what_holds_nothing_is_not_stored(tmp_path, write, n, temperatures, k, message):
    blocks = [DensePredictions(predictions(n))] if n else []
    with pytest.raises(InputError, match=message):
        write(tmp_path, blocks, temperatures, k)
    assert list(tmp_path.iterdir()) == []


def test_a_temperature_that_is_not_stored_is_told_with_what_is(tmp_path):
    write_top(tmp_path, [DensePredictions(predictions())], (1.0, 2.0), 3)
    with pytest.raises(InputError, match=r"got: cells-1.npy, cells-2.npy, classes.npy") as told:
        read_top(tmp_path, 3.0)
    assert "expected: also cells-3.npy" in str(told.value)
    with pytest.raises(InputError, match="no such files"):
        read_draws(tmp_path / "elsewhere", 1.0)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("k", [1, 5, 8])
def test_in_one_pass_the_loss_and_its_gradient_are_those_of_the_terms(k, alpha, temperature):
    log_p, logits = predictions(12, 9, seed=12).double(), predictions(12, 9, seed=13).double()
    classes = log_p.topk(k, dim=1).indices
    rest = log_p.scatter(1, classes, -torch.inf).logsumexp(1, keepdim=True)
    cells = torch.cat([log_p.gather(1, classes), rest], 1)
    labels = torch.arange(12) % 9
    labels[3] = -1  # has none
    found, expected = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = CellDistillationLoss(temperature, alpha)
    a = loss(found, classes, cells, labels)
    hard = F.cross_entropy(expected, labels, ignore_index=-1)
    soft = temperature**2 * kl_to_cells(expected / temperature, classes, cells)
    b = alpha * soft + (1 - alpha) * hard
    a.backward()
    b.backward()
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(found.grad, expected.grad)
    assert torch.autograd.gradcheck(lambda z: loss(z, classes, cells, labels), found)


@pytest.mark.parametrize("temperature", [1.0, 3.0, 50.0])
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_in_one_pass_extreme_logits_stay_finite(alpha, temperature):
    logits = torch.tensor([[500.0, 0.0, -500.0], [0.0, 300.0, 0.0]]).mul(temperature)
    logits.requires_grad_()
    classes, labels = torch.tensor([[0], [0]]), torch.tensor([2, 1])
    cells = torch.tensor([[0.4, 0.6], [0.0, 1.0]]).log()
    loss = CellDistillationLoss(temperature, alpha)(logits, classes, cells, labels)
    loss.backward()
    assert bool(loss.isfinite())
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())


@pytest.mark.parametrize("gap", [10.0, 80.0, 86.0, 95.0, 105.0, 500.0])
def test_other_classes_learn_however_far_below_the_kept_ones_they_are(gap):
    """From 87 nats on their exponentials vanish in float32, those of half-way rows in part."""
    kept = torch.tensor([[2.0, 0.0], [0.5, 1.5]])
    others = torch.tensor([[1.0, -3.0, 0.5], [0.0, 0.0, 2.0]])
    logits = torch.cat([kept + torch.tensor([[gap], [gap / 2]]), others], 1).requires_grad_()
    classes = torch.tensor([[0, 1], [1, 0]])
    cells = torch.tensor([[0.2, 0.1, 0.7], [0.5, 0.1, 0.4]]).log()
    labels = torch.zeros(2, dtype=torch.int64)
    value = CellDistillationLoss(1.0, 1.0)(logits, classes, cells, labels)
    value.backward()
    expected, gradient = reference.kl_to_cells(logits.detach(), classes, cells)
    assert float(value.detach()) == pytest.approx(expected, rel=1e-6)
    assert logits.grad is not None
    torch.testing.assert_close(
        logits.grad.double(), torch.from_numpy(gradient), rtol=1e-5, atol=1e-7
    )


def test_temperatures_that_differ_in_their_last_digits_have_files_of_their_own(tmp_path):
    blocks, near = [DensePredictions(predictions(6))], [2.0, 2.0000001, 0.5]
    write_top(tmp_path, blocks, near, 2)
    write_draws(tmp_path, blocks, near, 4, seed=0)
    names = {file.name for file in tmp_path.glob("*-*.npy")}
    digits = ("2", "2.0000001", "0.5")
    assert names == {f"{what}-{t}.npy" for what in ("cells", "drawn", "counts") for t in digits}
    for read in (read_top, read_draws):
        assert [read(tmp_path, t).temperature for t in near] == near


def test_cells_and_counts_count_by_their_share():
    """Half precision rounds the sum of cells; counts may be any."""
    log_p, labels = predictions(5, 3, seed=14), torch.arange(5) % 3
    classes = torch.arange(2).expand(5, 2)
    for loss, kept, scaled in (
        (CellDistillationLoss(2.0, 0.5), log_p, log_p + 0.01),
        (DrawnDistillationLoss(2.0, 0.5), log_p[:, :2].exp(), 3 * log_p[:, :2].exp()),
    ):
        z = predictions(5, 3, seed=15)
        values = [loss(z, classes, one, labels) for one in (kept, scaled)]
        torch.testing.assert_close(*values)
    torch.testing.assert_close(*(kl_to_cells(z, classes, one) for one in (log_p, log_p + 0.01)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_labels_count_beside_draws_as_beside_whole_targets(temperature, smoothing):
    logits, labels = predictions(4, 6, seed=11).double(), torch.tensor([0, 5, -1, 2])
    draws = draws_of(4, 6, 9)  # some classes twice
    found, expected = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    a = DrawnDistillationLoss(temperature, 0.25, smoothing)(found, *draws, labels)
    hard = F.cross_entropy(expected, labels, label_smoothing=smoothing, ignore_index=-1)
    soft = temperature**2 * cross_entropy_to_draws(expected / temperature, *draws)
    b = 0.25 * soft + 0.75 * hard
    a.backward()
    b.backward()
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(found.grad, expected.grad)
