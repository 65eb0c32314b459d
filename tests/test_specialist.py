"""What a specialist is taught and how it is read back: aggregate, shift, temper, correct."""

import numpy as np
import pytest
import reference
import small_run
import torch
from torch import nn
from torch.nn import functional as F

from pipelines.context import RunContext
from pipelines.runs import Run
from pipelines.train_generalist import initial_generalists
from pipelines.train_specialists import execute as train_specialists
from pipelines.train_specialists import load_specialists
from pipelines.trunk_files import generalist_targets, load_trunk
from specialists.calibration import Calibration, dustbin_correction
from specialists.config import Config, SpecialistsConfig
from specialists.datasets.storage import save_dataset
from specialists.errors import ConfigError, DataError, InputError
from specialists.files import read_json
from specialists.networks import NetworkSpec, build, save_network, split_frozen
from specialists.predictions import DensePredictions, StoredPredictions
from specialists.probability import aggregate
from specialists.specialist import (
    assign_generalists,
    load_specialist,
    soft_targets,
    starting_network,
)
from specialists.specialist.sampling import subset_examples, subset_labels, subset_validation
from specialists.training import BalancedExamples, TensorExamples, TrainingCost
from specialists.trunk import Stacked, Trunk

SUBSET = torch.tensor([4, 1, 7])
SMALL = torch.tensor([4, 1])


def generalist(n: int = 30, n_classes: int = 9) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(n, n_classes, generator=generator, dtype=torch.float64) * 3
    return F.log_softmax(logits, dim=-1)


@pytest.mark.parametrize(("s", "f"), [(0.5, 0.1), (0.5, 0.7), (0.2, 0.05)])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_targets_are_aggregated_then_shifted_then_tempered(s, f, temperature):
    targets = F.softmax(soft_targets(generalist(), SUBSET, s, f) / temperature, dim=-1)
    expected = reference.shifted_targets(generalist(), SUBSET, s, f, temperature)
    torch.testing.assert_close(targets, torch.from_numpy(expected), rtol=1e-10, atol=1e-12)


def test_another_order_of_tempering_gives_other_targets():
    early = soft_targets(F.log_softmax(generalist() / 2.0, dim=-1), SUBSET, 0.5, 0.1).exp()
    expected = reference.shifted_targets(generalist(), SUBSET, 0.5, 0.1, 2.0)
    assert float((early - torch.from_numpy(expected)).abs().max()) > 0.05


@pytest.mark.parametrize(("s", "f"), [(0.5, 0.1), (0.5, 0.7), (0.2, 0.05)])
def test_the_correction_of_a_perfect_pupil_gives_the_teacher_back(s, f):
    pupil = soft_targets(generalist(), SUBSET, s, f) + 5.0
    found = Calibration(dustbin_correction(s, f)).log_probs(pupil)
    torch.testing.assert_close(found, aggregate(generalist(), SUBSET), rtol=0, atol=1e-12)


def test_the_dustbin_sums_probabilities_and_never_logits():
    logits = torch.tensor([[2.0, 1.0, -3.0, 4.0]], dtype=torch.float64)
    found = soft_targets(F.log_softmax(logits, dim=-1), torch.tensor([0]), 0.5, 0.5).exp()
    expected = F.softmax(logits, dim=-1)[:, 1:].sum(1)
    torch.testing.assert_close(found[:, -1], expected)
    shifted = soft_targets(F.log_softmax(logits + 100, dim=-1), torch.tensor([0]), 0.5, 0.5).exp()
    torch.testing.assert_close(shifted, found)


def test_classes_without_mass_give_targets_without_nan():
    log_probs = generalist()
    log_probs[:, 1] = -torch.inf
    log_probs = F.log_softmax(log_probs, dim=-1)
    targets = F.softmax(soft_targets(log_probs, SUBSET, 0.5, 0.1) / 2.0, dim=-1)
    assert bool((targets[:, 1] == 0).all())
    torch.testing.assert_close(targets.sum(1), torch.ones(30, dtype=torch.float64))


