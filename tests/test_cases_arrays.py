"""Wrong and odd files of arrays: read as meant and told, or refused with one message."""

import io
import re
import struct
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from pipelines.__main__ import app
from pipelines.run_settings import source_and_folder
from specialists.config import DataConfig
from specialists.datasets import Inputs, encode, load_dataset, read_unlabelled
from specialists.datasets.array_files import open_arrays
from specialists.errors import DataError

N = 120
Y = np.arange(N) % 3
X = np.random.default_rng(0).normal(3.0, 2.0, (N, 5)).astype(np.float32)
NAMES = np.array(["ant", "bee", "cat"])
PIXELS = np.random.default_rng(1).integers(0, 256, (N, 4, 6, 3), dtype=np.uint8)


def tensor(inputs: Inputs) -> torch.Tensor:
    assert isinstance(inputs, torch.Tensor)
    return inputs


def load(path, **settings):
    return load_dataset(DataConfig(arrays=path, admission_fraction=0, **settings), seed=0)


def saved(path, arrays=None, **changes):
    np.savez(path, **({"x": X, "y": Y, **changes} if arrays is None else arrays))
    return str(path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.npz"


def one_hot(y):
    return np.eye(3)[y]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"x": X.astype(np.float64)}, None),
        ({"x": X.astype(np.float16)}, None),
        ({"x": X.astype(">f8")}, None),
        ({"x": np.asfortranarray(X)}, None),
        ({"x": X > 3}, None),
        ({"x": X.astype(np.int64)}, None),
        ({"y": Y.astype(">i2")}, None),
        ({"y": Y.astype(np.uint64)}, None),
        ({"y": Y + 2**62}, None),
        ({"y": Y + np.iinfo(np.int64).min}, None),
        ({"y": Y.astype(np.uint64) + np.uint64(2**63)}, None),
        ({"target_names": NAMES}, None),
        ({"y": Y.astype(np.float32)}, "array 'y': labels are floats that are whole numbers"),
        ({"y": Y[:, None]}, r"array 'y': labels of shape \(120, 1\) taken as one a row"),
        ({"y": one_hot(Y)}, "array 'y': one-hot labels of 3 classes"),
        ({"y": one_hot(Y).astype(bool)}, "one-hot labels of 3 classes"),
        ({"classes": np.array([5, 6, 7])}, None),
        ({"meta": X[:7], "other": Y}, "arrays not used: meta, other$"),
        ({"y": NAMES[Y], "classes": NAMES}, "arrays not used: classes$"),
    ],
)
def test_forms_that_mean_the_same_are_read_and_told(path, changes, told):
    dataset = load(saved(path, **changes), standardize=False)
    assert dataset.n_classes == 3
    assert sum(map(len, dataset.splits.values())) == N
    notes = [note for note in dataset.notes if path.name in note or "not used" in note]
    assert len(notes) == (told is not None)
    assert all(re.search(told or "", note) for note in notes)


@pytest.mark.parametrize("labels", [NAMES, NAMES.astype("S"), np.array(["ant", "bee", "cät"])])
def test_names_of_labels_are_read_from_strings_and_bytes(path, labels):
    assert load(saved(path, y=labels[Y])).class_names[:2] == ("ant", "bee")
    assert load(saved(path, classes=labels)).class_names[:2] == ("ant", "bee")


def test_an_array_that_may_hold_splits_is_told(path):
    split = np.where(np.arange(N) < 90, "train", "test")
    assert any("array 'Split' may say" in n for n in load(saved(path, Split=split)).notes)
    by = {"array": "Split", "test": ["test"]}
    assert not any("may say" in note for note in load(saved(path, Split=split), split_by=by).notes)


def test_an_array_of_objects_that_nobody_asked_for_does_not_block_the_file(path):
    saved(path, meta=np.array([{"a": 1}, None], dtype=object))
    dataset = load(str(path))
    assert "arrays not used: meta" in dataset.notes
    assert len(read_unlabelled(path, dataset.preprocessing)[1]) == N


