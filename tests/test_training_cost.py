"""What a training step costs, against operations counted by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from specialists.config import Recipe
from specialists.datasets.base import Ragged
from specialists.networks import HashedEmbedding, inference_flops
from specialists.runtime import Hardware
from specialists.training import Batch, TensorExamples, Trainer, TrainingCost, flops_per_example
from specialists.training.training_cost import ADAGRAD_FLOPS, ADAMW_FLOPS
from specialists.trunk import Stacked

RECIPE = Recipe(epochs=2, batch_size=8, learning_rate=1e-3, patience=None)


def mlp(n_in=10, width=20, n_out=7):
    layers = nn.Linear(n_in, width), nn.BatchNorm1d(width), nn.Dropout(0.5), nn.Linear(width, n_out)
    return nn.Sequential(*layers)


def batch(n_rows=32, n_in=10, n_out=7):
    return Batch(torch.randn(n_rows, n_in), (torch.randint(0, n_out, (n_rows,)),))


def test_a_step_counts_forward_backward_and_the_update_of_every_parameter():
    below, above = 2 * 10 * 20, 2 * 20 * 7
    n_parameters = 10 * 20 + 20 + 2 * 20 + 20 * 7 + 7
    # the first layer's inputs need no gradient
    expected = 2 * below + 3 * above + ADAMW_FLOPS * n_parameters / 32
    assert flops_per_example(mlp(), batch(), F.cross_entropy) == pytest.approx(expected)


def test_a_frozen_trunk_counts_its_forward_pass_alone():
    lower, upper = nn.Linear(10, 20), nn.Linear(20, 7)
    for parameter in lower.parameters():
        parameter.requires_grad_(False)
    expected = 2 * 10 * 20 + 2 * 2 * 20 * 7 + ADAMW_FLOPS * 147 / 32
    assert flops_per_example(Stacked(lower, upper), batch(), F.cross_entropy) == expected


def test_of_a_table_the_rows_that_a_step_touches_count_by_their_width():
    network = nn.Sequential(HashedEmbedding(1024, 4), nn.Linear(4, 7))
    hashes = torch.tensor([0, 0, 1, 5, 2], dtype=torch.int32)  # four rows, one of them twice
    inputs = Ragged(hashes, torch.tensor([0, 3, 5]))
    passes = 2 * 5 * 4 + 2 * 3 * (2 * 4 * 7)
    updates = ADAMW_FLOPS * 35 + ADAGRAD_FLOPS * 4 * 4
    found = flops_per_example(network, Batch(inputs, (torch.tensor([0, 1]),)), F.cross_entropy)
    assert found == (passes + updates) / 2


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.recurrent, self.head = nn.LSTM(6, 10, batch_first=True), nn.Linear(10, 5)

    def forward(self, x):
        return self.head(self.recurrent(x)[0][:, -1])


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.layers, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(16, 5)

    def forward(self, x):
        return self.head(self.layers(x).mean(1))


RECURRENT = 7 * 4 * (2 * 6 * 10 + 2 * 10 * 10) + 2 * 10 * 5  # seven steps of four gates
PROJECTIONS = 2 * 16 * 3 * 16 + 2 * 16 * 16 + 2 * 2 * 16 * 32
ATTENTIVE = 2 * (7 * PROJECTIONS + 2 * 2 * 7 * 7 * 16) + 2 * 16 * 5


@pytest.mark.parametrize(
    ("network", "n_in", "forward"), [(Recurrent(), 6, RECURRENT), (Attentive(), 16, ATTENTIVE)]
)
def test_fused_kernels_of_recurrent_and_attention_layers_count(network, n_in, forward):
    inputs = torch.randn(8, 7, n_in)
    assert inference_flops(network, inputs) == forward
    rows = Batch(inputs, (torch.randint(0, 5, (8,)),))
    assert 2.5 * forward < flops_per_example(network, rows, F.cross_entropy) < 3.5 * forward + 1e4
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mkldnn.enabled


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(50, 8, sparse=True), nn.Linear(8, 50)
        self.head.weight = self.table.weight
        self.register_buffer("seen", None)

    def forward(self, x):
        self.seen = torch.ones(3)
        return self.head(self.table(x).mean(1))


def test_a_tied_table_counts_whole_and_a_buffer_that_is_not_there_yet_stays_away():
    network = Tied()
    rows = Batch(torch.randint(50, (8, 4)), (torch.randint(50, (8,)),))
    expected = 3 * 2 * 8 * 50 + (ADAGRAD_FLOPS * 50 * 8 + ADAMW_FLOPS * 50) / 8
    assert flops_per_example(network, rows, F.cross_entropy) == expected
    assert network.seen is None


def test_counting_changes_nothing():
    network, state = mlp(), torch.random.get_rng_state()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    rows = batch()
    state = torch.random.get_rng_state()
    flops_per_example(network, rows, F.cross_entropy)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def trainer(folder, **changes):
    torch.manual_seed(0)
    rows = batch(20)
    return Trainer(
        mlp(),
        TensorExamples(rows.inputs, rows.targets),
        F.cross_entropy,
        lambda network: (1.0, 0.5),
        RECIPE,
        seed=3,
        folder=folder,
        hardware=Hardware("cpu", "float32"),
        **changes,
    )


def test_a_training_costs_its_examples_times_their_operations(tmp_path):
    expected = flops_per_example(mlp(), batch(8), F.cross_entropy)
    cost = trainer(tmp_path).fit().cost
    assert (cost.examples, cost.flops) == (40, pytest.approx(40 * expected))


@pytest.mark.parametrize(("n_examples", "seen"), [(33.4, 33), (0.2, 2), (80.0, 80), (41.0, 40)])
def test_a_budget_of_operations_buys_that_many_examples(tmp_path, n_examples, seen):
    each = flops_per_example(mlp(), batch(8), F.cross_entropy)
    cost = trainer(tmp_path, flops=n_examples * each).fit().cost
    assert (cost.examples, cost.flops) == (seen, pytest.approx(seen * each))


def test_costs_add_up_and_are_read_back():
    total = TrainingCost(3, 4.0) + TrainingCost(10, 20.0)
    assert total == TrainingCost(13, 24.0)
    assert TrainingCost.from_dict({**total.to_dict(), "loss": 1.0}) == total