def test_labels_are_places_in_the_subset_or_the_dustbin():
    labels = torch.tensor([1, 4, 7, 0, 8, 1])
    assert subset_labels(labels, SUBSET, 9).tolist() == [1, 0, 2, 3, 3, 1]


@pytest.mark.parametrize(
    ("labels", "subset"),
    [
        (torch.tensor([1, -1]), SUBSET),
        (torch.tensor([1, 9]), SUBSET),
        (torch.tensor([True, False]), SUBSET),
        (torch.tensor([1.0, 2.0]), SUBSET),
        (torch.tensor([[1], [2]]), SUBSET),
        (torch.tensor([1, 2]), torch.tensor([4, 9])),
        (torch.tensor([1, 2]), torch.tensor([4, 4])),
    ],
)
def test_labels_and_subsets_that_name_no_class_are_refused(labels, subset):
    with pytest.raises(InputError):
        subset_labels(labels, subset, 9)


@pytest.mark.parametrize(
    "wrong",
    [
        generalist() * 0.5,
        generalist().T,
        generalist()[0],
        generalist()[None],
        generalist()[:0],
        generalist() * torch.nan,
        generalist() - torch.inf,
    ],
)
def test_soft_targets_are_made_of_log_probabilities_alone(wrong):
    with pytest.raises(InputError):
        soft_targets(wrong, SUBSET, 0.5, 0.1)


def test_soft_targets_of_half_precision_are_those_of_its_values():
    half = generalist().half()
    found = soft_targets(half, SUBSET, 0.5, 0.1)
    torch.testing.assert_close(found, soft_targets(half.float(), SUBSET, 0.5, 0.1))


INPUTS = torch.zeros(40, 2)
LABELS = torch.arange(9).repeat_interleave(torch.tensor([6, 2, 6, 6, 2, 6, 6, 2, 4]))


def examples_of(**settings) -> tuple[BalancedExamples, float]:
    """Half-precision predictions of 40 rows, as a specialist of the subset sees them."""
    values = {"subset_share": 0.5, "soft_targets": 0.5, "temperature": 2.0, **settings}
    rows = DensePredictions(generalist(40).half())
    return subset_examples(INPUTS, LABELS, rows, SUBSET, SpecialistsConfig(**values))


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_epochs_hold_the_subsets_share_and_its_targets(share):
    examples, natural_share = examples_of(subset_share=share)
    assert natural_share == pytest.approx(6 / 40)
    order = examples.order(torch.Generator().manual_seed(0))
    target, labels = examples.batch(order, torch.Generator()).targets
    assert float((labels < 3).double().mean()) == pytest.approx(share, abs=0.05)
    expected = reference.shifted_targets(generalist(40), SUBSET, share, natural_share, 2.0)
    torch.testing.assert_close(
        target.double(), torch.from_numpy(expected)[order], atol=2e-3, rtol=0
    )


def test_no_soft_targets_are_made_where_none_are_wanted():
    examples, _ = examples_of(soft_targets=0.0)
    assert examples.batch(torch.arange(5), torch.Generator()).targets[0].shape == (5, 0)


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_validation_weighs_subset_and_dustbin_as_training_does(share):
    validation = subset_validation(INPUTS, LABELS, 9, SUBSET, share)
    assert validation.weights is not None
    inside = validation.labels < 3
    assert float(validation.weights[inside].sum() / validation.weights.sum()) == pytest.approx(
        share
    )
    assert float(validation.weights.mean()) == pytest.approx(1.0)


def test_a_subset_without_rest_is_an_epoch_of_its_own():
    examples = TensorExamples(torch.zeros(4, 2), (torch.zeros(4),))
    balanced = BalancedExamples(examples, torch.arange(4), torch.arange(0))
    assert sorted(balanced.order(torch.Generator()).tolist()) == [0, 1, 2, 3]


