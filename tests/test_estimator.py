"""The pipeline as an estimator: any labels and inputs, from memory to a folder and back."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import own_networks
import pandas as pd
import pytest
import scipy.sparse as sparse
import small_run
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from test_estimator_checks import QUICK
from torch import nn

import specialists
from specialists import SpecialistClassifier
from specialists.errors import ConfigError, DataError, DataWarning, InputError

SETTINGS = {**QUICK, "generalist.epochs": 12, "data.validation_fraction": 0.4}
X, Y = small_run.features(30, 2)
HERE = Path(__file__).parent
NEW, TRUTH = small_run.features(10, 3)

pytestmark = pytest.mark.filterwarnings(
    "ignore::specialists.errors.CalibrationWarning",
    "ignore:specialists were not tested:specialists.errors.DataWarning",
)


def classifier(**changes) -> SpecialistClassifier:
    given = {"settings": SETTINGS, "random_state": 0, **changes}
    return SpecialistClassifier(**given)


@pytest.fixture(scope="module")
def fitted():
    return classifier().fit(X, Y)


def test_an_import_loads_neither_torch_nor_scikit_learn():
    code = "import sys, specialists; print({'torch', 'sklearn'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_every_model_predicts_the_classes(fitted):
    assert fitted.classes_.tolist() == sorted(small_run.NAMES)
    assert fitted.score(NEW, TRUTH) > 0.5
    for model in (fitted.generalist_, fitted.ensemble_, fitted.student_):
        probs = model.predict_proba(NEW)
        assert probs.shape == (len(NEW), 12)
        assert np.allclose(probs.sum(1), 1, atol=1e-5)
    assert len(fitted.specialists_) == fitted.clusters_.n_clusters
    assert np.allclose(np.exp(fitted.predict_log_proba(NEW)), fitted.predict_proba(NEW))


@pytest.mark.parametrize("model", ["ensemble", "student", "generalist"])
def test_the_model_that_is_named_answers(fitted, model):
    answering = pickle.loads(pickle.dumps(fitted)).set_params(model=model)
    expected = getattr(fitted, f"{model}_").predict_proba(NEW)
    assert np.array_equal(answering.predict_proba(NEW), expected)


def test_refused_specialists_leave_the_generalist_and_say_why(fitted):
    admission = fitted.choice_.admission
    assert admission.n_rows > 20
    assert admission.in_words()
    alone = np.array_equal(fitted.predict_proba(NEW), fitted.generalist_.predict_proba(NEW))
    assert alone == (admission.outcome == "refused")


def test_two_fits_with_one_seed_are_equal_and_leave_random_numbers_alone(fitted):
    np.random.seed(3)
    torch.manual_seed(3)
    expected = np.random.RandomState(3).rand(), torch.rand(1, generator=torch.manual_seed(3))
    np.random.seed(3)
    torch.manual_seed(3)
    again = classifier(n_jobs=2).fit(X, Y)
    assert (np.random.rand(), torch.rand(1)) == expected
    assert np.array_equal(again.predict_proba(NEW), fitted.predict_proba(NEW))
    assert np.array_equal(again.student_.predict_proba(NEW), fitted.student_.predict_proba(NEW))


@pytest.mark.parametrize(
    "name",
    [
        lambda i: int(i) * 10 - 30,
        lambda i: bool(i % 2),
        lambda i: np.datetime64("2026-01-01") + int(i),
        lambda i: (1, int(i)),
        lambda i: [1, "1", " ", "b"][i % 4],
    ],
    ids=["numbers", "booleans", "dates", "tuples", "mixed"],
)
def test_labels_of_any_type_come_back(name):
    labels = [name(i) for i in np.unique(Y, return_inverse=True)[1]]
    model = classifier().fit(X, labels)
    found = model.predict(X[:40])
    assert set(found) <= set(labels)
    right = np.mean([a == b for a, b in zip(found, labels[:40], strict=True)])
    assert right > 0.4
    assert model.score(X[:40], labels[:40]) == pytest.approx(right)


def test_texts_in_any_form_give_the_same_model():
    words = [f"{y} {y} {'abc'[i % 3]}" for i, y in enumerate(Y)]
    settings = {
        **{k: v for k, v in SETTINGS.items() if not k.endswith("width")},
        "generalist.n_buckets": 256,
        "generalist.embedding_dim": 8,
        "student.n_buckets": 256,
    }
    model = classifier(settings=settings).fit(words, Y)
    assert model.score(words, Y) > 0.9
    assert not hasattr(model, "n_features_in_")
    expected = model.predict_proba(words[:5])
    series, frame = pd.Series(words[:5]), pd.DataFrame({"title": words[:5]})
    for form in (series, frame, np.array(words[:5]), tuple(words[:5])):
        assert np.array_equal(model.predict_proba(form), expected)
    assert model.predict([]).tolist() == []
    assert model.predict_proba(pd.Series([], dtype=object)).shape == (0, 12)
    with pytest.raises(DataError, match="another kind"):
        model.predict(X[:3])
    for missing in (None, np.nan, pd.NA):
        with pytest.raises(DataError, match="a text is not a string"):
            model.predict(pd.Series([missing, "a0"], dtype=object))
    with pytest.raises(DataError, match="no texts in a list"):
        model.predict(words[0])


def test_a_sparse_matrix_is_one_of_numbers():
    model = classifier().fit(sparse.csr_matrix(np.abs(X)), Y)
    expected = model.predict_proba(np.abs(NEW))
    assert np.array_equal(model.predict_proba(sparse.coo_array(np.abs(NEW))), expected)
    preprocessing = model.generalist_.preprocessing
    assert set(preprocessing["mean"]) == {0.0}
    assert len(set(preprocessing["std"])) == 1  # zeros stay zeros


def test_images_of_bytes_are_images():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 24)
    images = rng.integers(0, 60, (72, 8, 8), dtype=np.uint8)
    for i, label in enumerate(y):
        images[i, 2 * label : 2 * label + 3] += 150
    settings = {k: v for k, v in QUICK.items() if k != "specialists.width"}
    model = classifier(settings={**settings, "specialists.start": "generalist"})
    before = images.copy()
    model.fit(images, y)
    assert np.array_equal(images, before)
    assert model.score(images, y) > 0.7
    assert np.array_equal(model.predict(images[:9, None]), model.predict(images[:9]))


def test_images_may_come_in_a_list_or_as_tensors():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 6, 6, 3), dtype=np.uint8)
    settings = {"generalist.epochs": 1, "specialists.epochs": 1, "student.epochs": 1}
    y = torch.from_numpy(np.arange(30) % 3)
    model = classifier(settings=settings).fit([Image.fromarray(image) for image in images], y)
    assert model.classes_.tolist() == [0, 1, 2]
    expected = model.predict_proba(images)
    for form in (list(images), torch.from_numpy(images), torch.from_numpy(images.copy())):
        assert np.array_equal(model.predict_proba(form), expected)
    for told, given in {
        "one picture where several are wanted": images[0],
        "pictures of different shapes": [images[0], images[0, :5]],
        "Found array with 0 sample": [],
    }.items():
        with pytest.raises(ValueError, match=told):
            model.predict(given)
    with pytest.raises(ValueError, match="images are not bytes"):
        model.fit(images / 255, y)


def test_columns_of_a_data_frame_are_known_by_name(fitted):
    frame = pd.DataFrame(X, columns=list("abcdef"))
    model = classifier().fit(frame, Y)
    assert model.feature_names_in_.tolist() == list("abcdef")
    assert np.array_equal(model.predict_proba(frame), fitted.predict_proba(X))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[list("bacdef")])
    with pytest.raises(DataError, match="ColumnTransformer"):
        model.fit(frame.assign(a="x"), Y)


def test_it_is_a_part_of_pipelines_and_searches():
    frame = pd.DataFrame(X, columns=list("abcdef")).assign(c=np.where(X[:, 2] > 0, "x", "y"))
    columns = ColumnTransformer(
        [("numbers", StandardScaler(), list("abdef")), ("words", OneHotEncoder(), ["c"])]
    )
    piped = make_pipeline(columns, clone(classifier()))
    assert piped.fit(frame, Y).score(frame, Y) > 0.5
    search = GridSearchCV(classifier(), {"model": ["student", "generalist"]}, cv=2)
    assert search.fit(X, Y).best_params_ == {"model": "generalist"}
    settings = [{**SETTINGS, "generalist.epochs": epochs} for epochs in (1, 12)]
    search = GridSearchCV(classifier(), {"settings": settings}, cv=2)
    assert search.fit(X, Y).best_params_ == {"settings": settings[1]}


@pytest.mark.parametrize("key", ["settings__generalist.epochs", "settings__generalist__epochs"])
def test_a_search_may_change_one_key_of_the_settings(key):
    search = GridSearchCV(classifier(), {key: [1, 12]}, cv=2).fit(X, Y)
    assert search.best_params_ == {key: 12}
    assert search.best_estimator_.settings == SETTINGS
    assert search.cv_results_["mean_test_score"][0] < search.best_score_
    piped = make_pipeline(classifier(settings={"generalist": {"epochs": 3, "width": 2}}))
    piped.set_params(**{f"specialistclassifier__{key}": 5})
    assert piped.get_params()["specialistclassifier__settings"] == {
        "generalist": {"width": 2},
        "generalist.epochs": 5,
    }
    assert SpecialistClassifier().set_params(**{key: 5}).settings == {"generalist.epochs": 5}
    with pytest.raises(ConfigError, match=r"did you mean `generalist\.epochs`"):
        classifier().set_params(settings__generalist__epoch=3).fit(X, Y)
    with pytest.raises(ValueError, match="Invalid parameter 'epochs'"):
        classifier().set_params(epochs=3)


def test_cross_validation_runs_in_processes():
    scores = cross_val_score(classifier(), X, Y, cv=2, n_jobs=2)
    assert scores.min() > 0.4


def test_a_pickle_predicts_where_the_first_is_gone(fitted):
    first = classifier(model="student").fit(X, Y)
    folder, content = first._held.folder, pickle.dumps(first)
    del first
    assert not folder.exists()
    again = pickle.loads(pickle.dumps(pickle.loads(content)))
    assert np.array_equal(again.predict_proba(NEW), fitted.student_.predict_proba(NEW))
    assert np.array_equal(again.ensemble_.predict_proba(NEW), fitted.predict_proba(NEW))
    with pytest.raises(InputError, match="needs the data"):
        again.report("nowhere")


@pytest.mark.parametrize(
    "labels", [Y, np.array(Y, dtype=object), np.unique(Y, return_inverse=True)[1]]
)
def test_a_saved_classifier_comes_back_from_plain_files(labels, tmp_path):
    saved = classifier().fit(pd.DataFrame(X, columns=list("abcdef")), labels)
    saved.save(tmp_path / "model")
    saved.save(tmp_path / "model")
    loaded = specialists.load(tmp_path / "model")
    assert isinstance(loaded, SpecialistClassifier)
    assert loaded.get_params() == saved.get_params()
    frame = pd.DataFrame(NEW, columns=list("abcdef"))
    assert np.array_equal(loaded.predict(frame), saved.predict(frame))
    assert loaded.classes_.dtype == saved.classes_.dtype
    student = specialists.load(tmp_path / "model", "student")
    assert np.array_equal(student.predict_proba(NEW), saved.student_.predict_proba(NEW))
    assert not list((tmp_path / "model").rglob("*train*.npy"))


def test_a_folder_of_somebody_else_is_not_written_to(fitted, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="nothing is written there"):
        fitted.save(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_report_measures_the_rows_that_no_model_was_chosen_on(tmp_path):
    settings = {**SETTINGS, "evaluation.n_bootstrap": 20, "evaluation.baselines": []}
    model = classifier(settings=settings).fit(X, Y)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="a report needs a folder"):
        model.report(tmp_path / "file")
    page = model.report(tmp_path / "out").read_text(encoding="utf-8")
    assert "no test split" in page
    assert (tmp_path / "out" / "evaluation.json").is_file()
    assert model.score(NEW, TRUTH) > 0.5


def test_given_validation_rows_train_nobody():
    held = classifier(settings=QUICK).fit(X, Y, validation_data=(NEW, TRUTH))
    rows = held._held.path("prepare-data")
    lengths = [
        len(np.load(rows / f"{part}.labels.npy")) for part in ("train", "validation", "admission")
    ]
    assert lengths[0] == len(X)
    assert sum(lengths[1:]) == len(NEW)
    with pytest.raises(InputError, match="labels of validation_data that y does not hold"):
        classifier().fit(X, Y, validation_data=(NEW, ["?"] * len(NEW)))


@pytest.mark.filterwarnings("default:specialists were not tested")
def test_classes_of_one_row_stay_in_and_a_warning_says_that_nothing_was_tested():
    y = np.array([*"aaaaaaaaaabbbbbbbbbb", "c", "d"])
    with pytest.warns(DataWarning, match="specialists were not tested"):
        model = classifier().fit(X[:22], y)
    assert model.classes_.tolist() == list("abcd")
    assert model.choice_.admission.outcome == "refused"
    with pytest.warns(DataWarning, match="specialists were not tested"):
        model.fit(X[:3], list("abc"))
    assert model.predict_proba(X[:2]).shape == (2, 3)


def network(n_classes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(small_run.DIM, 16), nn.ReLU(), nn.Linear(16, n_classes))


FREE = {
    k: v
    for k, v in SETTINGS.items()
    if k not in ("generalist.width", "generalist.dropout", "specialists.width")
}


@pytest.mark.parametrize(
    "given", [network, lambda n_classes: network(n_classes)], ids=["named", "lambda"]
)
def test_a_callable_builds_the_network(given, tmp_path):
    model = classifier(network=given, settings={**FREE, "specialists.start": "generalist"})
    model.fit(X, Y)
    assert model.score(NEW, TRUTH) > 0.4
    if given is not network:
        with pytest.raises(InputError, match="cannot hold this network's function"):
            model.save(tmp_path / "model")
        return
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict_proba(NEW), model.predict_proba(NEW))
    model.save(tmp_path / "model")
    with pytest.raises(InputError, match="nobody vouches"):
        specialists.load(tmp_path / "model").predict(NEW)
    loaded = specialists.load(tmp_path / "model", trust_code=True)
    assert np.array_equal(loaded.predict_proba(NEW), model.predict_proba(NEW))


def test_a_network_may_be_named(fitted):
    named = classifier(network="mlp").fit(X, Y)
    assert np.array_equal(named.predict_proba(NEW), fitted.predict_proba(NEW))
    found = classifier(network="own_networks:cosine", settings=FREE).fit(X, Y)
    assert found.generalist_.network is not None
    assert isinstance(found.generalist_.network.get_submodule("2"), own_networks.CosineHead)


class Gated(nn.Module):
    """Its head is not the last layer of its size, in the order of its attributes."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.out, self.gate = (nn.Linear(small_run.DIM, n_classes) for _ in range(2))

    def forward(self, x):
        return self.out(x * self.gate(x).sigmoid().mean(-1, keepdim=True))


