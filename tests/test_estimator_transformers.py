"""SpecialistClassifier on a transformer of a folder, with adapters as its specialists."""

import pickle
import shutil

import numpy as np
import pytest
from tiny_bert import NAMES, bert_folder, texts

import specialists
from specialists import SpecialistClassifier
from specialists.config import Config
from specialists.errors import ConfigError, InputError
from specialists.feasibility import check_settings
from specialists.networks import adapters_of

pytest.importorskip("transformers")
pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore::specialists.errors.CalibrationWarning")

SETTINGS = {
    **{"device": "cpu", "precision": "float32"},
    "generalist": {"epochs": 8, "learning_rate": 3e-3},
    "clusters.n_clusters": 3,
    "specialists": {"adapter": "lora", "epochs": 1},
    "combination": {"n": [1], "weights": [1.0], "admission": "off"},
    "student": {"epochs": 1, "learning_rate": 3e-3, "temperatures": [2.0], "alphas": [0.7]},
}
NEW, TRUTH = texts(10, seed=1)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Fitted to texts of twelve classes; then the folder of the transformer is removed."""
    bert = str(bert_folder(tmp_path_factory.mktemp("bert"), layers=2))
    settings = {**SETTINGS, "generalist.pretrained": bert, "student.pretrained": bert}
    model = SpecialistClassifier(random_state=0, settings=settings).fit(*texts(24))
    shutil.rmtree(bert)
    return model


def test_texts_are_predicted_when_the_folder_is_gone(fitted):
    assert set(fitted.classes_) == set(NAMES)
    assert fitted.score(NEW, TRUTH) > 0.35  # a guess has 0.08
    for name in ("generalist_", "ensemble_", "student_"):
        model = getattr(fitted, name)
        assert model.preprocessing["tokenizer"]
        assert model.predict_proba(NEW).sum(1) == pytest.approx(np.ones(len(NEW)), abs=1e-5)


def test_its_specialists_are_adapters(fitted):
    assert len(fitted.specialists_) == 3
    assert all(adapters_of(one.network) is not None for one in fitted.specialists_)


def test_it_is_pickled_and_saved_without_the_folder(fitted, tmp_path):
    expected = fitted.predict_proba(NEW)
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict_proba(NEW), expected)
    fitted.save(tmp_path / "model")
    assert np.array_equal(specialists.load(tmp_path / "model").predict_proba(NEW), expected)


@pytest.mark.parametrize("key", ["generalist.pretrained", "data.tokenizer"])
def test_a_name_of_a_hub_is_told_how_it_becomes_a_folder(key):
    name = "nobody/bert-base-uncased"
    with pytest.raises(InputError) as error:
        SpecialistClassifier(settings={key: name}).fit(*texts(4))
    saving = f"from_pretrained('{name}').save_pretrained"
    for part in (key, "nothing is fetched from a hub", saving):
        assert part in str(error.value)
    with pytest.raises(ConfigError) as error:
        check_settings(Config.from_toml("emoji", [f"{key}={name}"]))
    assert saving in str(error.value)


def test_a_folder_that_is_gone_is_told_before_anything_is_trained(fitted):
    with pytest.raises(InputError, match="no such folder"):
        fitted.fit(*texts(4))
