"""Whole runs: a transformer from a folder, adapters as specialists, a transformer as student."""

import shutil

import numpy as np
import pytest
import torch
from small_run import changed_copy, create_run
from tiny_bert import NAMES, bert_folder, text_table, texts, without

import specialists
from pipelines import stages, train_specialists
from pipelines.combine_predictions import open_ensemble
from pipelines.context import RunContext
from pipelines.distill_student import spec_of_size
from pipelines.train_specialists import load_specialists
from pipelines.trained_models import load
from specialists.config import Config
from specialists.datasets.base import Ragged
from specialists.errors import InputError
from specialists.files import read_json, read_tensors
from specialists.networks import adapters_of, n_parameters, own_parameters

pytest.importorskip("transformers")
pytest.importorskip("peft")

SETTINGS = {
    "seed": 5,
    "device": "cpu",
    "precision": "float32",
    "threads": 1,
    "jobs": 1,
    "generalist": {"epochs": 8, "learning_rate": 3e-3},
    "clusters": {"n_clusters": 3},
    "specialists": {"adapter": "lora", "epochs": 2},
    "combination": {"n": [1], "weights": [1.0], "admission": "off"},
    "student": {"epochs": 1, "learning_rate": 3e-3, "temperatures": [2.0], "alphas": [0.7]},
    "evaluation": {"n_bootstrap": 20},
}