def test_the_head_of_a_network_is_named_in_the_settings():
    with pytest.raises(InputError, match="does not end in its head"):
        classifier(network=Gated, settings=FREE).fit(X, Y)
    settings = {**FREE, "generalist.head": "out", "specialists.start": "generalist"}
    model = classifier(network=Gated, settings=settings).fit(X, Y)
    for specialist in model.specialists_:
        sizes = [getattr(specialist.network, name).out_features for name in ("out", "gate")]
        assert sizes == [len(specialist.subset) + 1, 12]


def convolutional(n_classes: int) -> nn.Module:
    head = nn.Conv2d(4, n_classes, 1)
    return nn.Sequential(Bytes(), nn.Conv2d(1, 4, 3), head, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Bytes(nn.Module):
    def forward(self, x):
        return x.float() / 255


def test_the_head_of_a_network_may_be_a_convolution():
    images = np.random.default_rng(0).integers(0, 256, (60, 6, 6), dtype=np.uint8)
    settings = {"generalist.epochs": 1, "specialists": {"epochs": 1, "start": "generalist"}}
    settings |= {"student.epochs": 1, "data.augment": False}
    model = classifier(network=convolutional, settings=settings).fit(images, np.arange(60) % 5)
    for specialist in model.specialists_:
        head = specialist.network.get_submodule("2")
        assert isinstance(head, nn.Conv2d)
        assert head.out_channels == len(specialist.subset) + 1


def test_a_fit_is_silent_unless_it_is_asked_to_tell():
    code = """if True:
        import small_run
        from test_estimator import SETTINGS
        from specialists import SpecialistClassifier
        x, y = small_run.features(30, 2)
        for verbose in (0, 1):
            print(verbose, flush=True)
            SpecialistClassifier(settings=SETTINGS, random_state=0, verbose=verbose).fit(x, y)
    """
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE)
    silent, _, told = done.stdout.partition("1\n")
    assert silent == "0\n"
    assert "train-generalist: done" in told + done.stderr


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"settings": {"specialists.epoch": 3}}, "epoch"),
        ({"settings": {"data.table": "x.tsv"}}, "exactly one source"),
        ({"settings": {"data.test_fraction": 0.3}}, "data.test_fraction"),
        ({"model": "teacher"}, "no such model"),
        ({"network": 3}, "no network"),
        ({"network": "resnet"}, "generalist.model"),
        ({"settings": ["generalist.epochs=3"]}, "settings is not understood"),
    ],
)
def test_a_mistake_is_told_before_anything_is_trained(changes, match):
    with pytest.raises(ConfigError, match=match):
        classifier(**changes).fit(X, Y)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT, np.datetime64("NaT")], ids=str)
def test_a_missing_label_is_told_with_its_row(missing):
    labels = np.array([np.datetime64("2026-01-01")] * 5 + [missing] + [1] * 4, dtype=object)
    if isinstance(missing, np.datetime64):
        labels = labels[:6].astype("datetime64[D]")
    with pytest.raises(DataError, match=r"NaN or None(?s:.*)5"):
        classifier().fit(X[: len(labels)], labels)


def test_who_is_not_fitted_says_so():
    with pytest.raises(NotFittedError):
        classifier().report("nowhere")
    assert not hasattr(classifier(), "student_")
