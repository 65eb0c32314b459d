"""Datasets of PyTorch and of Hugging Face as a source of rows."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
)

from specialists.config import Config, DataConfig
from specialists.datasets import load_dataset, load_dataset_folder, save_dataset
from specialists.datasets.dataset_objects import UNPACKED
from specialists.datasets.factory import handing_over
from specialists.datasets.fetched_rows import FetchedRows
from specialists.datasets.object_rows import encode_objects
from specialists.errors import ConfigError, DataError, InputError
from specialists.files import EVERYTHING, Trust, trusting

RNG = np.random.default_rng(0)
X = RNG.normal(3, 2, (300, 4)).astype(np.float32)
Y = np.arange(300) % 3
NAMES = np.array(["ant", "bee", "cat"])[Y]
TENSORS = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
FACTORY = "objects_in_memory:rows"


class Listed(Dataset):
    """Items from a list; how often each was read is counted."""

    def __init__(self, items):
        self.items, self.reads = list(items), Counter()

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        self.reads[i] += 1
        return self.items[i]


class Batched(Listed):
    """Items that are read a batch at a time."""

    def __getitems__(self, numbers):
        self.reads["batches"] += 1
        return [self.items[i] for i in numbers]


class Streamed(IterableDataset):
    def __iter__(self):
        return iter([])


def load(rows, **settings):
    settings = {"admission_fraction": 0, **settings}
    return load_dataset(DataConfig(**settings), seed=0, rows=rows)


def load_factory(rows, **settings):
    settings = {"admission_fraction": 0, "factory": FACTORY, **settings}
    with handing_over({FACTORY: lambda: rows}):
        return load_dataset(DataConfig(**settings), seed=0)


def whole(split) -> torch.Tensor:
    inputs = split.inputs[torch.arange(len(split))]
    assert isinstance(inputs, torch.Tensor)
    return inputs


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """The same rows by way of a file."""
    path = tmp_path_factory.mktemp("arrays") / "a.npz"
    np.savez(path, x=X, y=Y)
    config = DataConfig(arrays=str(path), admission_fraction=0)
    return load_dataset(config, seed=0)


PAIRS = list(zip(X, Y, strict=True))
FORMS = {
    "tensors": TENSORS,
    "pairs of arrays": Listed(PAIRS),
    "pairs of tensors": Listed([(torch.from_numpy(x), torch.tensor(y)) for x, y in PAIRS]),
    "lists of numbers": Listed([[x.tolist(), int(y)] for x, y in PAIRS]),
    "mappings": Listed([{"y": int(y), "x": x} for x, y in PAIRS]),
    "batches": Batched(PAIRS),
    "a subset": Subset(Subset(TENSORS, range(300)), list(range(300))),
    "joined": ConcatDataset([Listed(PAIRS[:100]), Listed(PAIRS[100:])]),
    "a loader": DataLoader(TENSORS, batch_size=7, shuffle=True),
}


@pytest.mark.parametrize("in_place", [None, True])
@pytest.mark.parametrize("rows", FORMS.values(), ids=FORMS)
def test_every_form_of_a_dataset_gives_the_rows_of_an_array(arrays, rows, in_place):
    found = load(rows, in_place=in_place)
    assert isinstance(found.train.inputs, FetchedRows) == bool(in_place)
    assert found.class_names == arrays.class_names
    assert found.preprocessing["mean"] == arrays.preprocessing["mean"]
    for name, split in arrays.splits.items():
        assert whole(found.splits[name]).equal(split.inputs)
        assert found.splits[name].labels.equal(split.labels)


def test_a_loader_is_told_to_be_ignored():
    assert UNPACKED in load(DataLoader(TENSORS, batch_size=7)).notes


def test_labels_and_small_inputs_are_read_once():
    rows = Listed(PAIRS)
    load(rows)
    del rows.reads[0]  # the first one says what items are
    assert set(rows.reads.values()) == {1}


def test_inputs_that_are_larger_than_a_part_of_memory_are_read_when_they_are_needed(monkeypatch):
    rows = Listed(PAIRS)
    monkeypatch.setattr("specialists.datasets.object_rows.memory", lambda: 4 * X.nbytes - 1)
    dataset = load(rows, standardize=False)
    rows.reads.clear()
    asked = dataset.train.inputs[torch.tensor([5, 2, 5])]
    numbers = dataset.train.rows[torch.tensor([5, 2, 5])]  # type: ignore[index]
    assert isinstance(asked, torch.Tensor)
    assert asked.equal(torch.from_numpy(X)[numbers])
    assert sum(rows.reads.values()) == 3


def test_batches_are_asked_for_at_once():
    rows = Batched(PAIRS)
    dataset = load(rows, in_place=True)
    rows.reads.clear()
    dataset.train.inputs[torch.arange(100)]
    assert rows.reads == {"batches": 1}


def test_splits_are_taken_by_their_names():
    rows = {
        "Train": Listed(PAIRS[:200]),
        "dev": Listed(PAIRS[200:240]),
        "test": Listed(PAIRS[240:]),
    }
    for in_place in (None, True):
        dataset = load(rows, in_place=in_place, standardize=False)
        parts = [(dataset.train, 0), (dataset.validation, 200), (dataset.test, 240)]
        for split, start in parts:
            assert whole(split).equal(torch.from_numpy(X[start : start + len(split)]))


def pictures(n=60):
    return RNG.integers(0, 256, (n, 3, 6, 5), dtype=np.uint8)


def test_pictures_of_every_kind_are_the_same_bytes():
    x = pictures()
    as_images = [Image.fromarray(np.moveaxis(p, 0, -1)) for p in x]
    forms = [
        torch.from_numpy(x),
        torch.from_numpy(x).float() / 255,
        np.moveaxis(x, 1, -1),
        as_images,
    ]
    settings = {"min_examples": 4, "in_place": True}
    found = [load(Listed(zip(form, Y, strict=False)), **settings) for form in forms]
    for dataset in found:
        assert dataset.kind == "images"
        assert whole(dataset.train).equal(torch.from_numpy(x)[dataset.train.rows])


def test_arrays_of_two_axes_are_grey_pictures():
    x = pictures()[:, 0]
    dataset = load(Listed(zip(x, Y, strict=False)), min_examples=4, in_place=True)
    assert whole(dataset.train).equal(torch.from_numpy(x[dataset.train.rows, None]))


@pytest.mark.parametrize("in_place", [None, True])
def test_paths_are_pictures_of_the_size_of_the_first(tmp_path, in_place):
    x, paths = pictures(), [tmp_path / f"{i}.png" for i in range(60)]
    for picture, path in zip(x, paths, strict=True):
        Image.fromarray(np.moveaxis(picture, 0, -1)).save(path)
    rows = Listed(zip(paths, Y, strict=False))
    dataset = load(rows, min_examples=4, in_place=in_place)
    assert whole(dataset.train).equal(torch.from_numpy(x[dataset.train.rows]))
    paths[0].write_bytes(b"none")
    with pytest.raises(DataError, match=r"unreadable(.|\n)*0\.png"):
        load(rows, min_examples=4)


@pytest.mark.parametrize("in_place", [None, True])
def test_pictures_without_colour_are_grey(in_place):
    images = [Image.fromarray(p[0]).convert("RGB") for p in pictures()]
    settings = {"min_examples": 4, "in_place": in_place, "image_size": 8}
    dataset = load(Listed(zip(images, Y, strict=False)), **settings)
    assert whole(dataset.train).shape[1:] == (1, 8, 8)


def test_texts_are_kept_as_n_grams():
    texts = [f"{name} {i}" for i, name in enumerate(NAMES)]
    dataset = load(Listed({"text": t, "label": n} for t, n in zip(texts, NAMES, strict=True)))
    assert (dataset.kind, dataset.class_names) == ("text", ("ant", "bee", "cat"))
    assert dataset.train.texts is not None
    assert set(dataset.train.texts) <= set(texts)


def test_classes_of_a_dataset_name_its_labels():
    rows = Listed(PAIRS)
    rows.classes = ["ant", "bee", "cat"]  # type: ignore[attr-defined]
    for named in (rows, Subset(rows, range(300))):
        assert load(named).class_names == ("ant", "bee", "cat")


def test_labels_that_are_names_need_none():
    rows = Listed(zip(X, NAMES, strict=True))
    rows.classes = ["bee", "ant", "cat"]  # type: ignore[attr-defined]
    dataset = load(rows)
    assert dataset.class_names == ("ant", "bee", "cat")
    assert dataset.train.labels.tolist() == Y[dataset.train.rows].tolist()


BAD = {
    "iterable": (Streamed(), "can only be iterated over"),
    "a loader of an iterable": (DataLoader(Streamed()), "can only be iterated over"),
    "empty": (Listed([]), "without rows"),
    "no dataset": ([1, 2], "no dataset"),
    "triples": (Listed([(1, 2, 3)] * 9), "items of another form"),
    "no label": (Listed([{"a": X[0], "b": 1}] * 9), "no label among the keys"),
    "two inputs": (Listed([{"a": X[0], "b": X[0], "label": 1}] * 9), "no input among the keys"),
    "no training rows": ({"validation": Listed(PAIRS)}, "no split to train on"),
    "a split": ({"train": Listed(PAIRS), "unsupervised": Listed(PAIRS)}, "splits of another name"),
    "other lengths": (Listed([(X[0], 0), (X[0][:2], 1)] * 50), "row 1"),
    "other types": (Listed([*PAIRS[:9], (np.array(["1"] * 4), 1)]), "row 9"),
    "scalars": (Listed([(1.0, 0)] * 9), "inputs of another form"),
    "not finite": (Listed([*PAIRS[:77], (X[0] * np.nan, 1)]), "row 77"),
    "normalised": (Listed([(RNG.normal(size=(3, 4, 4)), 0)] * 50), "beyond 0 to 1"),
    "mixed texts": (Listed([("a", 0), (X[0], 1)] * 50), "not a string"),
}


@pytest.mark.parametrize(("rows", "told"), BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_told_with_its_cure(rows, told):
    with pytest.raises(DataError, match=told):
        load(rows)


def test_a_number_that_is_not_finite_is_named_by_its_row_in_any_block(monkeypatch):
    monkeypatch.setattr("specialists.datasets.raw_rows.BLOCK_BYTES", 8 * 4 * 10)
    with pytest.raises(DataError, match="row 77, column 0"):
        load(Listed([*PAIRS[:77], (X[0] * np.nan, 1), *PAIRS[77:]]))


def test_keys_of_items_may_be_named():
    rows = Listed([{"a": x, "b": x + 1, "kind": y} for x, y in PAIRS])
    dataset = load(rows, keys={"x": "b", "y": "kind"}, standardize=False)
    assert whole(dataset.train).equal(torch.from_numpy(X[dataset.train.rows] + 1))


def test_a_source_beside_rows_is_refused():
    with pytest.raises(DataError, match="exactly one source"):
        load(TENSORS, name="emoji")


def test_a_factory_may_return_a_dataset(arrays, tmp_path):
    dataset = load_factory(Listed(PAIRS), in_place=True)
    assert whole(dataset.test).equal(arrays.test.inputs)
    save_dataset(dataset, tmp_path / "saved")
    assert not list((tmp_path / "saved").glob("*.inputs.npy"))
    with handing_over({FACTORY: lambda: Listed(PAIRS)}), trusting(EVERYTHING):
        again = load_dataset_folder(tmp_path / "saved", test_labels=True)
    assert whole(again.test).equal(arrays.test.inputs)


def test_large_rows_of_a_factory_are_copied_where_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("specialists.datasets.object_rows.memory", lambda: 4 * X.nbytes - 1)
    for in_place in (False, None):
        folder = tmp_path / str(in_place)
        save_dataset(load_factory(Listed(PAIRS), in_place=in_place), folder)
        assert (folder / "train.inputs.npy").is_file() == (in_place is False)


def test_a_factory_that_takes_the_seed_is_trusted_as_its_configuration_names_it(tmp_path):
    seeds = []

    def rows(seed, n):
        seeds.append(seed)
        return Listed(PAIRS[:n])

    data = {"factory": FACTORY, "options": {"n": 240}, "in_place": True}
    with (
        handing_over({FACTORY: rows}),
        trusting(Trust.from_config(Config.from_dict({"data": data}))),
    ):
        save_dataset(load_dataset(DataConfig(**data), seed=7), tmp_path)
        load_dataset_folder(tmp_path)
    assert seeds == [7, 7]


def test_no_function_runs_for_a_folder_that_nobody_vouches_for(tmp_path):
    save_dataset(load_factory(Listed(PAIRS), in_place=True), tmp_path)
    called = []
    refused = pytest.raises(InputError, match="nobody vouches for it")
    with handing_over({FACTORY: lambda: called.append(1)}), refused:
        load_dataset_folder(tmp_path)
    assert called == []


def test_rows_that_no_function_gives_are_copied(tmp_path):
    dataset = load(Listed(PAIRS), in_place=True)
    save_dataset(dataset, tmp_path)
    assert whole(load_dataset_folder(tmp_path).train).equal(whole(dataset.train))
    assert (tmp_path / "train.inputs.npy").is_file()


def test_a_factory_that_returns_another_thing_is_told_what_it_may_return():
    with pytest.raises(DataError, match="returned something else"):
        load_factory([1, 2])


def test_settings_of_rows_have_no_effect_on_a_data_set_that_is_made(arrays):
    with pytest.raises(ConfigError, match=r"data\.min_examples has no effect"):
        load_factory(arrays, min_examples=3)


KEYED = Listed({"numbers": x, "label": 0} for x in X)


@pytest.mark.parametrize("rows", [TENSORS, Listed(X), Listed(zip(X, strict=True)), KEYED])
def test_new_inputs_need_no_labels(arrays, rows):
    encoded = encode_objects(rows, arrays.preprocessing)
    assert isinstance(encoded, FetchedRows)
    mean, std = (torch.tensor(arrays.preprocessing[key]) for key in ("mean", "std"))
    torch.testing.assert_close(encoded[:], (torch.from_numpy(X) - mean) / std)


def test_new_inputs_of_another_kind_are_refused(arrays):
    with pytest.raises(DataError, match="items of another form"):
        encode_objects(Listed([(x, 0, 1) for x in X]), arrays.preprocessing)
    with pytest.raises(DataError, match="of another kind"):
        encode_objects(Listed(["a", "b"]), arrays.preprocessing)


def test_a_dataset_of_hugging_face_is_read_by_its_columns():
    hugging_face = pytest.importorskip("datasets")
    feature = hugging_face.ClassLabel(names=["ant", "bee", "cat"])
    columns = {"text": [f"{name} {i}" for i, name in enumerate(NAMES)], "label": Y.tolist()}
    texts = hugging_face.Dataset.from_dict(columns).cast_column("label", feature)
    assert load(texts).class_names == ("ant", "bee", "cat")
    numbers = hugging_face.Dataset.from_dict({"x": X.tolist(), "y": Y.tolist()})
    for form in (numbers, numbers.with_format("torch"), numbers.with_format("numpy")):
        dataset = load(hugging_face.DatasetDict({"train": form}), in_place=True, standardize=False)
        assert whole(dataset.train).equal(torch.from_numpy(X)[dataset.train.rows])
    with pytest.raises(DataError, match="can only be iterated over"):
        load(numbers.to_iterable_dataset())
