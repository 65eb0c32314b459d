"""New inputs: what training took is taken in any form, and the rest is refused by name."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import sparse
from torch.nn import functional as F

from specialists import predictor as predictors
from specialists.datasets import encode
from specialists.datasets.encoding import encode_images
from specialists.errors import InputError
from specialists.predictions import DensePredictions, Predictions
from specialists.predictor import Predictor

TEXT = {
    "kind": "text",
    "char_ngrams": [1, 2],
    "word_ngrams": [0, 0],
    "lowercase": False,
    "column": "words",
}
FEATURES = {"kind": "features", "n_features": 3, "mean": [1.0, 2.0, 3.0], "std": [1.0, 2.0, 4.0]}
NAMED = {**FEATURES, "features": ["a", "b", "c"]}
GREY = {"kind": "images", "channels": 1, "height": 4, "width": 5}
COLOUR = {**GREY, "channels": 3}
NAMES = tuple("pqrstuv")


def summed(inputs) -> Predictions:
    """Log-probabilities [n, 7] that tell inputs apart."""
    if hasattr(inputs, "row"):
        sums = torch.stack([inputs.row(i).double().sum() for i in range(len(inputs))])
    else:
        sums = inputs.double().flatten(1).sum(1)
    logits = torch.cos(sums[:, None] * torch.arange(1, 8)).float()
    return DensePredictions(F.log_softmax(logits, dim=1))


def predictor(preprocessing) -> Predictor:
    return Predictor(NAMES, preprocessing, summed)


WORDS = ["mardi", "jeudi", "", "mar di"]
AS_WORDS = {
    "a list": WORDS,
    "a tuple": tuple(WORDS),
    "a generator": (word for word in WORDS),
    "the values of a dict": dict(enumerate(WORDS)).values(),
    "a Series": pd.Series(WORDS, index=[3, 1, 1, 7]),
    "a Series of categories": pd.Series(WORDS, dtype="category"),
    "a Series of strings": pd.Series(WORDS, dtype="string"),
    "an Index": pd.Index(WORDS),
    "an array": np.array(WORDS),
    "an array of objects": np.array(WORDS, dtype=object),
    "a DataFrame of one column": pd.DataFrame({"x": WORDS}),
    "a DataFrame with training's column": pd.DataFrame({"id": range(4), "words": WORDS}),
}


@pytest.mark.parametrize("form", AS_WORDS)
def test_texts_are_taken_in_any_form_a_row_for_each(form):
    model = predictor(TEXT)
    found = model.predict_proba(AS_WORDS[form])
    assert found.shape == (4, 7)
    if form != "a generator":  # which is spent
        np.testing.assert_array_equal(found, model.predict_proba(list(WORDS)))


ROWS = np.array([[1.0, 2.0, 3.0], [4.0, 0.0, -1.0]])
AS_ROWS = {
    "lists": ROWS.tolist(),
    "a list of arrays": list(ROWS),
    "a list of tensors": list(torch.tensor(ROWS)),
    "integers": ROWS.astype(int),
    "float16": ROWS.astype(np.float16),
    "a column-major array": np.asfortranarray(ROWS),
    "a read-only array": np.broadcast_to(ROWS, ROWS.shape),
    "an unmasked array": np.ma.masked_array(ROWS),
    "a tensor": torch.tensor(ROWS),
    "a tensor in training": torch.tensor(ROWS, requires_grad=True),
    "bfloat16": torch.tensor(ROWS, dtype=torch.bfloat16),
    "a DataFrame": pd.DataFrame(ROWS),
    "nullable numbers": pd.DataFrame(ROWS).astype("Float64"),
}


@pytest.mark.parametrize("form", AS_ROWS)
def test_features_are_taken_in_any_form(form):
    model = predictor(FEATURES)
    expected = model.predict_proba(ROWS)
    np.testing.assert_allclose(model.predict_proba(AS_ROWS[form]), expected, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_tensors_on_a_gpu_are_taken():
    model = predictor(FEATURES)
    found = model.predict_proba(torch.tensor(ROWS).cuda())
    np.testing.assert_array_equal(found, model.predict_proba(ROWS))


def test_columns_are_found_by_the_names_that_training_used_whatever_their_order():
    table = pd.DataFrame(ROWS, columns=["a", "b", "c"])
    shuffled = table.assign(id=["x", "y"])[["c", "id", "a", "b"]]
    model = predictor(NAMED)
    np.testing.assert_array_equal(model.predict_proba(shuffled), model.predict_proba(ROWS))


def test_rows_of_a_table_one_by_one_are_its_rows():
    table = pd.DataFrame(ROWS, columns=["a", "b", "c"])
    expected = predictor(NAMED).predict_proba(table)
    for rows in (table, table.set_axis(range(3), axis=1)):
        found = predictor(NAMED).predict_proba([row for _, row in rows.iterrows()])
        np.testing.assert_array_equal(found, expected)


def pictures(shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


PIXELS = pictures((3, 4, 5, 3))
AS_PICTURES = {
    "channels last": PIXELS,
    "channels first": PIXELS.transpose(0, 3, 1, 2),
    "a tensor": torch.tensor(PIXELS),
    "a list of arrays": list(PIXELS),
    "a list of tensors": [torch.tensor(p).permute(2, 0, 1) for p in PIXELS],
    "images of Pillow": [Image.fromarray(p) for p in PIXELS],
    "a mixture": [PIXELS[0], Image.fromarray(PIXELS[1]), PIXELS[2].transpose(2, 0, 1)],
    "an array of objects": np.array([*map(Image.fromarray, PIXELS), None], dtype=object)[:3],
}


@pytest.mark.parametrize("form", AS_PICTURES)
def test_pictures_are_taken_in_any_form(form):
    found = encode_images(COLOUR, AS_PICTURES[form])
    assert torch.equal(found, torch.tensor(PIXELS).permute(0, 3, 1, 2))


@pytest.mark.parametrize("form", ["paths", "strings", "an array of strings", "a Series", "mixed"])
def test_paths_are_taken_in_any_form(form, tmp_path):
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for file, picture in zip(files, PIXELS, strict=True):
        Image.fromarray(picture).save(file)
    names = [str(file) for file in files]
    forms = {
        "paths": files,
        "strings": names,
        "an array of strings": np.array(names),
        "a Series": pd.Series(names),
        "mixed": [files[0], names[1], PIXELS[2]],
    }
    assert torch.equal(encode_images(COLOUR, forms[form]), torch.tensor(PIXELS).permute(0, 3, 1, 2))


def test_pictures_of_different_sizes_are_resampled_one_by_one():
    given = [pictures((4, 5)), pictures((9, 7)), pictures((12, 6))]
    found = encode_images(GREY, given)
    assert found.shape == (3, 1, 4, 5)
    for i, picture in enumerate(given):
        assert torch.equal(found[i], encode_images(GREY, picture[None])[0])


def test_a_grey_image_of_pillow_is_taken_without_a_warning():
    given = pictures((4, 5))  # warnings are errors here
    assert torch.equal(encode_images(GREY, [Image.fromarray(given)])[0, 0], torch.tensor(given))


def test_grey_pictures_as_wide_as_a_picture_has_channels_are_many():
    given = pictures((6, 4, 3))
    assert encode_images({**GREY, "width": 3}, given).shape == (6, 1, 4, 3)


def test_it_is_shown_in_a_line():
    assert repr(predictor(FEATURES)) == (
        "<Predictor of 7 classes (p, q, r, s, t and 2 more) from features>"
    )
    asks = Predictor(NAMES[:2], TEXT, summed, asks=True)
    assert repr(asks) == "<Predictor of 2 classes (p, q) from text, asks for generalist_probs>"


@pytest.mark.parametrize("preprocessing", [TEXT, FEATURES, GREY, COLOUR])
def test_no_inputs_give_no_rows(preprocessing):
    assert predictor(preprocessing).predict_proba([]).shape == (0, 7)


class Unfinished:
    """Something that stands for one of many types nobody thought of."""


REFUSED = {
    "one string": (TEXT, "mardi", "[text]"),
    "bytes": (TEXT, b"mardi", "bytes"),
    "a dict": (TEXT, {"words": WORDS}, "dict"),
    "a set": (TEXT, set(WORDS), "set"),
    "None": (TEXT, None, "NoneType"),
    "a number": (TEXT, 3, "int 3"),
    "an object": (TEXT, Unfinished(), "Unfinished"),
    "a missing text": (TEXT, ["mardi", None, None], "input 1, and 1 more"),
    "NaN": (TEXT, pd.Series(["mardi", np.nan]), "float nan"),
    "pandas' NA": (TEXT, pd.Series(["mardi", None], dtype="string"), "input 1"),
    "bytes in a list": (TEXT, ["mardi", b"jeudi"], "decode bytes"),
    "an array of bytes": (TEXT, np.array([b"mardi"]), "input 0"),
    "nested lists": (TEXT, [["mardi"], ["jeudi"]], "input 0, and 1 more"),
    "numbers": (TEXT, [1, 2], "int 1"),
    "a matrix of strings": (TEXT, np.array([WORDS]), "shape (1, 4)"),
    "a DataFrame without the column": (TEXT, pd.DataFrame({"a": WORDS, "b": WORDS}), "'words'"),
    "a DataFrame with the column twice": (
        TEXT,
        pd.DataFrame([["x", "y"]], columns=["words", "words"]),
        "several columns",
    ),
    "one row of features": (FEATURES, ROWS[0], "pass [x]"),
    "one row in a list": (FEATURES, [1.0, 2.0, 3.0], "pass [x]"),
    "a Series of features": (FEATURES, pd.Series(ROWS[0]), "pass [x]"),
    "too few features": (FEATURES, ROWS[:, :2], "[n, 3]"),
    "three axes": (FEATURES, ROWS[None], "[n, 3]"),
    "strings for features": (FEATURES, ["1", "2"], "not numbers"),
    "a string in a row": (FEATURES, [[1.0, 2.0, 3.0], [1.0, "x", 3.0]], "features are not"),
    "None in a row": (FEATURES, [[1.0, 2.0, 3.0], [1.0, None, 3.0]], "'None' in row 1"),
    "rows of different lengths": (FEATURES, [[1.0, 2.0, 3.0], [1.0]], "different lengths"),
    "a missing feature": (FEATURES, [[1.0, np.nan, 3.0]], "row 0, column 1"),
    "a missing nullable feature": (
        FEATURES,
        pd.DataFrame({"a": [1, None], "b": 2, "c": 3}).astype("Int64"),
        "row 1, column 0",
    ),
    "complex features": (FEATURES, ROWS * 1j, "not numbers"),
    "masked features": (FEATURES, np.ma.masked_array(ROWS, ROWS > 3), "filled"),
    "a sparse matrix": (FEATURES, sparse.csr_matrix(ROWS), "toarray"),
    "a sparse tensor": (FEATURES, torch.tensor(ROWS).to_sparse(), "to_dense"),
    "a dict of features": (FEATURES, {"a": [1.0]}, "dict"),
    "a list of dicts": (FEATURES, [{"a": 1.0}], "not numbers"),
    "a DataFrame of strings": (FEATURES, pd.DataFrame({"a": ["x"], "b": 1, "c": 2}), "'a'"),
    "a DataFrame without a column": (NAMED, pd.DataFrame({"a": [1], "b": 1, "d": 2}), "no 'c'"),
    "a DataFrame with a column twice": (
        NAMED,
        pd.DataFrame(np.ones((2, 4)), columns=["a", "b", "c", "b"]),
        "more than once\n  where: a DataFrame of features\n  got: 'b'",
    ),
    "rows in another order of columns": (
        NAMED,
        [pd.Series([1, 2, 3], index=["a", "b", "c"]), pd.Series([1, 2, 3], index=["b", "a", "c"])],
        "input 1\n  got: 'b', 'a', 'c'",
    ),
    "one picture": (COLOUR, PIXELS[0], "x[None]"),
    "one grey picture": (GREY, PIXELS[0, :, :, 0], "x[None]"),
    "one picture with transparency": (COLOUR, pictures((9, 9, 4)), "x[None]"),
    "one image of Pillow": (COLOUR, Image.fromarray(PIXELS[0]), "[picture]"),
    "one path": (COLOUR, "a.png", "[picture]"),
    "float pictures": (COLOUR, PIXELS / 255, "uint8"),
    "float pictures in a list": (GREY, [np.zeros((4, 5)), np.zeros((9, 9))], "input 0"),
    "other channels": (COLOUR, PIXELS[..., 0], "3, as in training"),
    "other channels in a list": (GREY, [PIXELS[0], pictures((9, 9, 3))], "1, as in training"),
    "no picture in a list": (COLOUR, [PIXELS[0], None], "input 1"),
    "a flat picture in a list": (COLOUR, [PIXELS[0], np.zeros(60, np.uint8)], "input 1"),
    "a path to nothing": (COLOUR, ["no such file.png"], "no such file.png"),
    "a DataFrame of pictures": (COLOUR, pd.DataFrame({"path": ["a.png"]}), "DataFrame"),
    "a dict of pictures": (COLOUR, {"a": PIXELS}, "dict"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_become_other_inputs_is_refused_by_name(kind):
    preprocessing, given, told = REFUSED[kind]
    with pytest.raises(InputError) as caught:
        predictor(preprocessing).predict_proba(given)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path):
    Image.fromarray(pictures((90, 90, 3))).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with Image.open(tmp_path / "a.png") as image, pytest.raises(InputError, match="input 1"):
        encode_images(COLOUR, [PIXELS[0], image])


@pytest.mark.parametrize("per_block", [1, 5, 10, 11, 1000])
def test_blocks_of_any_size_are_the_whole(per_block, monkeypatch):
    model, texts = predictor(TEXT), [f"{i}" for i in range(11)]
    monkeypatch.setattr(predictors, "BLOCK_VALUES", 7 * per_block)
    inputs = encode(TEXT, texts)
    blocks = list(model.blocks(inputs))
    assert max(len(block) for _, block in blocks) == min(per_block, 11)
    expected = summed(inputs).dense().exp()
    np.testing.assert_array_equal(np.concatenate([b for _, b in blocks]), expected)
    np.testing.assert_array_equal(model.predict_proba(texts), expected)


def test_no_block_holds_more_values_than_its_limit(monkeypatch):
    seen = []

    def watched(inputs):
        seen.append(len(inputs))
        return DensePredictions(torch.zeros(len(inputs), len(NAMES)))

    monkeypatch.setattr(predictors, "BLOCK_VALUES", 3 * len(NAMES))
    Predictor(NAMES, FEATURES, watched).predict_proba(np.zeros((10, 3)))
    assert seen == [3, 3, 3, 1]


@pytest.mark.parametrize(("shape", "k"), [((4, 6), 5), ((7,), 5), ((4, 7), 0)])
def test_the_most_probable_classes_are_those_of_probabilities_of_all(shape, k):
    with pytest.raises(InputError, match="no probabilities of the classes"):
        predictor(TEXT).top(np.zeros(shape), k)


def test_the_most_probable_classes_come_first_from_any_array():
    probs = np.broadcast_to(np.arange(7) / 21, (2, 7))
    assert [name for name, _ in predictor(TEXT).top(probs, 2)[1]] == ["v", "u"]
