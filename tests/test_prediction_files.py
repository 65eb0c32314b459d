"""A file of predicted probabilities: which column is of which class, which row of which row?"""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from specialists.config import DataConfig
from specialists.datasets import load_dataset
from specialists.datasets.base import Dataset
from specialists.errors import InputError
from specialists.networks import (
    attach_predictions,
    column_of_each,
    flattery,
    predictions_of_new,
)
from specialists.networks.prediction_files import matched_columns

NAMES = ["ant", "bee", "cat"]
N = 90
X = np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32)
Y = np.array(NAMES)[np.arange(N) % 3]
PROBS = np.random.default_rng(1).dirichlet(np.ones(3), size=N)
SETTINGS = {"min_examples": 2, "validation_fraction": 0.3, "test_fraction": 0.3}


def dataset_of(folder, suffix="npz", **changes: Any) -> Dataset:
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "label": Y})
    source = {"table": str(folder / f"data.{suffix}")}
    if suffix == "npz":
        np.savez(folder / "data.npz", x=X, y=Y)
        source = {"arrays": str(folder / "data.npz")}
    elif suffix == "parquet":
        frame.to_parquet(folder / "data.parquet")
    else:
        frame.loc[[3, 50], "label"] = ""
        frame.to_csv(folder / "data.csv", index=False)
    return load_dataset(DataConfig(**source, **{**SETTINGS, **changes}), seed=0)


def saved(folder, **arrays: Any):
    np.savez(folder / "probs.npz", **arrays)
    return folder / "probs.npz"


def check(dataset: Dataset, attached: Dataset, probs: np.ndarray = PROBS) -> None:
    """Every row has the probabilities of the row of the source that it is."""
    values = torch.tensor(X)
    mean, std = (np.array(dataset.preprocessing[key], np.float32) for key in ("mean", "std"))
    for split in attached.splits.values():
        assert isinstance(split.inputs, torch.Tensor)
        raw = split.inputs * torch.tensor(std) + torch.tensor(mean)
        row = torch.cdist(raw, values).argmin(1)
        assert split.predictions is not None
        assert np.allclose(split.predictions.exp(), probs[row], atol=1e-5)


@pytest.mark.parametrize("suffix", ["npz", "parquet", "csv"])
def test_one_matrix_has_the_rows_of_the_data_in_their_order(tmp_path, suffix):
    dataset = dataset_of(tmp_path, suffix)
    np.save(tmp_path / "probs.npy", PROBS)
    check(dataset, attach_predictions(dataset, tmp_path / "probs.npy", NAMES))
    check(dataset, attach_predictions(dataset, saved(tmp_path, probs=np.log(PROBS))))


@pytest.mark.parametrize(("kind", "first", "suffix"), [("row", 0, "csv"), ("line", 2, "csv")])
def test_rows_in_another_order_are_known_by_their_number(tmp_path, kind, first, suffix):
    order = np.random.default_rng(2).permutation(N)
    dataset = dataset_of(tmp_path, suffix)
    file = saved(tmp_path, probs=PROBS[order], **{kind: order + first})
    check(dataset, attach_predictions(dataset, file))
    lacking = saved(tmp_path, probs=PROBS[order][:80], **{kind: order[:80] + first})
    with pytest.raises(InputError, match=rf"rows of the data have no predictions(.|\n)*{kind}"):
        attach_predictions(dataset, lacking)
    twice = saved(tmp_path, probs=PROBS, **{kind: np.zeros(N, int)})
    with pytest.raises(InputError, match=f"predictions of one {kind} stand twice"):
        attach_predictions(dataset, twice)


def test_lines_are_those_of_text_files_alone(tmp_path):
    with pytest.raises(InputError, match="these data have no line to be known by"):
        attach_predictions(dataset_of(tmp_path), saved(tmp_path, probs=PROBS, line=np.arange(N)))


def test_a_table_of_a_language_model_names_its_columns(tmp_path):
    frame = pd.DataFrame(PROBS[::-1], columns=NAMES)[["cat", "ant", "bee"]]
    frame = frame.assign(row=np.arange(N)[::-1], answer="cat", prompt="which?")
    frame.to_parquet(tmp_path / "probs.parquet")
    dataset = dataset_of(tmp_path)
    attached = attach_predictions(dataset, tmp_path / "probs.parquet")
    check(dataset, attached)
    assert any("not used: answer, prompt" in note for note in attached.notes)


def test_splits_are_those_of_the_run_or_those_of_the_data(tmp_path):
    dataset = dataset_of(tmp_path)
    parts: dict[str, Any] = {n: PROBS[s.positions] for n, s in dataset.splits.items()}
    check(dataset, attach_predictions(dataset, saved(tmp_path, **parts)))
    with pytest.raises(InputError, match=r"another number of rows(.|\n)*admission"):
        attach_predictions(dataset, saved(tmp_path, **{**parts, "test": PROBS}))
    cut = {"x_train": X[:70], "y_train": Y[:70], "x_test": X[70:], "y_test": Y[70:]}
    np.savez(tmp_path / "parts.npz", **cut)
    config = DataConfig(arrays=str(tmp_path / "parts.npz"), **SETTINGS)
    in_parts = load_dataset(config, seed=0)
    given = {"train": PROBS[:70], "test": PROBS[70:]}
    check(in_parts, attach_predictions(in_parts, saved(tmp_path, **given)))
    np.save(tmp_path / "probs.npy", PROBS)
    check(in_parts, attach_predictions(in_parts, tmp_path / "probs.npy"))


