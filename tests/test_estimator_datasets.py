"""SpecialistClassifier given a Dataset of PyTorch: in memory, and read as it is needed."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from specialists import SpecialistClassifier
from specialists.errors import DataError
from specialists.files import read_tensors

RNG = np.random.default_rng(0)
CENTRES = RNG.normal(size=(6, 5)) * 3
Y = RNG.permutation(np.arange(360) % 6)
X = (CENTRES[Y] + RNG.normal(size=(360, 5))).astype(np.float32)
SETTINGS = {
    "device": "cpu",
    "precision": "float32",
    "generalist": {"width": 8, "epochs": 2, "batch_size": 32, "learning_rate": 0.03},
    "specialists": {"epochs": 1, "batch_size": 32},
    "student": {"width": 4, "epochs": 1, "batch_size": 32, "learning_rate": 0.03},
    "clusters.n_clusters": 2,
    "combination": {"n": [1], "weights": [1.0], "admission": "off"},
}
pytestmark = pytest.mark.filterwarnings("ignore:specialists were not tested")


class Read(Dataset):
    """Rows that are read a few at a time, and counted."""

    def __init__(self, x, y):
        self.x, self.y, self.reads, self.most = x, y, 0, 0

    def __len__(self):
        return len(self.y)

    def __getitems__(self, numbers):
        self.reads, self.most = self.reads + len(numbers), max(self.most, len(numbers))
        return [(self.x[i], self.y[i]) for i in numbers]

    def __getitem__(self, i):
        return self.__getitems__([i])[0]


def classifier(**settings):
    settings = {**SETTINGS, **settings}
    return SpecialistClassifier(random_state=0, settings=settings)


def weights(fitted):
    path = fitted._held.path("distill-student", "student", "weights.safetensors")
    return {name: tensor.tolist() for name, tensor in read_tensors(path).items()}


@pytest.fixture(scope="module")
def of_arrays():
    return classifier().fit(X, Y)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_dataset_trains_the_models_of_its_arrays(of_arrays, in_place, monkeypatch):
    for room in ("raw_rows", "fetched_rows"):  # blocks of 16 and of 32 rows
        monkeypatch.setattr(f"specialists.datasets.{room}.BLOCK_BYTES", 32 * 4 * 5)
    rows = Read(X, Y)
    fitted = classifier(data={"in_place": in_place}).fit(rows)
    assert (rows.reads > 3 * len(X)) == in_place
    assert rows.most <= 32  # never more than a batch or a block
    assert weights(fitted) == weights(of_arrays)
    assert fitted.n_features_in_ == 5
    assert fitted.classes_.tolist() == list(range(6))


def test_a_dataset_is_predicted_a_batch_at_a_time(of_arrays, monkeypatch):
    monkeypatch.setattr("specialists.datasets.fetched_rows.BLOCK_BYTES", 20 * 32)
    rows = Read(X, Y)
    np.testing.assert_allclose(of_arrays.predict_proba(rows), of_arrays.predict_proba(X), atol=1e-6)
    assert of_arrays.score(rows) == of_arrays.score(X, Y)
    loader = DataLoader(TensorDataset(torch.from_numpy(X)), batch_size=7, shuffle=True)
    assert (of_arrays.predict(loader) == of_arrays.predict(X)).all()


def test_validation_rows_may_be_a_dataset():
    half = Read(X[:240], Y[:240]), Read(X[240:], Y[240:])
    settings = {"data.in_place": True}
    fitted = classifier(**settings).fit(half[0], validation_data=half[1])
    expected = classifier().fit(X[:240], Y[:240], validation_data=(X[240:], Y[240:]))
    assert weights(fitted) == weights(expected)


def test_a_small_validation_dataset_is_read_as_the_large_one_is(monkeypatch):
    monkeypatch.setattr("specialists.datasets.object_rows.memory", lambda: 4 * 240 * 20 - 1)
    large, small = Read(X[:240], Y[:240]), Read(X[240:], Y[240:])
    fitted = classifier().fit(large, validation_data=small)
    assert large.reads > 3 * 240
    expected = classifier().fit(X[:240], Y[:240], validation_data=(X[240:], Y[240:]))
    assert weights(fitted) == weights(expected)


def test_a_dataset_of_hugging_face_is_learned_and_predicted(of_arrays):
    hugging_face = pytest.importorskip("datasets")
    columns = {"x": X.tolist(), "label": Y.tolist()}
    feature = hugging_face.ClassLabel(names=list("abcdef"))
    rows = hugging_face.Dataset.from_dict(columns).cast_column("label", feature)
    fitted = classifier(**{"data.in_place": True}).fit(rows)
    assert weights(fitted) == weights(of_arrays)
    assert fitted.predict(rows).tolist() == of_arrays.predict(X).tolist()
    assert fitted.score(rows) == of_arrays.score(X, Y)


@pytest.mark.parametrize("in_place", [True, False])
def test_names_of_a_class_label_are_those_of_the_classes(in_place):
    hugging_face = pytest.importorskip("datasets")
    names = ["zebra", "ant", "cat", "bee", "dog", "fox", "nobody"]
    rows = hugging_face.Dataset.from_dict({"x": X.tolist(), "label": Y.tolist()})
    rows = rows.cast_column("label", hugging_face.ClassLabel(names=names))
    own = SpecialistClassifier(
        random_state=0,
        settings={k: v for k, v in SETTINGS.items() if k != "clusters.n_clusters"}
        | {"data.in_place": in_place},
        clusters={"zebra": "a", "bee": "a", 1: "b", 2: "b"},
    )
    fitted = own.fit(rows)
    assert fitted.clusters_.class_names == tuple(names[:6])
    assert fitted.clusters_.classes == ((0, 3), (1, 2))
    assert fitted.student_.class_names == tuple(names[:6])
    assert fitted.classes_.tolist() == list(range(6))  # labels are what the dataset has
    assert set(fitted.predict(rows)) <= set(range(6))


def test_columns_of_probabilities_may_have_the_names_of_a_class_label():
    hugging_face = pytest.importorskip("datasets")
    names = ["zebra", "ant", "cat", "bee", "dog", "fox"]
    rows = hugging_face.Dataset.from_dict({"x": X.tolist(), "label": Y.tolist()})
    rows = rows.cast_column("label", hugging_face.ClassLabel(names=names))
    probs = LogisticRegression().fit(X[::2], Y[::2]).predict_proba(X)
    settings = {k: v for k, v in SETTINGS.items() if k != "generalist"}
    parameters = {"random_state": 0, "settings": settings, "model": "generalist"}
    frame = pd.DataFrame(probs, columns=names)[sorted(names)]
    fitted = SpecialistClassifier(**parameters).fit(rows, generalist_probs=frame)
    expected = SpecialistClassifier(**parameters).fit(X, Y, generalist_probs=probs)
    found = fitted.predict_proba(rows, frame)
    np.testing.assert_allclose(found, expected.predict_proba(X, probs), atol=1e-6)


def test_sample_weights_go_with_the_rows_of_a_dataset(of_arrays):
    counts = 1 + np.arange(len(X)) % 3
    fitted = classifier(**{"data.in_place": True}).fit(Read(X, Y), sample_weight=counts)
    expected = classifier().fit(X, Y, sample_weight=counts)
    assert weights(fitted) == weights(expected)
    assert weights(fitted) != weights(of_arrays)


def test_a_fitted_classifier_is_kept_without_the_rows(tmp_path):
    fitted = classifier(**{"data.in_place": True}).fit(Read(X, Y))
    again = pickle.loads(pickle.dumps(fitted))
    assert (again.predict(X) == fitted.predict(X)).all()
    unfitted = clone(fitted)
    assert isinstance(unfitted, BaseEstimator)
    assert unfitted.get_params()["settings"] == fitted.settings


def mapped(file, array):
    """The array, memory-mapped; with IN_PLACE_BYTES of 0 it is one that stays in its file."""
    np.save(file, array)
    return np.load(file, mmap_mode="r")


@pytest.fixture
def every_size(monkeypatch):
    monkeypatch.setattr("specialists.datasets.raw_rows.IN_PLACE_BYTES", 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_mapped_array_trains_the_models_of_its_rows_and_is_not_copied(
    of_arrays, dtype, tmp_path, every_size
):
    rows = mapped(tmp_path / "x.npy", X.astype(dtype))
    fitted = classifier().fit(rows, Y)
    assert weights(fitted) == weights(of_arrays)
    assert fitted.n_features_in_ == 5
    folder = fitted._held.path("prepare-data")
    assert not list(folder.glob("*.inputs.npy"))
    np.testing.assert_allclose(fitted.predict_proba(rows), fitted.predict_proba(X), atol=1e-6)
    with pytest.raises(ValueError, match="expecting 5 features"):
        fitted.predict(rows[:, :4])
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict(rows), fitted.predict(rows))


def test_a_small_mapped_array_is_held_unless_settings_say_otherwise(of_arrays, tmp_path):
    rows = mapped(tmp_path / "x.npy", X)
    for in_place in (None, True):
        fitted = classifier(**{"data.in_place": in_place}).fit(rows, Y)
        copied = list(fitted._held.path("prepare-data").glob("*.inputs.npy"))
        assert bool(copied) != bool(in_place)
        assert weights(fitted) == weights(of_arrays)


@pytest.mark.parametrize("in_file", [True, False])
@pytest.mark.parametrize("of", ["X", "X of validation_data"])
def test_a_number_that_is_not_finite_is_named_by_the_row_of_its_own_array(in_file, of, tmp_path):
    train, held_out = X[:240].copy(), X[240:].copy()
    (train if of == "X" else held_out)[7, 2] = np.nan
    rows = mapped(tmp_path / "x.npy", train) if in_file else train
    settings = {"data.in_place": True} if in_file else {}
    with pytest.raises(DataError, match=f"where: {of}\n.*row 7, column 2"):
        classifier(**settings).fit(rows, Y[:240], validation_data=(held_out, Y[240:]))


def test_a_label_that_is_missing_is_named_by_its_own_array():
    labels = [*Y[240:-1], None]
    with pytest.raises(DataError, match=f"y of validation_data(?s:.*)row {len(labels) - 1}"):
        classifier().fit(X[:240], Y[:240], validation_data=(X[240:], labels))


@pytest.mark.parametrize("in_file", [True, False])
def test_validation_rows_beside_a_mapped_array_are_read_like_it(in_file, tmp_path, every_size):
    counts = 1.0 + np.arange(120) % 2
    held_out = mapped(tmp_path / "v.npy", X[240:]) if in_file else X[240:].tolist()
    rows = mapped(tmp_path / "x.npy", X[:240])
    fitted = classifier().fit(rows, Y[:240], validation_data=(held_out, Y[240:], counts))
    expected = classifier().fit(X[:240], Y[:240], validation_data=(X[240:], Y[240:], counts))
    assert weights(fitted) == weights(expected)
    with pytest.raises(DataError, match=r"not like those of X(?s:.*)\(n, 5\)"):
        classifier().fit(rows, Y[:240], validation_data=(X[240:, :4], Y[240:]))


@pytest.mark.filterwarnings("ignore:the given predictions")
def test_a_given_generalist_and_weights_go_with_a_mapped_array(tmp_path, every_size):
    counts, generalist = 1 + np.arange(len(X)) % 3, LogisticRegression().fit(X[::2], Y[::2])
    parameters = {"generalist": generalist, "random_state": 0, "settings": SETTINGS}
    rows = mapped(tmp_path / "x.npy", X)
    fitted = SpecialistClassifier(**parameters).fit(rows, Y, counts)
    expected = SpecialistClassifier(**parameters).fit(X, Y, counts)
    assert weights(fitted) == weights(expected)
    assert np.array_equal(fitted.predict(rows), expected.predict(X))


def test_mapped_images_may_have_their_channels_last(tmp_path, every_size):
    images = RNG.integers(0, 256, (48, 6, 6, 3), dtype=np.uint8)
    settings = {**SETTINGS, "generalist": {"epochs": 1}, "student": {"epochs": 1}}
    rows, y = mapped(tmp_path / "x.npy", images), np.arange(48) % 4
    found = [
        SpecialistClassifier(random_state=0, settings=settings).fit(x, y) for x in (rows, images)
    ]
    assert weights(found[0]) == weights(found[1])
    assert np.array_equal(found[0].predict_proba(rows), found[0].predict_proba(images))


def test_what_was_learned_of_columns_before_is_forgotten(tmp_path, every_size):
    fitted = classifier().fit(pd.DataFrame(X, columns=list("abcde")), Y)
    assert fitted.feature_names_in_.tolist() == list("abcde")
    fitted.fit(mapped(tmp_path / "x.npy", X[:, :3]), Y)
    assert fitted.n_features_in_ == 3
    assert not hasattr(fitted, "feature_names_in_")


class Streamed(IterableDataset):
    def __iter__(self):
        return iter([])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((Streamed(),), "can only be iterated over"),
        ((Read(X, Y), Y), "labels beside a dataset"),
        ((Read(X, Y), None, np.arange(360) % 2), "weight 0"),
    ],
)
def test_what_a_dataset_cannot_do_is_told(arguments, told):
    with pytest.raises(DataError, match=told):
        classifier(**{"data.in_place": True}).fit(*arguments)


def test_validation_rows_beside_a_dataset_are_a_dataset():
    with pytest.raises(DataError, match="a dataset, as X is one"):
        classifier().fit(Read(X, Y), validation_data=(X, Y))


def test_a_given_generalist_is_asked_about_a_few_rows_at_a_time():
    generalist = LogisticRegression().fit(X[::2], Y[::2])
    settings = {"data.in_place": True}
    parameters = {"random_state": 0, "settings": {**SETTINGS, **settings}}
    fitted = SpecialistClassifier(generalist=generalist, **parameters).fit(Read(X, Y))
    parameters["settings"] = SETTINGS
    expected = SpecialistClassifier(generalist=generalist, **parameters).fit(X, Y)
    assert weights(fitted) == weights(expected)


class Keyed(Dataset):
    """Items with more keys than one could guess by."""

    def __len__(self):
        return len(Y)

    def __getitem__(self, i):
        return {"x": np.zeros(3, np.float32), "measured": X[i], "label": 0, "found": int(Y[i])}


def test_keys_of_items_are_those_of_the_settings_in_prediction_and_score_too(tmp_path):
    keys = {"x": "measured", "y": "found"}
    fitted = classifier(**{"data.keys": keys}).fit(Keyed())
    assert fitted.predict_proba(Keyed()).tolist() == fitted.predict_proba(X).tolist()
    assert fitted.score(Keyed()) == fitted.score(X, Y)
    fitted.save(tmp_path / "saved")
    again = SpecialistClassifier.load(tmp_path / "saved")
    assert again.score(Keyed()) == fitted.score(X, Y)