def test_a_subset_without_training_examples_is_refused_with_its_names(tmp_path):
    run = small_run.make_run(tmp_path / "run")
    from specialists.datasets import load_dataset

    dataset = load_dataset(run.config.data, 0)
    train = dataset.train
    kept = (train.labels > 2).nonzero().squeeze(1)
    split = type(train)(train.inputs[kept], train.labels[kept])
    save_dataset(type(dataset)(**{**vars(dataset), "train": split}), run.path("prepare-data"))
    clusters = {
        "index": 0, "size": 3, "classes": [0, 1, 2], "names": list(small_run.NAMES[:3]),
        "share_of_confusions": 1.0, "core": [0, 1, 2],
    }  # fmt: skip
    write_clusters(run, [clusters])
    with pytest.raises(DataError, match="0 of 360 inside: a0, a1, a2"):
        train_specialists(run)


def write_clusters(run, clusters) -> None:
    from specialists.files import write_json

    about = {
        "method": "kmeans", "matrix": "covariance", "n_classes": 12,
        "class_names": list(small_run.NAMES), "share_of_confusions": 1.0,
        "clusters": clusters, "uncovered": list(range(3, 12)),
    }  # fmt: skip
    write_json(run.path("cluster-classes", "clusters.json"), about)


def test_a_specialist_comes_back_with_its_upper_part_and_calibration(tmp_path):
    torch.manual_seed(0)
    spec = NetworkSpec("mlp", 9, (2,), width=4, depth=2, n_outputs=4)
    network = build(spec).eval()
    lower, upper = split_frozen(network, ["hidden1"])
    assert lower is not None
    calibration = Calibration(1.0, 2.0, -0.5)
    about = {
        "subset": [4, 1, 7],
        "freeze": ["hidden1"],
        "training_examples": 12,
        "training_flops": 3.0,
    }
    save_network(upper, spec, tmp_path, calibration=calibration.to_dict(), **about)
    specialist = load_specialist(tmp_path)
    x = torch.randn(5, 2)
    with torch.no_grad():
        expected = calibration.log_probs(network(x))
        torch.testing.assert_close(specialist.log_probs(lower(x)), expected)
    assert torch.equal(specialist.subset, SUBSET)
    assert specialist.cost == TrainingCost(12, 3.0)


def test_a_trunk_on_the_fly_gets_no_gradients_and_stays_in_evaluation_mode():
    lower = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    upper = torch.nn.Linear(3, 2)
    stacked = Stacked(lower, upper).train()
    stacked(torch.randn(4, 2)).sum().backward()
    assert all(p.grad is None for p in lower.parameters())
    assert upper.weight.grad is not None
    assert not lower.training
    assert Trunk(lower, True, x := torch.zeros(1, 2), x).unstacked(stacked) is upper


def test_a_wider_specialist_cannot_share_parts_whose_width_would_change(tmp_path):
    from pipelines import stages

    run = small_run.make_run(tmp_path / "run")
    run = small_run.changed_copy(
        run, tmp_path / "wide", "specialists.width=20", "specialists.freeze=['hidden1']"
    )
    with pytest.raises(ConfigError, match=r"width = 20: frozen parts \(hidden1\)"):
        stages.run_stages(run, "train-specialists")
    assert not run.path("train-generalist").exists()


def test_what_specialists_learn_from_are_the_generalists_calibrated_log_probs(tmp_path):
    from pipelines import stages
    from specialists.networks import load_network

    run = small_run.make_run(tmp_path / "run")
    stages.run_stages(run, "train-specialists")
    context = RunContext.open(run.folder)
    network, _, about = load_network(run.path("train-generalist"))
    with torch.no_grad():
        logits = network(context.dataset.train.inputs)
    expected = F.log_softmax(logits / about["temperature"], dim=-1)
    found = StoredPredictions(generalist_targets(context))[:480].dense().float()
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=1e-3)
    assert about["temperature"] != 1.0