def test_images_are_known_by_their_paths(tmp_path):
    from PIL import Image

    names = [f"{label}/{i}.png" for label in NAMES[:2] for i in range(12)]
    for i, name in enumerate(names):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 10 * i).save(tmp_path / "images" / name)
    dataset = load_dataset(DataConfig(images=str(tmp_path / "images"), **SETTINGS), seed=0)
    probs = np.random.default_rng(1).dirichlet(np.ones(2), size=len(names))
    order = np.random.default_rng(2).permutation(len(names))
    file = saved(tmp_path, probs=probs[order], path=np.array(names)[order])
    attached = attach_predictions(dataset, file)
    assert attached.train.texts is not None
    rows = [names.index(text) for text in attached.train.texts]
    assert attached.train.predictions is not None
    assert np.allclose(attached.train.predictions.exp(), probs[rows], atol=1e-5)
    np.save(tmp_path / "sorted.npy", probs[[names.index(name) for name in sorted(names)]])
    in_order = attach_predictions(dataset, tmp_path / "sorted.npy", NAMES[:2])
    assert in_order.train.predictions is not None
    assert torch.allclose(in_order.train.predictions, attached.train.predictions)


def test_columns_in_another_order_are_matched_by_the_names_of_classes(tmp_path):
    dataset, order = dataset_of(tmp_path), [2, 0, 1]
    classes = np.array(NAMES)[order]
    in_file = attach_predictions(dataset, saved(tmp_path, probs=PROBS[:, order], classes=classes))
    check(dataset, in_file)
    (tmp_path / "classes.txt").write_text("\n".join(classes))
    check(dataset, attach_predictions(dataset, saved(tmp_path, probs=PROBS[:, order])))
    given = attach_predictions(dataset, saved(tmp_path, probs=PROBS), NAMES)
    check(dataset, given)
    assert any("matched with the classes by name (generalist.classes)" in n for n in given.notes)


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (["ant", "bee", "dog"], "missing: 'cat'; unknown: 'dog'"),
        (["ant", "bee", "cat", "dog"], "unknown: 'dog'"),
        (["ant", "bee"], "missing: 'cat'"),
    ],
)
def test_other_classes_are_refused(tmp_path, classes, told):
    probs = np.full((N, len(classes)), 1 / len(classes))
    with pytest.raises(InputError, match=rf"of other classes than the data(.|\n)*{told}"):
        attach_predictions(dataset_of(tmp_path), saved(tmp_path, probs=probs, classes=classes))


def spoilt(row: int, values: Any) -> np.ndarray:
    probs = PROBS.copy()
    probs[row] = values
    return probs


@pytest.mark.parametrize(
    ("probs", "told"),
    [
        (spoilt(7, np.nan), "no probabilities: missing numbers"),
        (spoilt(7, [1.2, 0.4, -0.6]), "no probabilities: negative numbers"),
        (spoilt(7, [0.2, 0.4, 0.1]), "no probabilities: rows that do not add up to 1(.|\n)*row 7"),
        (np.ones((N, 3), dtype=bool), "probabilities are numbers"),
        (PROBS.astype(str), "probabilities are numbers"),
        (PROBS[:, :2], "not a probability for each row and class"),
        (PROBS[:40], "another number of rows(.|\n)*90, one for each row"),
        (np.array([{}] * N), "holds Python objects"),
    ],
)
def test_what_is_no_probability_is_refused_in_one_message(tmp_path, probs, told):
    np.save(tmp_path / "probs.npy", probs)
    dataset = dataset_of(tmp_path)
    with pytest.raises(InputError, match=told):
        attach_predictions(dataset, tmp_path / "probs.npy", NAMES)


def test_an_archive_of_other_arrays_is_refused(tmp_path):
    with pytest.raises(InputError, match="which array holds the probabilities"):
        attach_predictions(dataset_of(tmp_path), saved(tmp_path, first=PROBS, second=PROBS))


def test_new_rows_are_in_their_order_or_numbered(tmp_path):
    order = np.random.default_rng(2).permutation(5)
    plain = predictions_of_new(saved(tmp_path, probs=PROBS[:5]), NAMES, 5)
    numbered = predictions_of_new(saved(tmp_path, probs=PROBS[order], row=order), NAMES, 5)
    assert torch.equal(plain, numbered)
    with pytest.raises(InputError, match=r"another number of rows(.|\n)*6, one for each input"):
        predictions_of_new(saved(tmp_path, probs=PROBS[:5]), NAMES, 6)


def test_rows_that_a_model_knows_by_heart_are_told(tmp_path):
    dataset, known = dataset_of(tmp_path), PROBS.copy()
    train = np.asarray(dataset.train.positions)
    known[train] = np.eye(3)[train % 3]
    told = flattery(attach_predictions(dataset, saved(tmp_path, probs=known)))
    assert told is not None
    assert "Cross-fitted ones tell" in told
    assert flattery(attach_predictions(dataset, saved(tmp_path, probs=PROBS))) is None


def test_columns_without_names_are_those_of_numbered_classes():
    assert matched_columns(None, "probs.npy", ["1", "0"])[0] == [1, 0]
    with pytest.raises(InputError, match="more than once: 'a'"):
        column_of_each(["a", "a", "b"], ["a", "b"])