@pytest.mark.parametrize(
    ("of_train", "of_test"),
    [
        ((X[:90], Y[:90]), (X[90:].astype(np.float64), Y[90:].astype(np.int32))),
        ((X[:90], Y[:90].astype(np.int64)), (X[90:], Y[90:].astype(np.uint64))),
        ((X[:90], NAMES[Y[:90]].astype("U9")), (X[90:], NAMES[Y[90:]].astype("S3"))),
        ((X[:90], Y[:90] > 1), (X[90:], (Y[90:] > 1).astype(np.int8))),
        ((X[:90], one_hot(Y[:90])), (X[90:], Y[90:, None].astype(np.float32))),
        ((PIXELS[:90], Y[:90]), (PIXELS[90:].transpose(0, 3, 1, 2), Y[90:])),
    ],
)
def test_types_that_differ_harmlessly_between_splits_pass(path, of_train, of_test):
    names = ("x_train", "y_train", "x_test", "y_test")
    arrays = dict(zip(names, (*of_train, *of_test), strict=True))
    dataset = load(saved(path, arrays), standardize=False)
    assert len(dataset.test) == 30
    labels = [dataset.class_names[i] for i in dataset.test.labels.tolist()]
    assert len(set(labels)) == dataset.n_classes
    again = encode(dataset.preprocessing, of_test[0])
    assert torch.equal(tensor(again), tensor(dataset.test.inputs))


def test_a_split_without_rows_is_told_and_cut_anew(path):
    arrays = {"x_train": X, "y_train": NAMES[Y], "x_test": X[:0], "y_test": Y[:0]}
    dataset = load(saved(path, arrays))
    assert any("array 'x_test': no rows" in note for note in dataset.notes)
    assert len(dataset.test) > 0


def test_capital_letters_in_names_of_arrays_do_not_matter(path):
    arrays = {"X_train": X[:90], "y_train": Y[:90], "X_TEST": X[90:], "Y_test": Y[90:]}
    assert len(load(saved(path, arrays)).test) == 30


def test_keys_for_splits_leave_whole_arrays_aside(path):
    keys = {"x_train": "a", "y_train": "b"}
    dataset = load(saved(path, {"x": X[:9], "y": Y[:9], "a": X, "b": Y}), keys=keys)
    assert sum(map(len, dataset.splits.values())) == N
    assert "arrays not used: x, y" in dataset.notes


def test_the_exact_name_of_an_array_comes_first(path):
    dataset = load(saved(path, {"X": X[:7], "x": X, "y": Y, "Y": Y[:7]}))
    assert sum(map(len, dataset.splits.values())) == N
    assert "arrays not used: X, Y" in dataset.notes


def test_two_labels_of_one_name_are_kept_apart_and_told(path):
    names = np.array(["crane", "dog", "crane"])
    dataset = load(saved(path, classes=names))
    assert dataset.class_names == ("crane [0]", "dog", "crane [2]")
    assert any("crane" in note for note in dataset.notes)


def test_rows_that_split_by_names_no_split_for_are_counted(path):
    split_by = {"array": "drawer", "train": [0, 1, 2], "test": 3}
    dataset = load(saved(path, drawer=np.arange(N) // 3 % 5), split_by=split_by)
    assert len(dataset.test) == 24
    assert any("rows left out (24), since data.split_by" in note for note in dataset.notes)


def test_examples_carry_their_row_in_their_array(path):
    arrays = {"x_train": X[:90], "y_train": Y[:90], "x_test": X[90:], "y_test": Y[90:]}
    dataset = load(saved(path, arrays), standardize=False)
    for split, x in ((dataset.train, X[:90]), (dataset.test, X[90:])):
        assert split.rows is not None
        assert torch.equal(tensor(split.inputs), torch.from_numpy(x)[split.rows])


def test_an_npy_file_for_each_array_is_a_source(tmp_path):
    files = {"x": X, "y": Y, "classes": NAMES}
    for name, array in files.items():
        np.save(tmp_path / f"{name}.npy", array)
    dataset = load({name: str(tmp_path / f"{name}.npy") for name in files}, standardize=False)
    assert dataset.class_names == ("ant", "bee", "cat")
    (tmp_path / "x.npy").rename(tmp_path / "NEW.NPY")
    inputs, _ = read_unlabelled(tmp_path / "NEW.NPY", dataset.preprocessing)
    assert torch.equal(tensor(inputs), torch.from_numpy(X))


def test_the_layout_is_told_where_a_shape_fits_two(path):
    dataset = load(saved(path, x=PIXELS[:, :3, :, :1]))
    assert dataset.preprocessing["channels"] == 3
    assert any("(120, 3, 6, 1) is read as [n, channels" in note for note in dataset.notes)


def test_pixels_are_held_once(path):
    dataset = load(saved(path, x=PIXELS))
    splits = (dataset.train, dataset.validation, dataset.test)
    ends = [tensor(split.inputs).data_ptr() + tensor(split.inputs).nbytes for split in splits]
    assert [tensor(split.inputs).data_ptr() for split in splits[1:]] == ends[:-1]
    for split in splits:
        whole = torch.from_numpy(PIXELS.transpose(0, 3, 1, 2))
        assert torch.equal(tensor(split.inputs), whole[split.rows])


def header(shape, descr="'<f8'", fortran=False, padding=0):
    text = (
        f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}}}" + " " * padding + "\n"
    )
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text.encode("latin1")


