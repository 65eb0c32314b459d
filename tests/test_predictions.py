"""Predictions in batches, and half-precision rows on disk that come back in any order."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from specialists import predictions
from specialists.datasets.base import Ragged
from specialists.errors import InputError
from specialists.files import is_done, write_array
from specialists.networks import HashedEmbedding
from specialists.predictions import (
    DensePredictions,
    SelectedPredictions,
    StoredPredictions,
    as_predictions,
    network_predictions,
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


def stored(folder, rows, monkeypatch, per_shard: int = 16, block: int = 7) -> StoredPredictions:
    monkeypatch.setattr(predictions, "SHARD_BYTES", 2 * C * per_shard)
    blocks = [DensePredictions(part) for part in rows.split(block)]
    write_shards(folder, blocks, C, {"inputs": {}})
    return StoredPredictions(folder)


def test_a_row_without_log_probabilities_is_named_wherever_it_lies(rows, monkeypatch):
    monkeypatch.setattr(predictions, "ROWS_AT_A_TIME", 16)
    log_probs = rows.log_softmax(1)
    log_probs[37] = 0.0
    with pytest.raises(InputError, match="no log-probabilities") as caught:
        as_predictions(log_probs)
    assert "row 37" in str(caught.value)


@pytest.mark.parametrize(("per_shard", "block"), [(1, 1), (16, 7), (16, 64), (1000, 7)])
def test_rows_come_back_in_half_precision_however_they_were_cut(
    tmp_path, rows, monkeypatch, per_shard, block
):
    shards = stored(tmp_path, rows, monkeypatch, per_shard, block)
    assert len(shards) == N
    assert shards.n_classes == C
    assert shards.dense().dtype == torch.float16
    assert torch.equal(shards.dense(), rows.half())


@pytest.mark.parametrize("index", [[49, 0, 20, 21, 20], [20, 21], [41], []])
def test_rows_are_gathered_across_the_borders_of_shards_in_the_order_asked_for(
    tmp_path, rows, monkeypatch, index
):
    shards = stored(tmp_path, rows, monkeypatch)
    assert len(list(tmp_path.glob("rows-*.npy"))) > 2
    index = torch.tensor(index, dtype=torch.int64)
    assert torch.equal(shards[index].dense(), rows.half()[index])


def test_a_probability_of_zero_survives(tmp_path, rows, monkeypatch):
    shards = stored(tmp_path, rows, monkeypatch)
    assert shards[[3]].dense()[0, 1] == -torch.inf


def test_shards_are_memory_mapped_and_have_a_manifest(tmp_path, rows, monkeypatch):
    shards = stored(tmp_path, rows, monkeypatch)
    assert all(isinstance(shard, np.memmap) for shard in shards._shards)
    assert is_done(tmp_path, {"inputs": {}}) is None
    (tmp_path / "rows-0000.npy").unlink()
    assert is_done(tmp_path, {"inputs": {}}) == "output rows-0000.npy is gone"


@pytest.mark.parametrize("kind", ["dense", "stored", "selected"])
def test_every_kind_of_predictions_answers_the_same_questions(tmp_path, rows, monkeypatch, kind):
    rows[5], rows[6, :2] = 0.0, 9.0  # ties
    half = rows.log_softmax(1).half()
    found = stored(tmp_path, half, monkeypatch)
    if kind == "dense":
        found = DensePredictions(half)
    elif kind == "selected":
        found, half = SelectedPredictions(found, torch.arange(40, 3, -1)), half[4:41].flip(0)
    labels, exact = torch.arange(len(half)) % C, half.double().numpy()
    order = np.argsort(-exact, axis=1, kind="stable")
    assert (len(found), found.n_classes) == half.shape
    assert torch.equal(found[2:9].dense(), half[2:9])
    assert torch.equal(found[labels == 1].dense(), half[labels == 1])
    assert found.predicted().tolist() == order[:, 0].tolist()
    assert found.confidence().tolist() == pytest.approx(np.exp(exact.max(1)).tolist())
    best, classes = found.most_probable(2)
    assert best.tolist() == np.take_along_axis(exact, order[:, :2], 1).tolist()
    assert torch.equal(half.gather(1, classes), best)
    assert found.of_labels(labels).tolist() == exact[np.arange(len(exact)), labels].tolist()
    ranks = [order[i].tolist().index(label) for i, label in enumerate(labels.tolist())]
    assert found.rank_of(labels).tolist() == ranks
    assert torch.equal(found.of_classes(torch.tensor([3, 0])), half[:, [3, 0]])
    merged = np.exp(exact)[:, [3, 0]]
    merged = np.concatenate([merged, np.exp(exact)[:, [1, 2]].sum(1, keepdims=True)], 1)
    np.testing.assert_allclose(found.of_subset(torch.tensor([3, 0])).exp(), merged, rtol=1e-5)


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
    log_probs = network_predictions(model, inputs, temperature=2.5).dense()
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(20))
    torch.testing.assert_close(log_probs, F.log_softmax(predict_outputs(model, inputs) / 2.5, -1))


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="no rows"):
        predict_outputs(network(), torch.zeros(0, 6))


def test_a_mapped_tensor_never_writes_to_its_file(tmp_path):
    write_array(tmp_path / "a.npy", np.zeros(3, dtype=np.float32))
    read_rows(tmp_path / "a.npy")[0] = 5.0
    assert torch.equal(read_rows(tmp_path / "a.npy"), torch.zeros(3))
