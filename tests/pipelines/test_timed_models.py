"""Rivals are timed as networks of their sizes, whatever became of their weights."""

import torch

from pipelines.timed_models import average_of, fresh_beside, of_other_rows
from specialists.baselines import AveragingRule
from specialists.datasets.base import Ragged
from specialists.networks import NetworkSpec, build
from specialists.predictions import network_predictions

SPEC = NetworkSpec("hashed_text", 5, width=8, embedding_dim=4, n_buckets=2**16)
INPUTS = Ragged(torch.arange(12, dtype=torch.int32), torch.tensor([0, 4, 4, 12]))


def test_a_wide_rival_has_its_width_and_the_generalists_table():
    generalist = build(SPEC)
    wide = fresh_beside(generalist, NetworkSpec(**{**vars(SPEC), "width": 32}))
    table = generalist.get_parameter("embedding.weight")
    assert wide.get_parameter("embedding.weight") is table
    assert {p.shape[0] for p in wide.parameters()} >= {32}
    assert not wide.training
    torch.testing.assert_close(
        wide.get_submodule("embedding")(INPUTS), generalist.get_submodule("embedding")(INPUTS)
    )


def test_averaged_members_read_rows_of_their_own():
    network, read = build(SPEC), []
    hook = network.get_submodule("embedding").register_forward_pre_hook
    hook(lambda module, inputs: read.append(inputs[0].values & module.mask))
    average_of(network, lambda rows: network_predictions(network, rows), AveragingRule(8))(INPUTS)
    assert len(set(torch.cat(read).tolist())) == 8 * 12


def test_other_inputs_stay_as_they_are():
    rows = torch.zeros(2, 3)
    assert of_other_rows(rows, 3) is rows
    assert of_other_rows(INPUTS, 0) is INPUTS
    moved = of_other_rows(INPUTS, 3)
    assert isinstance(moved, Ragged)
    assert torch.equal(moved.offsets, INPUTS.offsets)
