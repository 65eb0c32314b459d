"""Predictions in batches, and half-precision rows on disk that come back in any order."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from specialists import predictions
from specialists.datasets.base import Ragged
from specialists.files import is_done, write_array
from specialists.networks import HashedEmbedding
from specialists.predictions import (
    ShardedRows,
    predict_log_probs,
    predict_outputs,
    read_rows,
    write_shards,
)

N, C = 50, 4


@pytest.fixture
def rows() -> torch.Tensor:
    rows = torch.randn(N, C, generator=torch.Generator().manual_seed(0)) * 5
    rows[3, 1] = -torch.inf
    return rows


def stored(folder, rows, monkeypatch, per_shard: int = 16, block: int = 7) -> ShardedRows:
    monkeypatch.setattr(predictions, "SHARD_BYTES", 2 * C * per_shard)
    write_shards(folder, rows.split(block), C, {"inputs": {}})
    return ShardedRows(folder)


@pytest.mark.parametrize(("per_shard", "block"), [(1, 1), (16, 7), (16, 64), (1000, 7)])
def test_rows_come_back_in_half_precision_however_they_were_cut(
    tmp_path, rows, monkeypatch, per_shard, block
):
    shards = stored(tmp_path, rows, monkeypatch, per_shard, block)
    assert len(shards) == N
    assert shards[torch.arange(N)].dtype == torch.float16
    assert torch.equal(shards[torch.arange(N)], rows.half())


@pytest.mark.parametrize("index", [[49, 0, 20, 21, 20], [20, 21], [41], []])
def test_rows_are_gathered_across_the_borders_of_shards_in_the_order_asked_for(
    tmp_path, rows, monkeypatch, index
):
    shards = stored(tmp_path, rows, monkeypatch)
    assert len(shards.shards) > 2
    index = torch.tensor(index, dtype=torch.int64)
    assert torch.equal(shards[index], rows.half()[index])


def test_a_probability_of_zero_survives(tmp_path, rows, monkeypatch):
    shards = stored(tmp_path, rows, monkeypatch)
    assert shards[torch.tensor([3])][0, 1] == -torch.inf


def test_shards_are_memory_mapped_and_have_a_manifest(tmp_path, rows, monkeypatch):
    shards = stored(tmp_path, rows, monkeypatch)
    assert all(isinstance(shard, np.memmap) for shard in shards.shards)
    assert is_done(tmp_path, {"inputs": {}}) is None
    (tmp_path / "rows-0000.npy").unlink()
    assert is_done(tmp_path, {"inputs": {}}) == "output rows-0000.npy is gone"


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, C))


@pytest.mark.parametrize("batch_size", [1, 7, 2048])
def test_outputs_do_not_depend_on_the_batches_and_use_evaluation_mode(batch_size):
    model, inputs = network(), torch.randn(20, 6)
    outputs = predict_outputs(model, inputs, batch_size=batch_size)
    torch.testing.assert_close(outputs, model.eval()(inputs).detach())
    assert not outputs.requires_grad


def test_strings_are_predicted_in_batches_like_at_once():
    torch.manual_seed(0)
    model = nn.Sequential(HashedEmbedding(16, 5), nn.Linear(5, C))
    texts = Ragged(torch.arange(30, dtype=torch.int32), torch.tensor([0, 4, 4, 17, 30]))
    torch.testing.assert_close(predict_outputs(model, texts, batch_size=3), model(texts).detach())


def test_log_probs_are_tempered_and_sum_to_one():
    model, inputs = network(), torch.randn(20, 6)
    log_probs = predict_log_probs(model, inputs, temperature=2.5)
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(20))
    torch.testing.assert_close(log_probs, F.log_softmax(predict_outputs(model, inputs) / 2.5, -1))


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="no rows"):
        predict_outputs(network(), torch.zeros(0, 6))


def test_a_mapped_tensor_never_writes_to_its_file(tmp_path):
    write_array(tmp_path / "a.npy", np.zeros(3, dtype=np.float32))
    read_rows(tmp_path / "a.npy")[0] = 5.0
    assert torch.equal(read_rows(tmp_path / "a.npy"), torch.zeros(3))
