"""Shared specialists: their shortlists, the head by rows, what they learn, and their folder."""

import pytest
import torch
from torch import nn

from specialists.config import GeneralistConfig, Recipe, SpecialistsConfig
from specialists.datasets.base import Split
from specialists.errors import ConfigError, DataError, InputError
from specialists.networks import (
    NetworkSpec,
    build,
    check_head_is_last,
    counted_flops,
    head_and_trunk,
)
from specialists.predictions import DensePredictions
from specialists.shared import (
    Shortlisting,
    gathered_logits,
    load_shared,
    most_probable_classes,
    places_of_labels,
    save_shared,
    shared_network,
    shared_recipe,
    train_shared,
)
from specialists.shared import shortlists as shortlists_module
from specialists.shared.shortlist_network import ShortlistedInputs, ShortlistNetwork
from specialists.shared.shortlist_training import ShortlistExamples, ShortlistLoss
from tests.reference import shortlist_loss

N_CLASSES, N_FEATURES = 12, 5
SPEC = NetworkSpec("mlp", N_CLASSES, (N_FEATURES,), width=16)
RECIPE = Recipe(epochs=4, batch_size=32, learning_rate=0.02)


def random_log_probs(n, n_classes=N_CLASSES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, n_classes, generator=generator).log_softmax(1)


def by_sorting(log_probs, k):
    """The k most probable classes by a stable sort of each row, in increasing order."""
    return torch.tensor(
        [sorted(sorted(range(len(row)), key=lambda c: -row[c])[:k]) for row in log_probs.tolist()]
    )


@pytest.mark.parametrize("k", [1, 3, 12, 40])
@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_the_most_probable_classes_are_those_of_a_stable_sort(k, levels, monkeypatch):
    monkeypatch.setattr(shortlists_module, "NUMBERS_AT_A_TIME", 7 * N_CLASSES)
    probs = torch.randint(
        1, levels + 1, (50, N_CLASSES), generator=torch.Generator().manual_seed(k)
    )
    log_probs = (probs / probs.sum(1, keepdim=True)).log()
    shortlists = most_probable_classes(DensePredictions(log_probs.half()), k)
    assert shortlists.equal(by_sorting(log_probs.half(), k))


@pytest.mark.parametrize("n_classes", [320, 331, 335])
@pytest.mark.parametrize("levels", [2, 30, 10**6])
@pytest.mark.parametrize("k", [1, 4])
def test_the_most_probable_of_many_classes_are_those_of_a_stable_sort(n_classes, levels, k):
    generator = torch.Generator().manual_seed(n_classes + levels)
    probs = torch.randint(1, levels + 1, (60, n_classes), generator=generator).double()
    log_probs = (probs / probs.sum(1, keepdim=True)).log()
    assert most_probable_classes(log_probs, k).equal(by_sorting(log_probs, k))


def test_classes_without_mass_are_on_a_shortlist_only_where_there_are_no_others():
    log_probs = torch.tensor([[0.0, 0.5, 0.0, 0.5]]).log()
    assert most_probable_classes(log_probs, 3).tolist() == [[0, 1, 3]]


def test_a_label_stands_in_for_the_least_probable_class():
    log_probs = torch.tensor([[0.4, 0.1, 0.3, 0.1, 0.1], [0.05, 0.05, 0.1, 0.3, 0.5]]).log()
    labels = torch.tensor([4, 3])
    assert most_probable_classes(log_probs, 3, labels).tolist() == [[0, 2, 4], [2, 3, 4]]
    assert most_probable_classes(log_probs, 4, labels)[0].tolist() == [0, 1, 2, 4]
    assert most_probable_classes(log_probs, 1, labels).tolist() == [[4], [3]]
    assert most_probable_classes(log_probs, 3).tolist() == [[0, 1, 2], [2, 3, 4]]


def test_active_clusters_give_all_their_classes(monkeypatch):
    monkeypatch.setattr(shortlists_module, "NUMBERS_AT_A_TIME", 60)
    log_probs, labels = random_log_probs(40), torch.arange(40) % N_CLASSES
    clusters = [[0, 1, 2], [2, 3], [7, 5, 6], [8, 9, 10]]  # 4 and 11 are in none
    shortlists = Shortlisting(2, clusters)(log_probs, labels)
    for row, top, label in zip(shortlists, by_sorting(log_probs, 2), labels.tolist(), strict=True):
        active = [c for c in clusters if set(c) & set(top.tolist())]
        expected = sorted({c for cluster in active for c in cluster} | {*top.tolist(), label})
        assert row.tolist() == expected + [-1] * (shortlists.shape[1] - len(expected))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((random_log_probs(2), 0), "at least one class"),
        ((random_log_probs(2), 3, torch.tensor([0, 12])), "none of the classes"),
        ((random_log_probs(2), 3, torch.tensor([0])), "not one label for each row"),
        ((torch.zeros(2, 3), 1), "no log-probabilities"),
    ],
)
def test_shortlists_of_nonsense_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        most_probable_classes(*arguments)