def test_specialists_of_a_cheap_head_start_as_their_generalist_with_full_heads(tmp_path):
    from pipelines import stages
    from specialists.files import read_json
    from specialists.networks import load_network

    run = small_run.make_run(tmp_path / "run")
    barely_trained = ("specialists.learning_rate=1e-15", "specialists.epochs=1")
    changes = ("generalist.head_rank=3", "specialists.widen=1.5", *barely_trained)
    run = small_run.changed_copy(run, tmp_path / "cheap", *changes)
    stages.run_stages(run, "train-specialists")
    network, spec, _ = load_network(run.path("train-generalist"))
    assert spec.head_rank == 3
    inputs = RunContext.open(run.folder).dataset.validation.inputs
    folder = run.path("train-specialists", "specialist-000")
    specialist = load_specialist(folder)
    about = NetworkSpec.from_dict(read_json(folder / "model.json")["network"])
    assert (about.head_rank, about.width) == (None, 18)
    with torch.no_grad():
        found, expected = specialist.network(inputs), network(inputs)
    torch.testing.assert_close(found[:, :-1], expected[:, specialist.subset], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("freeze", "widen"), [((), 1), (("hidden1",), 1), ((), 0.5), ((), 2)])
def test_a_fresh_start_keeps_what_is_frozen_and_nothing_else(tmp_path, freeze, widen):
    from pipelines import stages
    from specialists.networks import load_network

    run = small_run.make_run(tmp_path / "run")
    changes = ["specialists.start=fresh", f"specialists.freeze={list(freeze)}"]
    changes += [
        "specialists.learning_rate=1e-15",
        "specialists.epochs=1",
        f"specialists.widen={widen}",
    ]
    run = small_run.changed_copy(run, tmp_path / "fresh", *changes)
    stages.run_stages(run, "train-specialists")
    generalist = load_network(run.path("train-generalist"))[0].state_dict()
    loaded = [load_specialist(run.path("train-specialists", f"specialist-00{i}")) for i in (0, 1)]
    trunk = load_trunk(RunContext.open(run.folder))
    for specialist in loaded:
        own = specialist.network.state_dict()
        assert own["head.weight"].shape[1] == round(12 * widen)
        if widen != 1:
            continue
        rows = generalist["head.weight"][specialist.subset]
        assert not torch.allclose(own["head.weight"][:-1], rows, atol=1e-3)
        if freeze:
            assert trunk.lower is not None
            assert torch.equal(
                trunk.lower.state_dict()["hidden1.weight"], generalist["hidden1.weight"]
            )
            assert "hidden1.weight" not in own
        else:
            assert not torch.allclose(
                own["hidden1.weight"], generalist["hidden1.weight"], atol=1e-3
            )
    heads = [specialist.network.state_dict()["head.weight"][0] for specialist in loaded]
    assert not torch.allclose(*heads, atol=1e-3)


@pytest.mark.parametrize(
    ("start", "freeze", "n_reads"),
    [("fresh", [], 0), ("fresh", ["hidden1"], 1), ("generalist", ["hidden1"], 1)],
)
def test_a_specialist_reads_its_generalist_once_and_only_where_it_takes_weights(
    tmp_path, monkeypatch, start, freeze, n_reads
):
    from pipelines import stages
    from pipelines.train_specialists import specialist_tasks
    from specialists.networks import weights

    run = small_run.make_run(tmp_path / "run")
    changes = [f"specialists.start={start}", f"specialists.freeze={freeze}", "specialists.epochs=1"]
    run = small_run.changed_copy(run, tmp_path / "changed", *changes)
    stages.run_stages(run, "train-specialists")
    reads, read = [], weights.read_tensors
    monkeypatch.setattr(
        weights, "read_tensors", lambda path, **how: reads.append(path) or read(path, **how)
    )
    context = RunContext.open(run.folder)
    again = tmp_path / "again"
    again.mkdir()
    specialist_tasks(context)[0].train(context, again)
    assert len(reads) == n_reads
    first = run.path("train-specialists", "specialist-000", "weights.safetensors")
    assert (again / "weights.safetensors").read_bytes() == first.read_bytes()


