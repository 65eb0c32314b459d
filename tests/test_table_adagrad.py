"""Adagrad of embedding tables, against its formula in float64 and against torch's own."""

import copy
import math
import sys
from functools import partial
from io import BytesIO

import pytest
import torch
from reference import adagrad
from safetensors.torch import load, save
from torch import nn
from torch.nn import functional as F

from specialists.datasets.base import Ragged
from specialists.networks import HashedEmbedding, sum_by_row
from specialists.training import row_descent, table_adagrad
from specialists.training.table_adagrad import TableAdagrad

N_ROWS, DIM, RATE = 64, 3, 0.5


@pytest.fixture(autouse=True, params=["by torch", "compiled"])
def _path(request, monkeypatch):
    """Every test holds for both ways to move rows."""
    if request.param == "compiled":
        pytest.importorskip("numba", reason="compiled code needs the extra `fast`")
    limit = 0 if request.param == "compiled" else math.inf
    monkeypatch.setattr(row_descent, "LEAST_NUMBERS", limit)


close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5)


def bags(lengths, seed: int, n_values: int = 2**31 - 1) -> Ragged:
    """Strings of so many hashes each."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(n_values, (sum(lengths),), generator=generator, dtype=torch.int32)
    return Ragged(values, F.pad(torch.tensor(lengths, dtype=torch.int64).cumsum(0), (1, 0)))


BATCHES = {
    "many repeated rows": [bags([40, 1, 60, 30], seed, n_values=5) for seed in range(4)],
    "all rows": [bags([30, 50, 20], seed) for seed in range(4)],
    "empty bags": [bags([0, 3, 0, 0, 9, 0], seed) for seed in range(4)],
    "one row": [bags([1], seed) for seed in range(4)],
    "one row, read often": [bags([7, 0, 8], seed, n_values=1) for seed in range(4)],
    "nothing is read": [bags([0, 0], 0), bags([], 0), bags([2], 0)],
}
EVERY = pytest.mark.parametrize("batches", BATCHES.values(), ids=BATCHES)


def wanted(batch: Ragged, step: int) -> torch.Tensor:
    """A gradient of the bags' means."""
    return torch.randn(len(batch), DIM, generator=torch.Generator().manual_seed(step))


def trained(batches, steps=None, table=None, optimiser=None):
    """A hashed table after a step on each batch, and its optimiser."""
    torch.manual_seed(0)
    table = table or HashedEmbedding(N_ROWS, DIM)
    optimiser = optimiser or TableAdagrad([table.weight], lr=RATE)
    for step in range(len(batches)) if steps is None else steps:
        table(batches[step]).backward(wanted(batches[step], step))
        optimiser.step()
        optimiser.zero_grad()
    return table, optimiser


@EVERY
def test_a_hashed_table_follows_the_formula_in_float64(batches):
    torch.manual_seed(0)
    steps = []
    for step, batch in enumerate(batches):
        parts = wanted(batch, step).double() / batch.lengths.clamp(min=1)[:, None]
        rows = [(batch.row(i) % N_ROWS).tolist() for i in range(len(batch))]
        steps.append([(row, part) for i, part in enumerate(parts) for row in rows[i]])
    expected = adagrad(HashedEmbedding(N_ROWS, DIM).weight.detach(), steps, RATE)
    found = trained(batches)[0].weight.detach()
    close(found.double(), expected)


@EVERY
def test_a_hashed_table_is_trained_as_by_torch(batches):
    table = nn.Parameter(copy.deepcopy(trained([])[0].weight.detach()))
    reference = torch.optim.Adagrad([table], lr=RATE)
    for step, batch in enumerate(batches):
        rows = batch.values.long() % N_ROWS
        means = F.embedding_bag(rows, table, batch.offsets, include_last_offset=True)
        means.backward(wanted(batch, step))
        reference.step()
        reference.zero_grad()
    found, optimiser = trained(batches)
    close(found.weight, table)
    sums = optimiser.state[found.weight]["sum"]
    close(sums, reference.state[table]["sum"])


USERS = {
    "bag of means": lambda: nn.EmbeddingBag(N_ROWS, DIM, sparse=True),
    "bag of sums": lambda: nn.EmbeddingBag(N_ROWS, DIM, mode="sum", sparse=True),
    "rows": lambda: nn.Embedding(N_ROWS, DIM, sparse=True),
    "dense rows": lambda: nn.Embedding(N_ROWS, DIM),
    "float64": lambda: nn.Embedding(N_ROWS, DIM, sparse=True, dtype=torch.float64),
    "padding": lambda: nn.Embedding(N_ROWS, DIM, padding_idx=1, sparse=True),
}


@pytest.mark.parametrize("made", USERS.values(), ids=USERS)
def test_a_table_of_a_users_network_is_trained_as_by_torch(made):
    torch.manual_seed(1)
    modules = [made()]
    modules.append(copy.deepcopy(modules[0]))
    modules[1].sparse = False
    optimisers = [
        kind(module.parameters(), lr=RATE)
        for kind, module in zip((TableAdagrad, torch.optim.Adagrad), modules, strict=True)
    ]
    for step in range(3):
        inputs = torch.randint(0, 6 * step + 2, (5, 7))
        for module, optimiser in zip(modules, optimisers, strict=True):
            (module(inputs).sin() ** 2).sum().backward()
            optimiser.step()
            optimiser.zero_grad()
    close(modules[0].weight, modules[1].weight)


