"""The one training loop: resumed, stopped, restored, clipped; and the batches that it is fed."""

import json
import math

import pytest
import torch
from torch import Generator, nn
from torch.nn import functional as F

from specialists.config import Recipe
from specialists.datasets.base import Ragged
from specialists.errors import InputError, TrainingError
from specialists.files import artifacts, read_tensors
from specialists.networks import HashedEmbedding
from specialists.runtime import Hardware, n_cores
from specialists.training import BalancedExamples, TensorExamples, Trainer, ValidationLoss, loop
from specialists.training.loading import Loader
from specialists.training.optimisers import Optimisers

CPU = torch.device("cpu")
RECIPE = {"epochs": 5, "batch_size": 16, "learning_rate": 0.02, "patience": 10}


@pytest.fixture(autouse=True)
def no_sync(monkeypatch):
    """Syncing guards against power cuts, and takes long."""
    monkeypatch.setattr(artifacts, "sync", lambda path: None)


def data(n: int = 60, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (n,), generator=generator)
    x = torch.randn(n, 6, generator=generator) + 2 * F.one_hot(labels, 6)
    return x, labels


def texts(n: int = 60):
    x, labels = data(n)
    values = (x * 3).long().abs().flatten() + 7 * labels.repeat_interleave(6)
    return Ragged(values.to(torch.int32), torch.arange(0, 6 * n + 1, 6)), labels


def noisy(inputs, generator: Generator):
    """Augmentation that uses the generator that it is given."""
    return inputs + 0.1 * torch.randn(inputs.shape, generator=generator)


def made(text: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    first = HashedEmbedding(32, 8) if text else nn.Linear(6, 8)
    layers = [first, nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)]
    return nn.Sequential(*layers)


def trainer(folder, *, text=False, network=None, validate=None, loss=None, **changes) -> Trainer:
    recipe = {key: changes.pop(key) for key in list(changes) if key in Recipe.model_fields}
    inputs, labels = texts() if text else data()
    examples = TensorExamples(inputs, (labels,), None if text else noisy)
    return Trainer(
        network or made(text),
        changes.pop("examples", examples),
        loss or F.cross_entropy,
        validate or ValidationLoss(inputs, labels),
        Recipe.model_validate({**RECIPE, **recipe}),
        seed=1,
        folder=folder,
        hardware=changes.pop("hardware", Hardware("cpu", "float32")),
        **changes,
    )


class Scripted:
    """A validation that gives the losses it was told, and remembers the weights it saw."""

    def __init__(self, losses):
        self.losses, self.seen = iter(losses), []

    def __call__(self, network):
        self.seen.append({k: v.clone() for k, v in network.state_dict().items()})
        return next(self.losses), 0.5


class StoppedError(Exception):
    pass


def interrupting(validate, at: int):
    calls = iter(range(1, 100))

    def judge(network):
        if next(calls) == at:
            raise StoppedError
        return validate(network)

    return judge


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def records(folder, name="metrics.jsonl") -> list[dict]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("at", [2, 3, 5])
def test_a_training_that_was_interrupted_ends_bit_for_bit_as_one_that_was_not(
    tmp_path, monkeypatch, text, at
):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    whole = trainer(tmp_path / "whole", text=text)
    expected = whole.fit()
    broken = trainer(tmp_path / "broken", text=text)
    broken.validate = interrupting(broken.validate, at)
    with pytest.raises(StoppedError):
        broken.fit()
    assert (tmp_path / "broken" / "checkpoint.pt").is_file()
    resumed = trainer(tmp_path / "broken", text=text)
    assert resumed.fit() == expected
    assert same(resumed.network.state_dict(), whole.network.state_dict())
    assert records(tmp_path / "broken") == records(tmp_path / "whole")
    assert not (tmp_path / "broken" / "checkpoint.pt").exists()
    assert len(records(tmp_path / "broken", "timing.jsonl")) == 5