def run_of(folder, bert, **changes):
    """A run on texts of twelve classes, up to its student."""
    values = {name: dict(v) if isinstance(v, dict) else v for name, v in SETTINGS.items()}
    values["data"] = {"table": str(text_table(folder / "texts.tsv", 30))}
    values["generalist"]["pretrained"] = values["student"]["pretrained"] = str(bert)
    for name, section in changes.items():
        values[name] = {**values[name], **section}
    return create_run(folder / "run", Config.from_dict(values))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with two layers, whose folder of the transformer is gone."""
    folder = tmp_path_factory.mktemp("transformers")
    run = run_of(folder, bert_folder(folder / "bert", layers=2))
    stages.run_stages(run, "distill-student")
    shutil.rmtree(folder / "bert")
    return run


@pytest.mark.parametrize("model", ["generalist", "ensemble", "student"])
def test_a_run_predicts_texts_when_the_folder_is_gone(finished, model):
    rows, labels = texts(20, seed=1)
    probs = specialists.load(finished.folder, model=model).predict_proba(rows)
    predicted = np.array(NAMES)[probs.argmax(1)]
    assert probs.sum(1) == pytest.approx(np.ones(len(rows)), abs=1e-5)
    if model != "student":  # which is trained for an epoch
        assert (predicted == np.array(labels)).mean() > 0.35  # a guess has 0.08


def test_specialists_of_a_run_store_only_what_is_their_own(finished):
    context = RunContext.open(finished.folder)
    ensemble = open_ensemble(context)
    generalist = n_parameters(ensemble.upper)
    for i, specialist in enumerate(ensemble.specialists):
        folder = finished.path("train-specialists", f"specialist-{i:03d}")
        assert adapters_of(specialist.network) is not None
        own = own_parameters(specialist.network)
        assert read_json(folder / "model.json")["parameters"] == own < generalist / 10
        assert 4 * own < (folder / "weights.safetensors").stat().st_size < 4 * own + 2000
    costs = read_json(finished.path("combine-predictions", "costs.json"))
    own = sum(own_parameters(s.network) for s in ensemble.specialists)
    assert costs["ensemble_all"]["parameters"] == costs["generalist"]["parameters"] + own


def test_an_ensemble_costs_what_it_computes_above_the_trunk(finished):
    context = RunContext.open(finished.folder)
    ensemble = open_ensemble(context)
    sample = context.dataset.validation.inputs
    generalist, each = ensemble.flops(sample)
    trained = read_json(finished.path("train-generalist", "result.json"))
    assert generalist == pytest.approx(trained["inference_flops"], rel=1e-6)
    assert bool((each < 0.65 * generalist).all())
    assert bool((each > 0.35 * generalist).all())


def test_specialists_of_a_run_are_read_alone_as_in_the_ensemble(finished):
    context = RunContext.open(finished.folder)
    ensemble, alone = open_ensemble(context), load_specialists(context)
    features = ensemble.features(context.dataset.validation.inputs)
    for ours, theirs in zip(ensemble.specialists, alone, strict=True):
        assert torch.equal(ours.log_probs(features), theirs.log_probs(features))


def test_features_on_the_disk_are_those_of_the_trunk(finished):
    from pipelines.trunk_files import load_trunk

    context = RunContext.open(finished.folder)
    trunk = load_trunk(context)
    assert not trunk.on_the_fly
    ensemble = open_ensemble(context)
    again = ensemble.features(context.dataset.train.inputs)
    assert isinstance(trunk.train, Ragged)
    assert isinstance(again, Ragged)
    torch.testing.assert_close(trunk.train.values, again.values)
    assert torch.equal(trunk.train.offsets, again.offsets)


def test_specialists_are_trained_above_a_trunk_that_has_no_room_on_the_disk(
    finished, tmp_path, monkeypatch
):
    monkeypatch.setattr("specialists.trunk.MOST_BYTES", 1000)
    run = changed_copy(finished, tmp_path / "run")
    for folder in run.path("train-specialists").iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)
    train_specialists.execute(run)
    assert not run.path("train-specialists", "trunk", "train.npy").exists()
    for i in range(3):
        file = f"train-specialists/specialist-{i:03d}/weights.safetensors"
        ours, theirs = (read_tensors(one.path(file)) for one in (run, finished))
        for name in theirs:
            torch.testing.assert_close(ours[name], theirs[name], atol=1e-4, rtol=1e-3)


def test_adapters_that_are_trained_two_at_a_time_are_the_same(finished, tmp_path):
    run = changed_copy(finished, tmp_path / "run", jobs=2)
    assert run.jobs == 2
    for folder in run.path("train-specialists").glob("specialist-*"):
        shutil.rmtree(folder)
    train_specialists.execute(run)
    for i in range(3):
        file = f"train-specialists/specialist-{i:03d}/weights.safetensors"
        assert (run.path(file)).read_bytes() == finished.path(file).read_bytes()


def test_a_finished_run_is_done_when_the_folder_is_gone_and_says_what_it_lacks(finished, tmp_path):
    run = changed_copy(finished, tmp_path / "run")
    reasons = {stage.name: stage.reason for stage in stages.status(run)}
    assert "generalist.pretrained" in reasons["train-generalist"] or reasons["prepare-data"]
    with pytest.raises(InputError, match="no such"):
        stages.run_stages(run, "train-generalist", force=["train-generalist"])


def test_a_folder_is_taken_as_it_is_with_its_outputs_in_the_order_of_the_classes(tmp_path):
    bert = bert_folder(tmp_path / "bert", names=tuple(reversed(NAMES)))
    run = run_of(tmp_path, bert, generalist={"weights": str(bert)})
    with pytest.warns(match="near chance"):
        stages.run_stages(run, "train-generalist")
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(str(bert)).eval()
    row = torch.tensor([[2, 6, 9, 3]])
    theirs = model(input_ids=row).logits.softmax(1).flip(1).argmax()
    ours = load(run.folder, "generalist", False).predict_proba(["w1 w4"])
    assert int(ours.argmax()) == int(theirs)


def test_a_head_of_other_classes_is_refused_as_it_is(tmp_path):
    bert = bert_folder(tmp_path / "bert", names=("strange", *NAMES[1:]))
    run = run_of(tmp_path, bert, generalist={"weights": str(bert)})
    with pytest.raises(InputError, match="no output for 1 of the data's 12 classes"):
        stages.run_stages(run, "train-generalist")


def test_a_student_of_n_grams_learns_from_a_transformer_by_its_tokens(finished, tmp_path):
    run = changed_copy(finished, tmp_path / "run", "student.pretrained=", "student.width=8")
    assert spec_of_size(RunContext.open(run.folder)).model == "hashed_text"


def test_without_a_tokenizer_nothing_starts(tmp_path):
    bert = without(bert_folder(tmp_path / "bert"), "tokenizer.json")
    with pytest.raises(InputError, match="holds no tokenizer"):
        stages.run_stages(run_of(tmp_path, bert), "prepare-data")