def test_two_uses_of_a_hashed_table_in_one_step_add_up():
    first, second = BATCHES["all rows"][:2]
    (once, _), (twice, _) = trained([]), trained([])
    joined = Ragged(
        torch.cat([first.values, second.values]),
        torch.cat([first.offsets, second.offsets[1:] + first.offsets[-1]]),
    )
    once(joined).sum().backward()
    (twice(first).sum() + twice(second).sum()).backward()
    for table in (once, twice):
        TableAdagrad([table.weight], lr=RATE).step()
    close(once.weight, twice.weight)


@pytest.mark.parametrize("size", [1, DIM, 7 * DIM, 1000 * DIM])
def test_rows_are_moved_the_same_in_blocks_of_any_size(size, monkeypatch):
    expected = trained(BATCHES["all rows"])[0].weight
    monkeypatch.setattr(table_adagrad, "BLOCK", size)
    assert torch.equal(trained(BATCHES["all rows"])[0].weight, expected)


def by_torch(state):
    file = BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def by_safetensors(state):
    return {**state, "state": {0: load(save(state["state"][0]))}}


@pytest.mark.parametrize("stored", [by_torch, by_safetensors])
@EVERY
def test_a_training_that_goes_on_from_its_state_ends_bit_for_bit_the_same(batches, stored):
    whole, half = trained(batches)[0], len(batches) // 2
    table, optimiser = trained(batches, range(half))
    fresh, other = trained([])
    fresh.load_state_dict(table.state_dict())
    other.load_state_dict(stored(optimiser.state_dict()))
    trained(batches, range(half, len(batches)), fresh, other)
    assert torch.equal(fresh.weight, whole.weight)


def test_a_training_goes_on_from_the_state_of_torchs_adagrad():
    batches = BATCHES["all rows"]
    table, _ = trained([])
    older = torch.optim.Adagrad([table.weight], lr=RATE)
    with torch.sparse.check_sparse_tensor_invariants(enable=False):
        trained(batches, range(2), table, older)
    newer = TableAdagrad([table.weight], lr=RATE)
    newer.load_state_dict(older.state_dict())
    trained(batches, range(2, 4), table, newer)
    close(table.weight, trained(batches)[0].weight)


def test_mixed_precision_leaves_the_table_and_its_gradient_in_float32():
    table, batch = HashedEmbedding(N_ROWS, DIM), BATCHES["all rows"][0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = nn.Linear(DIM, 2)(table(batch))
    outputs.float().sum().backward()
    assert outputs.dtype == torch.bfloat16
    assert table.weight.grad is not None
    assert table.weight.grad.dtype == torch.float32


def test_a_frozen_table_has_no_gradient():
    table = HashedEmbedding(N_ROWS, DIM).requires_grad_(False)
    assert not table(BATCHES["all rows"][0]).requires_grad


def test_a_row_that_is_not_read_stays_bit_for_bit():
    before, after = trained([])[0].weight, trained(BATCHES["many repeated rows"])[0].weight
    assert torch.equal(before[5:], after[5:])
    assert not bool((before[:5] == after[:5]).any())


def test_sums_of_a_row_that_is_read_ten_thousand_times_are_exact_to_float32():
    generator = torch.Generator().manual_seed(2)
    rows = torch.randint(3, (10_000,), generator=generator)
    vectors = torch.rand(10_000, DIM, generator=generator)
    distinct, sums = sum_by_row(rows, torch.arange(10_000), vectors)
    exact = torch.zeros(3, DIM, dtype=torch.float64).index_add_(0, rows, vectors.double())
    assert distinct.tolist() == [0, 1, 2]
    torch.testing.assert_close(sums.double(), exact, rtol=1e-5, atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_table_on_a_gpu_is_trained_as_on_a_cpu():
    batches = BATCHES["many repeated rows"]
    (table, _), (expected, _) = trained([]), trained(batches)
    table = table.cuda()
    optimiser = TableAdagrad([table.weight], lr=RATE)
    for step, batch in enumerate(batches):
        table(batch.to("cuda")).backward(wanted(batch, step).cuda())
        optimiser.step()
        optimiser.zero_grad()
    close(table.weight.cpu(), expected.weight)


def test_compiled_code_gives_the_same_bits_for_every_number_of_threads(monkeypatch):
    monkeypatch.setattr(row_descent, "ROWS_A_THREAD", 2)
    batches, before = [bags([40, 9, 60], seed) for seed in range(3)], torch.get_num_threads()
    results = []
    for n_threads in (1, 2, 3):
        torch.set_num_threads(n_threads)
        table, optimiser = trained(batches)
        results.append((table.weight.detach(), optimiser.state[table.weight]["sum"]))
    torch.set_num_threads(before)
    for weights, sums in results[1:]:
        assert torch.equal(weights, results[0][0])
        assert torch.equal(sums, results[0][1])


def test_without_numba_torch_moves_the_rows(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    row_descent._kernel.cache_clear()
    monkeypatch.setattr(row_descent, "LEAST_NUMBERS", 0)
    assert not row_descent.descends_compiled(torch.zeros(8, 2))
    monkeypatch.undo()
    row_descent._kernel.cache_clear()


def test_only_large_tables_of_single_precision_are_moved_by_compiled_code(monkeypatch):
    monkeypatch.setattr(row_descent, "LEAST_NUMBERS", 16)
    monkeypatch.setattr(row_descent, "_kernel", lambda: print)
    assert row_descent.descends_compiled(torch.zeros(8, 2))
    assert not row_descent.descends_compiled(torch.zeros(7, 2))
    assert not row_descent.descends_compiled(torch.zeros(8, 2, dtype=torch.float64))