def test_specialists_may_start_from_other_generalists(tmp_path):
    from pipelines import stages
    from pipelines.baselines import budget_of
    from specialists.networks import load_network

    run = small_run.make_run(tmp_path / "run")
    changes = ["specialists.start=independent", "clusters.coverage=2", "specialists.widen=1"]
    changes += ["specialists.learning_rate=1e-15", "specialists.epochs=1", "clusters.n_clusters=4"]
    run = small_run.changed_copy(run, tmp_path / "independent", *changes)
    stages.run_stages(run, "combine-predictions")
    context = RunContext.open(run.folder)
    trainings = initial_generalists(context)
    assert len(trainings) == 2
    heads = [load_network(t.folder)[0].state_dict()["head.weight"] for t in trainings]
    own = load_network(run.path("train-generalist"))[0].state_dict()["head.weight"]
    assert not any(torch.allclose(head, own, atol=1e-3) for head in heads)
    specialists = load_specialists(context)
    assigned = assign_generalists([s.subset.tolist() for s in specialists], 2)
    for specialist, parent in zip(specialists, assigned, strict=True):
        rows = specialist.network.state_dict()["head.weight"][:-1]
        torch.testing.assert_close(rows, heads[parent][specialist.subset])
    seen = [read_json(t.folder / "result.json")["training_examples"] for t in trainings]
    budget = budget_of(context)
    assert budget.further.examples == sum(seen) + sum(s.cost.examples for s in specialists)
    flops = [read_json(t.folder / "result.json")["training_flops"] for t in trainings]
    base = read_json(run.path("train-generalist", "result.json"))
    soft_targets = len(context.dataset.train) * base["inference_flops"]
    flops += [soft_targets, *(s.cost.flops for s in specialists)]
    assert budget.further.flops == pytest.approx(sum(flops))

    weights = [f"train-specialists/independent-{i}/weights.safetensors" for i in (0, 1)]
    assert set(weights) <= read_json(run.path("combine-predictions/manifest.json"))["inputs"].keys()
    for specialist, parent in enumerate(
        assign_generalists([s.subset.tolist() for s in specialists], 2)
    ):
        manifest = read_json(run.path(f"train-specialists/specialist-00{specialist}/manifest.json"))
        assert weights[parent] in manifest["inputs"]

    back = small_run.changed_copy(run, tmp_path / "back", "specialists.start=generalist")
    assert list(back.path("train-specialists").glob("independent-*"))
    stages.run_stages(back, "train-specialists")
    assert not list(back.path("train-specialists").glob("independent-*"))


def test_nothing_is_frozen_where_specialists_start_from_other_generalists(tmp_path):
    run = text_run(tmp_path / "text", "specialists.start=independent")
    assert run.config.resolve("text").specialists.freeze == ()
    back = Config.from_toml(run.folder / "config.toml", ["specialists.start=generalist"])
    assert back.resolve("text").specialists.freeze == ("embedding",)
    with pytest.raises(ConfigError, match="freeze needs start = 'generalist' or"):
        text_run(tmp_path / "frozen", "specialists.start=independent", "specialists.freeze=['x']")


def test_what_a_start_forbids_is_told_before_other_generalists_are_trained(tmp_path):
    from pipelines import stages

    narrow = ("specialists.start=independent", "specialists.widen=0.5")
    run = small_run.changed_copy(small_run.make_run(tmp_path / "run"), tmp_path / "b", *narrow)
    with pytest.raises(ConfigError, match="allows narrower ones"):
        stages.run_stages(run, "train-specialists")
    assert not run.path("train-generalist").exists()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n", [2, 3])
def test_specialists_of_common_classes_start_from_different_generalists(n, seed):
    rng = np.random.default_rng(seed)
    partitions = [rng.permutation(120) % 7 for _ in range(n)]
    subsets = [np.flatnonzero(labels == i).tolist() for labels in partitions for i in range(7)]
    assert assign_generalists(subsets, n) == [part for part in range(n) for _ in range(7)]
    grown = [sorted({*subset, *rng.integers(0, 120, 2).tolist()}) for subset in subsets]
    assert sorted(set(assign_generalists(grown, n))) == list(range(n))


