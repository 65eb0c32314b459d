"""Networks of a user's own through the whole pipeline, whatever they take and return."""

import numpy as np
import own_networks
import pytest
import small_run
import torch

import specialists
from pipelines.runs import Run
from pipelines.stages import run_stages
from specialists import SpecialistClassifier
from specialists.config import Config
from specialists.files import EVERYTHING, read_array, read_json

TOKENS = {"tensors": ["input_ids", "attention_mask"]}


def settings(**changes) -> dict:
    """The small run's, without what only networks that ship have."""
    values = {**small_run.SETTINGS, **changes}
    own = {"factory": "own_networks:tokens", "epochs": 6}
    values["generalist"] = {**values["generalist"], **own}
    for key in ("width", "depth", "dropout"):
        values["generalist"].pop(key, None)
    values["student"] = {k: v for k, v in values["student"].items() if k != "width"}
    return values


def token_run(folder, **changes) -> Run:
    arrays = own_networks.write_tokens(folder.parent / "tokens.npz")
    data = {"arrays": str(arrays), **TOKENS}
    run = small_run.create_run(folder, Config.from_dict(settings(data=data, **changes)))
    return Run(run.folder, trust=EVERYTHING)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Run:
    run = token_run(tmp_path_factory.mktemp("tokens") / "run")
    with run.lock():
        run_stages(run)
    return run


def test_token_ids_by_name_go_through_every_stage(finished):
    models = read_json(finished.folder / "evaluation.json")["models"]
    assert models["generalist"]["top1"] > 0.4
    assert models["generalist"]["inference_flops"] == 2 * 16 * own_networks.N_CLASSES
    stored = read_array(finished.path("prepare-data", "test.inputs.npy"))
    assert stored.dtype["input_ids"].subdtype == (np.dtype(np.int64), (own_networks.LENGTH,))


@pytest.mark.parametrize("model", ["generalist", "ensemble", "student"])
def test_models_of_token_ids_predict_new_rows(finished, model):
    x, _ = own_networks.token_rows(10, 2)
    predictor = specialists.load(finished.folder, model, trust_code=True)
    probs = predictor.predict_proba(x)
    if model == "ensemble":
        stored = read_array(finished.path("combine-predictions", "test.ensemble.npy"))
        np.testing.assert_allclose(probs, np.exp(stored), atol=1e-6)
    tensors = {key: torch.from_numpy(value) for key, value in x.items()}
    np.testing.assert_array_equal(predictor.predict_proba(tensors), probs)


def test_an_estimator_takes_arrays_by_name():
    x, y = own_networks.token_rows(30, 1)
    short = {"generalist.epochs": 8, "generalist.learning_rate": 0.05, "specialists.epochs": 1}
    held_out = own_networks.token_rows(10, 2)
    classifier = SpecialistClassifier(own_networks.tokens, random_state=0, settings=short)
    classifier.fit(x, y, validation_data=held_out)
    assert classifier.predict_proba(x).shape == (360, 12)
    assert (classifier.predict(held_out[0]) == held_out[1]).mean() > 0.4