def test_a_resumed_training_does_not_start_again(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    broken = trainer(tmp_path, validate=interrupting(Scripted([3.0, 2.0]), 3))
    with pytest.raises(StoppedError):
        broken.fit()
    validate = Scripted([1.0, 2.0, 3.0])
    result = trainer(tmp_path, validate=validate).fit()
    assert len(validate.seen) == 3
    assert (result.best_epoch, result.cost.examples) == (3, 300)


def test_best_weights_that_are_the_current_ones_are_written_once(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    sizes, network = [], nn.Sequential(nn.Linear(6, 2000), nn.Linear(2000, 3))
    for name, losses in {"best": [3.0, 2.0], "another": [2.0, 3.0]}.items():
        broken = trainer(
            tmp_path / name, network=network, validate=interrupting(Scripted(losses), 3)
        )
        with pytest.raises(StoppedError):
            broken.fit()
        sizes.append((tmp_path / name / "checkpoint.pt").stat().st_size)
    weights = 4 * sum(parameter.numel() for parameter in network.parameters())
    assert sizes[1] - sizes[0] == pytest.approx(weights, rel=0.05)


@pytest.mark.parametrize("seconds", [0.1, 6.0])
def test_checkpoints_begin_early_and_take_a_twentieth_of_the_time(tmp_path, monkeypatch, seconds):
    now, saved = [0.0], []

    def save(folder, state):
        saved.append(now[0])
        now[0] += seconds

    def validate(network):
        now[0] += 5.0
        return 1.0 / now[0], 0.5

    monkeypatch.setattr(loop, "save_checkpoint", save)
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    trainer(tmp_path, validate=validate, epochs=200).fit()
    assert saved[0] == 20.0
    assert len(saved) >= (40 if seconds < 1 else 8)
    assert seconds * len(saved) <= 0.05 * now[0]


def test_the_weights_of_the_best_epoch_are_restored(tmp_path):
    validate = Scripted([3.0, 1.0, 2.0, 1.5, 4.0])
    training = trainer(tmp_path, validate=validate)
    result = training.fit()
    assert (result.best_epoch, result.loss) == (2, 1.0)
    assert same(training.network.state_dict(), validate.seen[1])
    assert not training.network.training


def test_training_stops_after_so_many_epochs_without_a_better_one(tmp_path):
    validate = Scripted([3.0, 1.0, 2.0, 1.5, 0.1])
    result = trainer(tmp_path, validate=validate, patience=2).fit()
    assert len(validate.seen) == 4
    assert (result.best_epoch, result.cost.examples) == (2, 240)


def test_training_without_patience_goes_on_to_the_end_of_its_schedule(tmp_path):
    validate = Scripted([1.0, 2.0, 3.0, 4.0, 5.0])
    result = trainer(tmp_path, validate=validate, patience=None).fit()
    assert len(validate.seen) == 5
    assert (result.best_epoch, result.cost.examples) == (1, 300)


@pytest.mark.parametrize(("keep_start", "best"), [(True, 0), (False, 1)])
def test_the_start_wins_only_where_it_may(tmp_path, keep_start, best):
    losses = [0.5, 1.0, 2.0] if keep_start else [1.0, 2.0]
    training = trainer(tmp_path, validate=Scripted(losses), epochs=2, keep_start=keep_start)
    start = {k: v.clone() for k, v in training.network.state_dict().items()}
    assert training.fit().best_epoch == best
    assert same(training.network.state_dict(), start) == keep_start


@pytest.mark.parametrize("n_examples", [2, 16, 60, 62, 77, 100])
def test_a_number_of_examples_is_kept_to_exactly(tmp_path, n_examples):
    training = trainer(tmp_path, n_examples=n_examples, learning_rate=0.1)
    assert training.fit().cost.examples == n_examples
    assert records(tmp_path)[-1]["step"] == training._n_steps()
    assert training.optimisers.learning_rate == pytest.approx(0, abs=1e-12)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_weights(tmp_path):
    steps = iter(range(100))

    def exploding(logits, labels):
        return F.cross_entropy(logits, labels) * (math.nan if next(steps) >= 9 else 1.0)

    validate = Scripted([2.0, 1.0])
    training = trainer(tmp_path, validate=validate, loss=exploding)
    with pytest.raises(TrainingError, match=r"training loss is not finite[\s\S]*epoch 2"):
        training.fit()
    assert same(read_tensors(tmp_path / "last_good.safetensors"), validate.seen[1])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_validation_loss_that_is_not_finite_stops_too(tmp_path, value):
    with pytest.raises(TrainingError, match="validation loss"):
        trainer(tmp_path, validate=Scripted([1.0, value])).fit()


def test_outputs_that_are_not_finite_give_no_validation_loss():
    network = made().eval()
    nn.init.constant_(network.get_parameter("4.weight"), math.inf)
    assert math.isnan(ValidationLoss(*data())(network)[0])


def test_metrics_have_no_times_and_timing_has_the_loading_share(tmp_path):
    trainer(tmp_path).fit()
    for epoch, record in enumerate(records(tmp_path), start=1):
        assert list(record) == [
            *("epoch", "step", "examples", "train_loss"),
            *("validation_loss", "validation_top1", "learning_rate"),
        ]
        assert (record["epoch"], record["step"], record["examples"]) == (
            epoch,
            4 * epoch,
            60 * epoch,
        )
    for record in records(tmp_path, "timing.jsonl"):
        assert list(record)[:2] == ["epoch", "seconds"]
        assert list(record)[2:] == ["examples_per_second", "loading_share", "machine_share"]
        assert record["machine_share"] == round(min(1.0, torch.get_num_threads() / n_cores()), 4)
        assert 0 < record["loading_share"] < 1


def test_the_loss_falls_in_bfloat16_as_well(tmp_path):
    trainer(tmp_path, hardware=Hardware("cpu", "bfloat16")).fit()
    losses = [record["train_loss"] for record in records(tmp_path)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("text", [False, True])
def test_training_learns(tmp_path, text):
    result = trainer(tmp_path, text=text, embedding_learning_rate=0.5).fit()
    assert result.top1 > 0.7


def test_statistics_of_frozen_normalisation_do_not_move(tmp_path):
    network = made()
    for name in ("0", "1"):
        network.get_submodule(name).requires_grad_(False)
    before = {k: v.clone() for k, v in network.state_dict().items() if k[0] in "01"}
    training = trainer(tmp_path, network=network)
    training.fit()
    after = {k: v for k, v in network.state_dict().items() if k[0] in "01"}
    assert same(before, after)


def test_statistics_of_trained_normalisation_do_move(tmp_path):
    training = trainer(tmp_path)
    training.fit()
    assert int(training.network.state_dict()["1.num_batches_tracked"]) > 0


def test_nothing_to_train_on_is_refused(tmp_path):
    empty = TensorExamples(torch.zeros(0, 6), (torch.zeros(0, dtype=torch.int64),))
    with pytest.raises(InputError, match="nothing to train on"):
        trainer(tmp_path, examples=empty)


def stepped(network, loss, **recipe) -> tuple[dict, dict]:
    """Parameters before and after one step at full rate."""
    values = {"learning_rate": 0.1, "embedding_learning_rate": 0.1, "warmup": 0.0, **recipe}
    optimisers = Optimisers(network, Recipe.model_validate(values), n_steps=10)
    before = {k: v.detach().clone() for k, v in network.named_parameters()}
    loss(network).backward()
    optimisers.step()
    return before, {k: v.detach() for k, v in network.named_parameters()}


def test_rows_of_a_table_that_were_not_read_never_decay_while_matrices_do():
    network = nn.Sequential(HashedEmbedding(8, 3), nn.Linear(3, 2))
    one = Ragged(torch.tensor([1, 1], dtype=torch.int32), torch.tensor([0, 1, 2]))
    before, after = stepped(network, lambda n: 0.0 * n(one).sum(), weight_decay=0.5)
    assert torch.equal(after["0.weight"], before["0.weight"])
    torch.testing.assert_close(after["1.weight"], before["1.weight"] * (1 - 0.1 * 0.5))
    assert torch.equal(after["1.bias"], before["1.bias"])


def clipped(optimisers: Optimisers, *parameters: nn.Parameter) -> list[torch.Tensor]:
    """Gradients as the first optimiser sees them in a step."""
    seen = []

    def look(*_) -> None:
        seen.extend(p.grad.clone() for p in parameters if p.grad is not None)

    optimisers.optimisers[0].register_step_pre_hook(look)
    optimisers.step()
    return seen


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_large_gradients_of_a_table_do_not_clip_those_of_dense_layers(scale):
    network = nn.Sequential(HashedEmbedding(8, 3), nn.Linear(3, 2))
    nn.init.zeros_(network.get_parameter("1.weight"))
    recipe = Recipe(learning_rate=0.1, warmup=0.0, clip=1.0)
    optimisers = Optimisers(network, recipe, n_steps=10)
    table, dense = network.get_parameter("0.weight"), network.get_parameter("1.weight")
    values = torch.full((1, 3), scale)
    table.grad = torch.sparse_coo_tensor(torch.tensor([[1]]), values, (8, 3), check_invariants=True)
    dense.grad = torch.full((2, 3), 0.1)
    network.get_parameter("1.bias").grad = torch.zeros(2)
    assert torch.equal(clipped(optimisers, dense)[0], torch.full((2, 3), 0.1))


def test_dense_gradients_are_clipped_to_their_norm():
    network = nn.Sequential(nn.Linear(3, 2))
    optimisers = Optimisers(network, Recipe(learning_rate=0.1, clip=2.0), n_steps=10)
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)
    parts = [gradient.flatten() for gradient in clipped(optimisers, *network.parameters())]
    assert float(torch.cat(parts).norm()) == pytest.approx(2.0, rel=1e-4)


def test_the_rate_rises_then_falls_to_zero():
    network = nn.Sequential(nn.Linear(3, 2))
    optimisers = Optimisers(network, Recipe(learning_rate=1.0, warmup=0.2), n_steps=50)
    rates = []
    for _ in range(50):
        rates.append(optimisers.learning_rate)
        network(torch.zeros(1, 3)).sum().backward()
        optimisers.step()
    assert rates[:10] == sorted(rates[:10])
    assert rates[10] == max(rates) == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert optimisers.learning_rate == pytest.approx(0, abs=1e-12)


def batches(prefetched: bool, examples, monkeypatch) -> tuple[list, Loader]:
    generator = torch.Generator().manual_seed(3)
    order = examples.order(generator)
    loader = Loader(examples, order, 16, generator, CPU)
    if prefetched:
        loader.device = PretendsToBeCuda()  # type: ignore[assignment]
        monkeypatch.setattr("specialists.training.examples.Batch.to", lambda self, device: self)
    return list(loader), loader


@pytest.mark.parametrize(("n", "sizes"), [(59, [16, 16, 16, 11]), (33, [16, 17]), (1, [1])])
def test_a_last_example_left_over_joins_the_batch_before(n, sizes):
    x, labels = data(n)
    generator = torch.Generator()
    loader = Loader(TensorExamples(x, (labels,)), torch.arange(n), 16, generator, CPU)
    assert [len(batch) for batch in loader] == sizes
    assert torch.equal(torch.cat([batch.targets[0] for batch in loader]), labels)


class PretendsToBeCuda:
    type = "cuda"


def test_batches_gathered_ahead_are_the_same(monkeypatch):
    x, labels = data()
    examples = TensorExamples(x, (labels,), noisy)
    here, _ = batches(False, examples, monkeypatch)
    ahead, loader = batches(True, examples, monkeypatch)
    assert len(here) == len(ahead) == 4
    for first, second in zip(here, ahead, strict=True):
        torch.testing.assert_close(first.inputs, second.inputs, rtol=0, atol=0)
        assert torch.equal(first.targets[0], second.targets[0])
    assert loader.seconds > 0


def test_an_error_while_gathering_ahead_is_raised_where_batches_are_used(monkeypatch):
    x, labels = data()

    def broken(inputs, generator):
        raise StoppedError

    with pytest.raises(StoppedError):
        batches(True, TensorExamples(x, (labels,), broken), monkeypatch)


def test_half_precision_targets_are_left_to_the_loss_and_double_ones_rounded():
    x, labels = data()
    examples = TensorExamples(x, (torch.rand(60, 3).half(), torch.rand(60).double(), labels))
    batch = examples.batch(torch.tensor([4, 2]), torch.Generator())
    dtypes = [torch.float16, torch.float32, torch.int64]
    assert [target.dtype for target in batch.targets] == dtypes
    assert isinstance(batch.inputs, torch.Tensor)
    assert torch.equal(batch.inputs, x[[4, 2]])


@pytest.mark.parametrize("share", [0.5, 0.25, 0.8])
@pytest.mark.parametrize(("n_inside", "n_outside"), [(12, 48), (50, 10), (1, 59)])
def test_a_share_of_every_epoch_is_the_whole_subset(share, n_inside, n_outside):
    x, labels = data()
    inside, outside = torch.arange(n_inside), torch.arange(n_inside, n_inside + n_outside)
    examples = BalancedExamples(TensorExamples(x, (labels,)), inside, outside, share)
    order = examples.order(torch.Generator().manual_seed(0))
    assert len(order) == len(examples)
    counts = torch.bincount(order, minlength=60)
    assert bool((counts[inside] == 1).all())
    assert int(counts[outside].sum()) == max(1, round(n_inside * (1 - share) / share))
    assert int(counts[outside].max()) - int(counts[outside].min()) <= 1


def test_the_rest_is_drawn_anew_each_epoch():
    x, labels = data()
    examples = BalancedExamples(TensorExamples(x, (labels,)), torch.arange(9), torch.arange(9, 60))
    generator = torch.Generator().manual_seed(0)
    first, second = (set(examples.order(generator).tolist()) for _ in range(2))
    assert first != second


def test_validation_is_weighted_and_calibrated():
    x, labels = data()
    network = made().eval()
    weights = torch.rand(60)
    loss, top1 = ValidationLoss(x, labels, weights, batch_size=7)(network)
    with torch.no_grad():
        logits = network(x)
    right = ((logits.argmax(1) == labels) * weights).sum() / weights.sum()
    assert top1 == pytest.approx(float(right), rel=1e-5)
    at = [
        float((F.cross_entropy(logits / t, labels, reduction="none") * weights).sum())
        / float(weights.sum())
        for t in (0.5, 1.0, 2.0, 4.0)
    ]
    assert loss <= min(at) + 1e-6
