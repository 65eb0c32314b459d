"""Few rows, many rows, deferred rows: does an ensemble say what its members joined say?"""

import dataclasses

import pytest
import reference
import torch
from torch import nn

from specialists.calibration import Calibration
from specialists.combination import FittedDustbin, LearnedCombination
from specialists.datasets.base import Ragged
from specialists.datasets.text import hash_ngrams
from specialists.ensemble import CombinationRule, Ensemble
from specialists.ensemble.asking import AskedSpecialists
from specialists.ensemble.stacked import StackedSpecialists
from specialists.networks import NetworkSpec, build, split_frozen
from specialists.predictions import predict_outputs
from specialists.specialist import Specialist
from specialists.training import TrainingCost

C = 12
SUBSETS = [torch.tensor(s) for s in ([0, 1, 2, 3, 4], [5, 6], [7, 8, 9], [2, 5, 7, 11], [10, 1])]
TEXT = NetworkSpec("hashed_text", C, width=7, depth=2, embedding_dim=6, n_buckets=64)
SPECS = {
    "text": TEXT,
    "trunk": dataclasses.replace(TEXT, dropout=0.4),
    "features": NetworkSpec("mlp", C, (9,), width=24, dropout=0.5),
    "bottleneck": NetworkSpec("mlp", C, (9,), width=16, head_rank=2),
    "images": NetworkSpec("resnet", C, (1, 28, 28), width=8),
}
NUMBERS = LearnedCombination(
    torch.tensor([0.5, 2.0, 3.0, 1.0, 0.7]).double(), 0.8, torch.linspace(0.7, 1.4, 5).double()
)
DUSTBIN = FittedDustbin(0.4, 0.7, 0.3)
RULES = {
    "paper": CombinationRule("kl", 1),
    "two": CombinationRule("kl", 2, 2.0),
    "all": CombinationRule("kl", None),
    "deferring": CombinationRule("kl", 2, 1.0, defer_above=0.5),
    "members": CombinationRule("within_subsets", 2, 4.0, members=(3, 0)),
    "beside": CombinationRule("side_by_side", 1, defer_above=0.6),
    "learned": CombinationRule("learned", 2, 1.0, NUMBERS, defer_above=0.5),
    "fitted": CombinationRule("kl", 1, 4.0, dustbin=DUSTBIN),
    "fitted deferring": CombinationRule("kl", 3, 2.0, None, (0, 2, 3), 0.7, DUSTBIN),
    "nobody": CombinationRule("kl", 2, members=()),
}


def inputs(kind: str, n: int):
    torch.manual_seed(n)
    if kind in ("text", "trunk"):
        words = [
            "".join(chr(97 + c) for c in torch.randint(26, (i % 9,)).tolist()) for i in range(n)
        ]
        return hash_ngrams(words, (1, 3))
    if kind == "images":
        return torch.randint(256, (n, 1, 28, 28), dtype=torch.uint8)
    return torch.randn(n, 9)


def made(kind: str, rule: CombinationRule = RULES["two"]) -> Ensemble:
    torch.manual_seed(0)
    generalist = decided(build(SPECS[kind]))
    lower, upper = split_frozen(generalist, ["embedding"] if kind == "trunk" else [])
    specialists = []
    for m, subset in enumerate(SUBSETS):
        spec = dataclasses.replace(SPECS[kind], n_outputs=len(subset) + 1)
        network = split_frozen(decided(build(spec)), ["embedding"] if kind == "trunk" else [])[1]
        calibration = Calibration(0.3 * m, 1.0 + 0.2 * m, -0.1)
        specialists.append(Specialist(network, subset, calibration, TrainingCost()))
    return Ensemble(upper, specialists, rule, 1.3, lower)


def decided(network: nn.Module) -> nn.Module:
    for name, weight in network.named_parameters():
        if name.startswith(("embedding", "head")):
            nn.init.normal_(weight, std=2.0)
    return network


@pytest.mark.parametrize(("n", "at_a_time"), [(1, 2048), (6, 2048), (90, 40)])
@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        *(("features", rule) for rule in RULES),
        *((kind, rule) for kind in SPECS for rule in ("two", "fitted")),
    ],
)
def test_an_ensemble_says_what_its_members_joined_say(kind, n, at_a_time, rule, monkeypatch):
    monkeypatch.setattr("specialists.ensemble.members.ROWS_AT_A_TIME", at_a_time)
    ensemble, x = made(kind, RULES[rule]), inputs(kind, n)
    expected = reference.ensemble_log_probs(ensemble, x)
    for _ in range(2):
        found = ensemble.predictions(x).dense()
        torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("kind", ["text", "trunk", "features", "bottleneck"])
@pytest.mark.parametrize(
    "counts", [[3, 0, 1, 2, 3], [1, 1, 0, 0, 0], [40, 2, 2, 2, 2], [0, 9, 0, 1, 1]]
)
def test_networks_that_run_as_one_answer_as_each_does_alone(kind, counts, monkeypatch):
    ensemble, x = made(kind), inputs(kind, 40)
    active = torch.stack([torch.randperm(40) < n for n in counts], dim=1)
    features = ensemble.features(x)
    expected = [each.log_probs(features) for each in ensemble.specialists]
    asked = AskedSpecialists(ensemble.specialists)
    for limit in (0, 3, 9, 40):
        monkeypatch.setattr(StackedSpecialists, "limit", staticmethod(lambda counts, n=limit: n))
        with torch.no_grad():
            found = asked.log_probs(features, active)
        for m, rows in enumerate(active.T):
            assert found[m].shape == expected[m].shape
            torch.testing.assert_close(found[m][rows], expected[m][rows], rtol=2e-5, atol=2e-5)