def test_specialists_without_common_classes_are_spread_over_the_generalists():
    assert assign_generalists([[0, 1], [0, 1], [2], [2]], 2) in ([0, 1, 0, 1], [0, 1, 1, 0])


def test_a_narrower_specialist_cannot_start_from_its_generalist(tmp_path):
    from pipelines import stages

    run = small_run.changed_copy(
        small_run.make_run(tmp_path / "run"), tmp_path / "narrow", "specialists.widen=0.5"
    )
    with pytest.raises(ConfigError, match=r"specialists\.width"):
        stages.run_stages(run, "train-specialists")


def text_run(folder, *overrides):
    rng = np.random.default_rng(0)
    words = [f"{'abcdef'[i % 6]}{'xyz'[i % 3]}{rng.integers(100)}\t{i % 6}" for i in range(360)]
    folder.mkdir()
    (folder / "words.tsv").write_text("word\tkind\n" + "\n".join(words) + "\n", encoding="utf-8")
    values = {key: small_run.SETTINGS[key] for key in ("seed", "device", "precision")}
    values["data"] = {"table": str(folder / "words.tsv"), "text": "word", "label": "kind"}
    values["generalist"] = {"width": 8, "n_buckets": 64, "embedding_dim": 4, "epochs": 1}
    values["specialists"] = {"epochs": 1}
    values["clusters"] = {"n_clusters": 2}
    (folder / "config.toml").write_text(Config.from_dict(values).to_toml(), encoding="utf-8")
    config = Config.from_toml(folder / "config.toml", overrides)
    (folder / "config.toml").write_text(config.to_toml(), encoding="utf-8")
    return Run(folder)


def test_specialists_may_have_n_gram_tables_of_their_own_size(tmp_path):
    from pipelines import stages

    own = ("specialists.start=fresh", "specialists.freeze=[]", "specialists.n_buckets=16")
    run = text_run(tmp_path / "run", *own)
    stages.run_stages(run, "combine-predictions")
    specialist = load_specialist(run.path("train-specialists", "specialist-000"))
    assert specialist.network.state_dict()["embedding.weight"].shape == (16, 4)
    for other in ("specialists.start=generalist", "specialists.freeze=['embedding']"):
        with pytest.raises(ConfigError, match="n_buckets needs start = 'fresh' and freeze"):
            text_run(tmp_path / other, *own, other)


def test_a_network_without_a_table_cannot_have_a_size_of_it(tmp_path):
    from pipelines import stages

    own = ("specialists.start=fresh", "specialists.freeze=[]", "specialists.n_buckets=16")
    run = small_run.changed_copy(small_run.make_run(tmp_path / "run"), tmp_path / "table", *own)
    with pytest.raises(ConfigError, match="only networks for text have a table of n-grams"):
        stages.run_stages(run, "train-specialists")


@pytest.mark.parametrize("start", ["generalist", "fresh"])
def test_a_frozen_n_gram_table_is_neither_copied_nor_changed(tmp_path, start):
    run = text_run(tmp_path / "run", f"specialists.start={start}")
    settings = run.config.resolve("text").specialists
    spec = NetworkSpec("hashed_text", 6, (), width=8, embedding_dim=4, n_buckets=64)
    torch.manual_seed(0)
    network = build(spec).eval()
    lower, _ = split_frozen(network, ["embedding"])
    table = network.get_parameter("embedding.weight").detach().clone()
    for seed in (1, 2):
        torch.manual_seed(seed)
        upper, described = starting_network(network, spec, SMALL, settings, lower)
        assert described.width == 16
        assert not any("embedding" in name for name, _ in upper.named_parameters())
        nn.init.zeros_(upper.get_parameter("head.weight"))
    assert torch.equal(network.get_parameter("embedding.weight"), table)
    assert network.get_parameter("head.weight").any()