def archive(path, compression=zipfile.ZIP_DEFLATED, **members):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path.read_bytes()


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def encrypted(path):
    content = bytearray(archive(path, x=npy(X), y=npy(Y)))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for start in (i for i in range(len(content)) if content[i : i + 4] == mark):
            content[start + place] |= 1
    return bytes(content)


def bad_crc(path):
    content = bytearray(archive(path, zipfile.ZIP_STORED, x=npy(X), y=npy(Y)))
    content[content.index(b"\x93NUMPY") + 200] ^= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: b"", "an empty file"),
        (lambda path: b"\x80\x04K\x01.", "a pickle, which cannot be read without executing it"),
        (lambda path: b"\x1f\x8b" + bytes(40), "a gzip file"),
        (lambda path: archive(path, x=npy(X))[:-30], "damaged or truncated archive"),
        (lambda path: archive(path), "an archive without arrays"),
        (encrypted, "encrypted(?s:.*)array 'x'"),
        (bad_crc, "cannot be read(?s:.*)array 'x'(?s:.*)CRC"),
        (lambda path: archive(path, x=npy(X), y=npy(Y)[:-8]), "another size(?s:.*)array 'y'"),
        (lambda path: archive(path, x=npy(X) + npy(X), y=npy(Y)), "another size(?s:.*)array 'x'"),
        (lambda path: archive(path, x=header((10**12,)), y=npy(Y)), "another size(?s:.*)'x'"),
        (lambda path: archive(path, x=header((10**30, 4)), y=npy(Y)), "another size(?s:.*)'x'"),
        (lambda path: archive(path, x=header((-1, 5)) + bytes(80), y=npy(Y)), "impossible header"),
        (lambda path: archive(path, x=header((-2, -3)) + bytes(48), y=npy(Y)), "impossible header"),
        (lambda path: archive(path, x=header((10**12,), "'<U0'"), y=npy(Y)), "impossible header"),
        (lambda path: archive(path, x=header((1,), padding=10**6), y=npy(Y)), "'x'(?s:.*)large"),
        (lambda path: archive(path, x=header("(" * 300), y=npy(Y)), "cannot be read(?s:.*)'x'"),
        (lambda path: archive(path, x=header((1,), "'|O'") + b"ab", y=npy(Y)), "Python objects"),
        (lambda path: archive(path, x=b"\x93NUMPY\x09\x00xx", y=npy(Y)), "cannot be read"),
        (lambda path: npy(X), "no inputs and labels found"),
    ],
)
def test_damaged_and_absurd_files_are_refused_with_their_place(path, make, told):
    path.write_bytes(make(path))
    with pytest.raises(DataError, match=told) as error:
        load(str(path))
    assert str(path) in str(error.value)


def with_nan(row, column):
    x = X.copy()
    x[row, column] = np.nan
    return x