def test_small_counts_run_together_and_large_ones_alone():
    limit = StackedSpecialists.limit
    assert limit([1, 0, 1, 0, 0, 0, 0, 0]) == 0
    assert limit([4] * 8) == 4
    assert limit([900, 3, 4, 2, 3, 4, 3, 2]) == 4
    assert limit([500] * 8) == 0
    assert limit([0] * 8) == 0


def test_only_networks_of_one_shape_and_of_known_layers_run_as_one():
    specialists = list(made("features").specialists)
    assert StackedSpecialists.of(specialists) is not None
    assert StackedSpecialists.of(specialists[:1]) is None
    assert StackedSpecialists.of(made("images").specialists) is None
    other = nn.Sequential(nn.Linear(9, 8), nn.Tanh(), nn.Linear(8, 6))
    wider = build(dataclasses.replace(SPECS["features"], width=9, n_outputs=6))
    half = build(dataclasses.replace(SPECS["features"], n_outputs=6)).double()
    watched = build(dataclasses.replace(SPECS["features"], n_outputs=6))
    watched.get_submodule("hidden1").register_forward_hook(lambda *_: None)
    for network in (other, wider, half, watched):
        changed = [dataclasses.replace(specialists[0], network=network), *specialists[1:]]
        assert StackedSpecialists.of(changed) is None


@pytest.mark.parametrize("kind", ["text", "trunk", "features", "bottleneck"])
def test_small_networks_that_ship_run_as_one(kind):
    assert StackedSpecialists.of(made(kind).specialists) is not None


def test_large_weights_are_not_copied(monkeypatch):
    monkeypatch.setattr("specialists.ensemble.stacked.MOST_NUMBERS", 100)
    assert StackedSpecialists.of(made("features").specialists) is None


@pytest.mark.parametrize("kind", ["text", "features"])
def test_weights_that_change_later_are_seen(kind):
    ensemble, x = made(kind, RULES["all"]), inputs(kind, 5)
    before = ensemble.predictions(x).dense()
    for change in (lambda w: nn.init.normal_(w), lambda w: setattr(w, "data", 2.0 * w.data)):
        change(ensemble.specialists[1].network.get_submodule("head").weight)
        after = ensemble.predictions(x).dense()
        assert float((after - before).abs().max()) > 0.01
        torch.testing.assert_close(after, reference.ensemble_log_probs(ensemble, x))
        before = after


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("n", [6, 90])
def test_rows_about_which_a_specialist_is_not_asked_are_never_read(rule, n):
    ensemble, x = made("features", rule), inputs("features", n)
    expected = reference.ensemble_log_probs(ensemble, x)
    torch.use_deterministic_algorithms(True)  # fills uninitialised memory with NaN
    try:
        assert bool(torch.empty(3).isnan().all())
        found = ensemble.predictions(x).dense()
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-5)


def test_rows_that_are_deferred_keep_the_generalist_to_the_last_bit():
    ensemble, x = made("features", RULES["deferring"]), inputs("features", 90)
    generalist = ensemble.generalist_predictions(x)
    sure = generalist.confidence() > 0.5
    assert 0 < int(sure.sum()) < 90
    assert torch.equal(ensemble.predictions(x).dense()[sure], generalist.dense()[sure])


def test_a_network_that_changes_its_inputs_changes_nobody_elses():
    x = torch.randn(6, 9)
    before = x.clone()
    first = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(9, C))
    specialists = [
        Specialist(
            nn.Sequential(nn.ReLU(inplace=True), nn.Linear(9, len(subset) + 1)),
            subset,
            Calibration(0.0),
            TrainingCost(),
        )
        for subset in SUBSETS
    ]
    specialists[0] = dataclasses.replace(specialists[0], network=nn.Linear(9, 6))
    ensemble = Ensemble(first, specialists, RULES["all"])
    expected = reference.ensemble_log_probs(ensemble, x)
    torch.testing.assert_close(ensemble.predictions(x).dense(), expected)
    predict_outputs(first, x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("kind", ["features", "images"])
def test_networks_in_training_mode_predict_in_evaluation_mode(kind):
    ensemble, x = made(kind, RULES["all"]), inputs(kind, 5)
    expected = ensemble.predictions(x).dense()
    for network in (ensemble.upper, *(each.network for each in ensemble.specialists)):
        network.train()
    assert torch.equal(ensemble.predictions(x).dense(), expected)


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="no rows"):
        made("features").predictions(torch.empty(0, 9))


@pytest.mark.parametrize("sizes", [[4], [1, 3], [0, 2, 0, 2], [2, 0, 0]])
def test_parts_of_ragged_rows_are_the_rows(sizes):
    ragged = Ragged(torch.arange(10), torch.tensor([0, 3, 3, 4, 10]))
    start = 0
    for size, part in zip(sizes, ragged.split(sizes), strict=True):
        expected = ragged[torch.arange(start, start + size)]
        for found in (part, ragged.between(start, start + size)):
            assert torch.equal(found.values, expected.values)
            assert torch.equal(found.offsets, expected.offsets)
        start += size
