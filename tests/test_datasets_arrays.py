"""Arrays: features and images, given and cut splits, encoding, and what is said of bad ones."""

import numpy as np
import pytest
import torch

from specialists.config import DataConfig
from specialists.datasets import Inputs, encode, load_dataset, read_unlabelled
from specialists.datasets.augmentation import drop_features
from specialists.errors import DataError


def tensor(inputs: Inputs) -> torch.Tensor:
    assert isinstance(inputs, torch.Tensor)
    return inputs


def features(n=120, d=5, classes=3, seed=0):
    generator = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return generator.normal(3.0, 2.0, (n, d)).astype(np.float32), y


def load(path, arrays, **settings):
    np.savez(path, **arrays)
    settings = {"admission_fraction": 0, **settings}
    return load_dataset(DataConfig(arrays=str(path), **settings), seed=0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.npz"


def test_features_are_standardised_with_training_rows_alone(path):
    x, y = features()
    dataset = load(path, {"x": x, "y": y})
    torch.testing.assert_close(
        tensor(dataset.train.inputs).mean(0), torch.zeros(5), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        tensor(dataset.train.inputs).std(0, correction=0), torch.ones(5), atol=1e-5, rtol=0
    )
    assert dataset.class_names == ("0", "1", "2")


def test_encoding_repeats_what_was_done_to_the_training_data(path):
    x, y = features()
    dataset = load(path, {"x": x, "y": y})
    encoded = {tuple(row) for row in tensor(encode(dataset.preprocessing, x.tolist())).tolist()}
    assert {tuple(row) for row in tensor(dataset.train.inputs).tolist()} <= encoded


@pytest.mark.parametrize("packed", [True, False])
def test_what_is_read_whole_and_does_not_fit_is_refused_with_its_cure(
    tmp_path, monkeypatch, packed
):
    x, y = features()
    arrays = str(tmp_path / "a.npz")
    np.savez(arrays, x=x, y=y)
    if not packed:
        arrays = {name: str(tmp_path / f"{name}.npy") for name in "xy"}
        np.save(arrays["x"], x)
        np.save(arrays["y"], y)
    room = "specialists.datasets.array_files.memory"
    monkeypatch.setattr(room, lambda: x.nbytes)
    load_dataset(DataConfig(arrays=arrays), 0)
    monkeypatch.setattr(room, lambda: x.nbytes - 1)
    told = r"does not fit into the memory(.|\n)*a batch at a time: data.arrays = {x = "
    with pytest.raises(DataError, match=told):
        load_dataset(DataConfig(arrays=arrays), 0)


def test_a_lack_of_memory_is_no_damage(path, monkeypatch):
    def refuse(*_, **__):
        raise MemoryError("Unable to allocate")

    x, y = features()
    np.savez(path, x=x, y=y)
    monkeypatch.setattr(np.lib.format, "read_array", refuse)
    with pytest.raises(DataError, match=r"does not fit(.|\n)*Unable to allocate"):
        load_dataset(DataConfig(arrays=str(path)), 0)


def test_large_inputs_that_are_read_whole_are_told(path, monkeypatch):
    x, y = features()
    monkeypatch.setattr("specialists.datasets.arrays.memory", lambda: 4 * x.nbytes)
    told = "are read whole; save inputs as .npy"
    assert told not in " ".join(load(path, {"x": x, "y": y}).notes)
    monkeypatch.setattr("specialists.datasets.arrays.memory", lambda: 4 * x.nbytes - 1)
    assert told in " ".join(load(path, {"x": x, "y": y}).notes)


def test_standardisation_can_be_left_out(path):
    x, y = features()
    dataset = load(path, {"x": x, "y": y}, standardize=False)
    assert {tuple(r) for r in tensor(dataset.test.inputs).tolist()} <= {
        tuple(r) for r in x.tolist()
    }


def test_a_constant_column_stays_finite(path):
    x, y = features()
    x[:, 2] = 7.0
    assert torch.isfinite(tensor(load(path, {"x": x, "y": y}).train.inputs)).all()


@pytest.mark.parametrize("dtype", ["U", "S"])
def test_string_labels_name_the_classes(path, dtype):
    x, y = features()
    labels = np.array(["cat", "ant", "bee"])[y].astype(dtype)
    dataset = load(path, {"x": x, "y": labels})
    assert dataset.class_names == ("ant", "bee", "cat")


def test_an_array_of_class_names_names_integer_labels(path):
    x, y = features()
    dataset = load(path, {"x": x, "y": y, "classes": np.array(["zero", "one", "two"])})
    assert dataset.class_names == ("zero", "one", "two")


def test_arrays_that_are_split_stay_so(path):
    x, y = features()
    arrays = {"x_train": x[:90], "y_train": y[:90], "x_test": x[90:], "y_test": y[90:]}
    dataset = load(path, arrays, standardize=False)
    assert torch.equal(tensor(dataset.test.inputs), torch.from_numpy(x[90:]))
    assert len(dataset.validation) == 9


@pytest.mark.parametrize("part", ["validation", "val", "valid", "Valid"])
@pytest.mark.parametrize("names", ["classes", "class_names", "target_names"])
def test_usual_names_of_arrays_are_known(path, part, names):
    x, y = features()
    arrays = {"x_train": x[:80], "y_train": y[:80], "x_test": x[90:], "y_test": y[90:]}
    arrays |= {f"x_{part}": x[80:90], f"y_{part}": y[80:90], names: np.array(["a", "b", "c"])}
    dataset = load(path, arrays)
    assert len(dataset.validation) == 10
    assert dataset.class_names == ("a", "b", "c")


@pytest.mark.filterwarnings("ignore:validation and test rows:specialists.errors.DataWarning")
def test_label_sets_of_training_do_not_see_the_test(path):
    x, y = features()
    arrays = {"x_train": x[:90], "y_train": y[:90], "x_test": x[:30], "y_test": (y[:30] + 1) % 3}
    dataset = load(path, arrays)
    assert dataset.train.valid is dataset.validation.valid is None
    assert dataset.test.valid is not None
    assert (dataset.test.valid.lengths == 2).all()


def test_keys_give_other_names(path):
    x, y = features()
    dataset = load(path, {"emb": x, "code": y, "x": x[:3]}, keys={"x": "emb", "y": "code"})
    assert len(dataset.train) > 80
    _, names = read_unlabelled(path, dataset.preprocessing)
    assert len(names) == 120


def test_an_array_sends_rows_to_the_test(path):
    x, y = features()
    drawer = np.arange(120) // 3 % 5
    settings = {"split_by": {"array": "drawer", "test": [3, 4], "validation": [0]}}
    dataset = load(path, {"x": x, "y": y, "drawer": drawer}, standardize=False, **settings)
    assert torch.equal(tensor(dataset.test.inputs), torch.from_numpy(x[drawer >= 3]))
    assert torch.equal(tensor(dataset.validation.inputs), torch.from_numpy(x[drawer == 0]))


def test_rows_with_equal_features_share_a_side_and_their_labels(path):
    x, y = features()
    x[60:] = x[:60]
    y[60:] = (y[:60] + 1) % 3
    dataset = load(path, {"x": x, "y": y}, standardize=False)
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.valid is not None
        assert (split.valid.lengths == 2).all()
    sides = [{tuple(r) for r in tensor(s.inputs).tolist()} for s in (dataset.train, dataset.test)]
    assert not sides[0] & sides[1]


@pytest.mark.parametrize(
    ("shape", "channels"), [((8, 6), 1), ((1, 8, 6), 1), ((3, 8, 6), 3), ((8, 6, 3), 3)]
)
def test_images_of_every_layout_become_channels_first(path, shape, channels):
    x = np.random.default_rng(0).integers(0, 256, (120, *shape), dtype=np.uint8)
    dataset = load(path, {"x": x, "y": np.arange(120) % 3})
    assert dataset.kind == "images"
    assert tuple(tensor(dataset.train.inputs).shape[1:]) == (channels, 8, 6)
    assert tensor(dataset.train.inputs).dtype == torch.uint8


def test_images_are_resampled_to_the_wanted_size(path):
    x = np.full((120, 8, 8), 90, dtype=np.uint8)
    x[:, 0, 0] = np.arange(120)
    dataset = load(path, {"x": x, "y": np.arange(120) % 3}, image_size=16)
    assert tuple(tensor(dataset.train.inputs).shape[1:]) == (1, 16, 16)
    assert int(tensor(dataset.train.inputs)[0, 0, 8, 8]) == 90


def test_what_is_wrong_with_new_rows_is_told_with_their_file(path, tmp_path):
    x, y = features()
    made = load(path, {"x": x, "y": y}).preprocessing
    new = tmp_path / "new.npy"
    for rows, place in ((np.full_like(x, np.nan), f"{new}\n"), (x[:, 1:], str(new))):
        np.save(new, rows)
        with pytest.raises(DataError, match=f"\n  where: {place}") as caught:
            read_unlabelled(new, made)
        assert str(caught.value).count("where:") == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused_with_their_place(path, bad):
    x, y = features()
    x[7, 2] = bad
    with pytest.raises(DataError, match=r"NaN or infinite(?s:.*)row 7, column 2"):
        load(path, {"x": x, "y": y})


def test_a_number_that_float32_does_not_hold_is_refused_with_the_largest_that_it_holds(path):
    x, y = features()
    x = x.astype(np.float64)
    x[7, 2] = 1e300
    with pytest.raises(DataError, match=r"first 1e\+300 in row 7(?s:.*)at most 3\.4e\+38"):
        load(path, {"x": x, "y": y})


def test_objects_are_refused_without_being_read(path):
    ragged = np.array([[1.0], [1.0, 2.0]], dtype=object)
    with pytest.raises(DataError, match=r"ragged or holds Python objects(?s:.*)'x'"):
        load(path, {"x": ragged, "y": np.arange(2)})


@pytest.mark.parametrize(
    ("change", "settings", "told"),
    [
        ({"y": np.zeros(5, int)}, {}, "do not fit together"),
        ({"y": np.linspace(0, 1, 120)}, {}, "neither whole numbers nor strings(?s:.*)row 1"),
        ({"x": np.zeros((120, 4, 4))}, {}, "images are not bytes"),
        ({"x": np.array([["a"] * 3] * 120)}, {}, "not numbers"),
        ({}, {"keys": {"x": "xx"}}, "no array 'xx'(?s:.*)'x'"),
        ({}, {"keys": {"inputs": "x"}}, "knows no 'inputs'"),
        ({}, {"split_by": {"array": "drawr", "test": [1]}}, "no array 'drawr'(?s:.*)'drawer'"),
        ({}, {"split_by": {"array": "drawer", "test": [99]}}, "no row has the values(?s:.*)99"),
        ({}, {"split_by": {"test": [1]}}, "split_by is not understood"),
        ({"classes": np.array(["only"])}, {}, "a label has no name"),
        ({}, {"exclude_labels": ("7",)}, "'7', which is no label"),
    ],
)
def test_bad_arrays_are_refused_with_the_reason(path, change, settings, told):
    x, y = features()
    with pytest.raises(DataError, match=told):
        load(path, {"x": x, "y": y, "drawer": np.arange(120) % 5, **change}, **settings)


def test_a_file_that_is_no_archive_is_refused(path):
    path.write_bytes(b"not an archive")
    with pytest.raises(DataError, match="no plain NumPy arrays"):
        load_dataset(DataConfig(arrays=str(path)), seed=0)


@pytest.mark.parametrize("raw", [[[1.0, 2.0]], [1.0] * 5, [[1.0, 2.0], [1.0]], [["a"] * 5]])
def test_new_features_of_another_form_are_refused(path, raw):
    x, y = features()
    preprocessing = load(path, {"x": x, "y": y}).preprocessing
    with pytest.raises(DataError, match="features"):
        encode(preprocessing, raw)


def test_dropped_features_are_zero_and_the_others_keep_the_expectation():
    features = torch.full((400, 50), 3.0)
    dropped = drop_features(features, torch.Generator().manual_seed(0), rate=0.25)
    assert set(dropped.unique().tolist()) == {0.0, 4.0}
    assert float(dropped.mean()) == pytest.approx(3.0, abs=0.05)
    again = drop_features(features, torch.Generator().manual_seed(0), rate=0.25)
    assert torch.equal(dropped, again)
    assert torch.equal(drop_features(features, torch.Generator(), rate=0.0), features)