def a_head(bias=True, n_classes=30, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    head = nn.Linear(N_FEATURES, n_classes, bias=bias, dtype=dtype)
    features = torch.randn(40, N_FEATURES, dtype=dtype)
    classes = torch.rand(40, n_classes).argsort(1)[:, :7]
    classes[0, 1] = classes[0, 0]  # a class twice, as padding gives it
    return head, features, classes, torch.randperm(n_classes)[:9]


def plain_logits(features, head, classes, common):
    logits = head(features)
    return torch.cat([logits.gather(1, classes), logits[:, common]], 1)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_common", [0, 9])
@pytest.mark.parametrize("n_rows", [1, 40])
def test_gathered_logits_and_their_gradients_are_those_of_the_whole_head(bias, n_common, n_rows):
    head, features, classes, common = a_head(bias)
    features, classes, common = features[:n_rows], classes[:n_rows], common[:n_common]
    slopes = torch.randn(n_rows, 7 + n_common, dtype=torch.float64)
    found = []
    for logits in (gathered_logits, plain_logits):
        inputs = [features.clone().requires_grad_(), *head.parameters()]
        outputs = logits(inputs[0], head, classes, common)
        found.append([outputs, *torch.autograd.grad((outputs * slopes).sum(), inputs)])
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        assert torch.equal(gathered_logits(features, head, classes, common), found[0][0])


def test_the_gradients_of_gathered_logits_are_those_of_finite_differences():
    head, features, classes, common = a_head(n_classes=11)

    def outputs(x, weight, bias):
        head.weight, head.bias = weight, bias
        return gathered_logits(x, head, classes[:3], common)

    arguments = (features[:3].requires_grad_(), head.weight, head.bias)
    assert torch.autograd.gradcheck(outputs, arguments)


def test_gathered_logits_keep_single_precision_where_autocast_is_on():
    head, features, classes, common = a_head(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        logits = gathered_logits(features.bfloat16(), head, classes, common)
    exact = plain_logits(features.bfloat16().float(), head, classes, common)
    assert logits.dtype == torch.float32
    assert torch.allclose(logits, exact, atol=1e-6)


def test_gathered_rows_by_blocks_are_the_same(monkeypatch):
    head, features, classes, common = a_head()
    expected = gathered_logits(features, head, classes, common)
    monkeypatch.setattr("specialists.shared.gathered_head.NUMBERS_AT_A_TIME", 100)
    monkeypatch.setattr("specialists.shared.gathered_head.FEW_LOGITS", 1 << 20)
    blocks = gathered_logits(features, head, classes, common)
    assert torch.allclose(blocks, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_rows", [2, 40])  # few rows take another path
def test_operations_of_gathered_logits_are_counted(n_rows):
    head, features, classes, _ = a_head()
    features = features[:n_rows].requires_grad_()
    with counted_flops(head) as counter:
        gathered_logits(features, head, classes[:n_rows]).sum().backward()
    products = 2 * n_rows * 7 * N_FEATURES
    assert counter.get_total_flops() == 3 * products + 2 * n_rows * 7  # the bias is a feature


class OwnNetwork(nn.Module):
    """A user's network, with statistics; ``scale`` changes what the head says."""

    def __init__(self, n_classes=N_CLASSES, scale=1.0):
        super().__init__()
        self.norm, self.below = nn.BatchNorm1d(N_FEATURES), nn.Linear(N_FEATURES, 16)
        self.out, self.scale = nn.Linear(16, n_classes), scale

    def forward(self, x):
        return self.scale * self.out(self.below(self.norm(x)).relu())


@pytest.mark.parametrize(
    "network",
    [
        build(SPEC),
        build(NetworkSpec("mlp", N_CLASSES, (N_FEATURES,), width=32, head_rank=4)),
        OwnNetwork(),
    ],
)
def test_trunk_and_head_are_the_network(network):
    inputs = torch.randn(3, N_FEATURES)
    trunk, head = head_and_trunk(network.eval(), N_CLASSES)
    assert torch.equal(head(trunk.eval()(inputs)), network(inputs))
    own = {parameter.data_ptr() for parameter in network.parameters()}
    assert own == {p.data_ptr() for p in (*trunk.parameters(), *head.parameters())}
    check_head_is_last(network, N_CLASSES, inputs)


class Peculiar(OwnNetwork):
    def forward(self, x):
        return nn.functional.linear(self.below(self.norm(x)), self.out.weight)


@pytest.mark.parametrize("network", [OwnNetwork(scale=2.0), Peculiar()])
def test_a_network_that_does_not_end_in_its_head_is_refused(network):
    with pytest.raises(InputError, match="does not end in its head"):
        check_head_is_last(network, N_CLASSES, torch.randn(2, N_FEATURES))


def blobs(n, seed, n_classes=N_CLASSES, spread=0.7):
    """Classes around centres of their own, and a generalist that is off by a little."""
    centres = torch.randn(n_classes, N_FEATURES, generator=torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(n_classes, (n,), generator=generator)
    inputs = centres[labels] + spread * torch.randn(n, N_FEATURES, generator=generator)
    distances = (inputs[:, None] - centres - 0.3).square().sum(2)
    return Split(inputs, labels), (-distances).log_softmax(1)


def trained(tmp_path=None, k=4, recipe=RECIPE, network=None, seed=3):
    train, g = blobs(600, 1)
    validation, g_validation = blobs(200, 2)
    if network is None:
        torch.manual_seed(0)
        network = build(SPEC)
    lists = most_probable_classes(g, k, train.labels), most_probable_classes(g_validation, k)
    return train_shared(network, train, validation, *lists, recipe, seed=seed, folder=tmp_path)


@pytest.mark.parametrize("k", [1, 4, N_CLASSES])
def test_it_learns_its_shortlists_and_all_classes(k):
    test, g = blobs(400, 4)
    shared = trained(k=k)
    head = shared.log_probs(test.inputs)
    right = float((head.argmax(1) == test.labels).float().mean())
    assert right > 0.5  # a guess: 1 in 12
    classes = most_probable_classes(g, k)
    log_probs = shared.shortlist_log_probs(test.inputs, classes)
    assert torch.allclose(log_probs.exp().sum(1), torch.ones(400), atol=1e-5)
    if k == N_CLASSES:
        again = (log_probs * shared.shortlist_temperature).log_softmax(1)
        assert torch.allclose(again, (head * shared.head_temperature).log_softmax(1), atol=1e-4)
    if k == 4:
        places = places_of_labels(classes, test.labels)
        inside = places >= 0
        assert (log_probs.argmax(1) == places)[inside].float().mean() > 0.6


def test_padding_has_no_probability_and_changes_no_other():
    shared = trained(recipe=RECIPE.model_copy(update={"epochs": 1}))
    test, g = blobs(10, 4)
    classes = most_probable_classes(g, 4)
    longer = nn.functional.pad(classes, (0, 2), value=-1)
    log_probs = shared.shortlist_log_probs(test.inputs, longer)
    assert torch.equal(log_probs[:, :4], shared.shortlist_log_probs(test.inputs, classes))
    assert bool((log_probs[:, 4:] == -torch.inf).all())


def test_the_loss_of_a_batch_is_that_of_the_formula():
    train, g = blobs(300, 1)
    network = build(SPEC)
    shortlists = nn.functional.pad(most_probable_classes(g, 3, train.labels), (0, 1), value=-1)
    places = places_of_labels(shortlists, train.labels)
    examples = ShortlistExamples(train, shortlists, places, N_CLASSES)
    index = torch.arange(9)
    batch = examples.batch(index, torch.Generator())
    loss = ShortlistLoss()(ShortlistNetwork(network, N_CLASSES)(batch.inputs), *batch.targets)
    shares = torch.bincount(train.labels, minlength=N_CLASSES) / 300
    lists = [row[:3].tolist() for row in shortlists[index]]
    with torch.no_grad():
        arguments = (network(train.inputs[index]), train.labels[index], lists)
        expected = shortlist_loss(*arguments, train.labels[index], shares)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_label_smoothing_spreads_over_the_classes_that_are_asked_about():
    logits = torch.tensor([[1.0, 2.0, -1e9], [0.5, 0.0, 3.0]])
    places = torch.tensor([1, 2])
    rows = [(logits[0, :2].log_softmax(0), 1), (logits[1].log_softmax(0), 2)]
    expected = sum(-0.8 * float(row[y]) - 0.2 * float(row.mean()) for row, y in rows) / 2
    assert float(ShortlistLoss(0.2)(logits, places)) == pytest.approx(expected, rel=1e-6)


def test_a_training_that_stopped_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    whole = trained(tmp_path / "whole")
    monkeypatch.setattr("specialists.training.loop.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("specialists.training.loop.CHECKPOINT_BYTES_PER_SECOND", 1e30)

    def stop(self, labels):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return judge(self, labels)

    from specialists.training.validation import ValidationLoss

    calls, judge = [], ValidationLoss.__call__
    monkeypatch.setattr(ValidationLoss, "__call__", stop)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "stopped")
    monkeypatch.setattr(ValidationLoss, "__call__", judge)
    assert (tmp_path / "stopped" / "checkpoint.pt").is_file()
    resumed = trained(tmp_path / "stopped")
    assert resumed.result == whole.result
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name])


def test_the_statistics_of_a_network_of_ones_own_are_kept():
    torch.manual_seed(0)
    shared = trained(network=OwnNetwork())
    n_batches = shared.network.get_buffer("norm.num_batches_tracked")
    assert int(n_batches) == 19 * shared.result.best_epoch  # 600 rows of 32
    test, _ = blobs(50, 4)
    everything = torch.arange(N_CLASSES).expand(50, -1)
    by_list = shared.shortlist_log_probs(test.inputs, everything) * shared.shortlist_temperature
    by_head = shared.log_probs(test.inputs) * shared.head_temperature
    assert torch.allclose(by_list.log_softmax(1), by_head.log_softmax(1), atol=1e-4)


def test_its_cost_counts_the_rows_of_the_head_that_it_computes():
    shared = trained()
    few = trained(k=1)
    assert few.cost.flops < shared.cost.flops < trained(k=N_CLASSES).cost.flops
    test, g = blobs(5, 4)
    operations = shared.shortlist_flops(test.inputs, most_probable_classes(g, 4))
    assert operations == 2 * (N_FEATURES * 16 + 16 * 4)


def test_what_is_written_reads_back(tmp_path):
    shared, (test, g) = trained(), blobs(20, 4)
    save_shared(shared, SPEC, tmp_path)
    read = load_shared(tmp_path)
    classes = most_probable_classes(g, 4)
    ours, theirs = (s.shortlist_log_probs(test.inputs, classes) for s in (shared, read))
    assert torch.equal(ours, theirs)
    assert torch.equal(shared.log_probs(test.inputs), read.log_probs(test.inputs))
    assert (read.cost, read.n_classes) == (shared.cost, N_CLASSES)


def test_training_refuses_what_does_not_fit():
    train, g = blobs(60, 1)
    validation, g_validation = blobs(20, 2)
    good, judged = most_probable_classes(g, 2, train.labels), most_probable_classes(g_validation, 2)
    never = (validation.labels[:, None] + torch.tensor([1, 2])) % N_CLASSES
    cases = [
        (most_probable_classes(g, 1), judged, InputError, "lacks its label"),
        (good[:5], judged, InputError, "not one for each row"),
        (good, judged.flip(1), InputError, "increasing order"),
        (good, never.sort(1).values, DataError, "nothing can choose an epoch"),
    ]
    for lists, judging, error, words in cases:
        with pytest.raises(error, match=words):
            train_shared(build(SPEC), train, validation, lists, judging, RECIPE, seed=0)


def test_its_network_has_the_generalists_architecture_and_what_is_set():
    network, spec = shared_network(SPEC, SpecialistsConfig(width=24, start="fresh"))
    assert (spec.width, spec.n_classes, spec.n_outputs) == (24, N_CLASSES, None)
    assert network(torch.zeros(1, N_FEATURES)).shape == (1, N_CLASSES)
    with pytest.raises(ConfigError, match="no n-gram table"):
        shared_network(SPEC, SpecialistsConfig(n_buckets=8, start="fresh", freeze=()))


@pytest.mark.parametrize(("epochs", "set_to", "expected"), [(6, None, 6), (6, 4, 4)])
def test_it_is_trained_by_the_generalists_recipe(epochs, set_to, expected):
    generalist = GeneralistConfig(
        epochs=epochs, learning_rate=0.5, batch_size=7, label_smoothing=0.1
    )
    recipe = shared_recipe(generalist, SpecialistsConfig(shared_epochs=set_to, label_smoothing=0.0))
    assert recipe.label_smoothing == 0
    assert (recipe.epochs, recipe.learning_rate, recipe.batch_size) == (expected, 0.5, 7)


def test_asked_rows_are_gathered_with_their_shortlists():
    inputs = torch.arange(6.0).view(3, 2)
    asked = ShortlistedInputs(inputs, torch.tensor([[0], [1], [2]]))
    part = asked[torch.tensor([2, 0])]
    assert isinstance(part.inputs, torch.Tensor)
    assert part.inputs.equal(inputs[[2, 0]])
    assert part.classes.tolist() == [[2], [0]]
    assert len(part) == 2