FRACTION = Y + np.where(np.arange(N) == 7, 0.5, 0)
RECORDS = np.zeros(N, dtype=[("a", "f4"), ("b", "f4")])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"x": RECORDS}, "records(?s:.*)'x'(?s:.*)fields a, b"),
        ({"x": X + 1j}, "not numbers(?s:.*)'x'(?s:.*)complex"),
        ({"x": X[:, 0]}, r"one dimension(?s:.*)\[n, 1\]"),
        ({"x": np.float32(1)}, "do not fit together"),
        ({"x": X[:, :0]}, "without features(?s:.*)'x'"),
        ({"x": X[:0], "y": Y[:0]}, "no rows"),
        ({"x": X[:1], "y": Y[:1]}, r"fewer than two classes\n  where: \S+, array 'y'\n"),
        ({"x": X[:50]}, r"do not fit together(?s:.*)x of shape \(50, 5\), y of shape \(120,\)"),
        ({"x": with_nan(9, 3)}, "NaN(?s:.*)'x'(?s:.*)row 9, column 3"),
        ({"x": PIXELS / 255}, "not bytes(?s:.*)'x'(?s:.*)0..1: store"),
        ({"x": PIXELS.astype(np.float32)}, "not bytes(?s:.*)0..255: store"),
        ({"x": PIXELS.astype(np.int64) - 9}, "not bytes(?s:.*)scale them"),
        ({"x": np.zeros((N, 8, 8, 4), np.uint8)}, "wrong shape(?s:.*)transparency"),
        ({"x": np.zeros((N, 8, 8, 5), np.uint8)}, "wrong shape"),
        ({"x": np.zeros((N, 0, 8), np.uint8)}, "without pixels"),
        ({"y": Y.astype("datetime64[D]")}, "neither whole numbers nor strings(?s:.*)datetime"),
        ({"y": Y + 1j}, "neither whole numbers nor strings(?s:.*)complex"),
        ({"y": FRACTION}, r"neither(?s:.*)\(1\)(?s:.*)'y', row 7(?s:.*)1.5"),
        ({"y": np.where(Y == 1, np.nan, Y)}, r"neither(?s:.*)\(40\)(?s:.*)row 1\n"),
        ({"y": one_hot(Y) * 0.9}, r"one value a row(?s:.*)\(120, 3\); row 0"),
        ({"y": NAMES[Y][:, None, None]}, "one value a row"),
        ({"y": NAMES[np.stack([Y, Y], 1)]}, r"one value a row(?s:.*)\(120, 2\)"),
        ({"y": np.array([b"a\xff", b"b"])[Y % 2]}, "not UTF-8(?s:.*)'y'"),
        ({"y": NAMES[Y].astype(object)}, "Python objects(?s:.*)'y'"),
        ({"classes": NAMES.astype(object)}, "Python objects(?s:.*)'classes'"),
        ({"classes": NAMES[:2]}, "a label has no name(?s:.*)'classes'"),
        ({"classes": one_hot(Y)}, "names of classes(?s:.*)'classes'"),
        ({"y": Y - 1, "classes": NAMES}, "a label has no name"),
    ],
)
def test_arrays_that_mean_nothing_are_refused_with_their_place(path, changes, told):
    with pytest.raises(DataError, match=told) as error:
        load(saved(path, **changes))
    assert str(path) in str(error.value) or "two classes" in str(error.value)


def test_splits_that_name_classes_in_two_ways_are_refused(path):
    arrays = {"x_train": X[:90], "y_train": Y[:90], "x_test": X[90:], "y_test": NAMES[Y[90:]]}
    with pytest.raises(DataError, match="numbers in one split and strings in another"):
        load(saved(path, arrays))


def test_nan_in_a_test_array_is_named_by_its_own_row(path):
    arrays = {
        "x_train": X[:90],
        "y_train": Y[:90],
        "x_test": with_nan(92, 1)[90:],
        "y_test": Y[90:],
    }
    with pytest.raises(DataError, match=r"'x_test'(?s:.*)row 2, column 1"):
        load(saved(path, arrays))


@pytest.mark.parametrize("split_by", [{"array": 5, "test": [1]}, {"array": "y", "test": ["1"]}])
def test_a_split_by_that_fits_no_row_is_refused(path, split_by):
    with pytest.raises(DataError, match="split_by"):
        load(saved(path), split_by=split_by)


@pytest.mark.parametrize("name", ["flipped.npz", "stored.npz", "flipped.npy"])
def test_flipped_bits_are_read_or_refused(tmp_path, name):
    path, generator = tmp_path / name, np.random.default_rng(0)
    whole = npy(X)
    if name.endswith("npz"):
        method = zipfile.ZIP_STORED if name.startswith("stored") else zipfile.ZIP_DEFLATED
        whole = archive(path, method, x=npy(X), y=npy(Y))
    for _ in range(100):
        content = bytearray(whole)
        for place in generator.integers(0, generator.choice([128, len(content)]), 3):
            content[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(content)
        with suppress(DataError):
            assert open_arrays(path)["x"].dtype.kind in "biufcUSmM"


def test_a_run_of_a_file_for_each_array_is_named_after_the_first():
    pair = 'data.arrays={x = "far/embeddings.npy", y = "codes.npy"}'
    assert source_and_folder(None, None, [pair]) == (None, Path("runs/embeddings"))


def test_a_run_names_the_array_that_is_gone(tmp_path):
    for name, array in (("x", X), ("y", Y)):
        np.save(tmp_path / f"{name}.npy", array)
    files = ", ".join(f'{name} = "{tmp_path / name}.npy"' for name in "xy")
    out = str(tmp_path / "run")
    made = ["run", "--set", f"data.arrays={{{files}}}", "--out", out, "--until", "prepare-data"]
    assert CliRunner().invoke(app, made).exit_code == 0
    (tmp_path / "y.npy").unlink()
    again = CliRunner().invoke(app, ["run", "--out", out, "--until", "prepare-data"])
    assert again.exit_code == 2
    assert "where: data.arrays.y in the configuration" in again.output
