"""Inputs that are read where they lie: .npy files and folders of images."""

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from specialists.config import DataConfig
from specialists.datasets import (
    load_dataset,
    load_dataset_folder,
    read_unlabelled,
    save_dataset,
)
from specialists.datasets.base import joined_inputs
from specialists.datasets.encoding import standardisation, standardisation_of
from specialists.datasets.fetched_rows import BLOCK_BYTES, FetchedRows, block_rows, only_rows
from specialists.datasets.observations import same_digest, same_input
from specialists.datasets.raw_rows import MappedArrays
from specialists.datasets.splits import PARTS
from specialists.errors import DataError

RNG = np.random.default_rng(0)
X = RNG.normal(3, 2, (300, 4)).astype(np.float32)
Y = np.arange(300) % 3


def write(folder, **arrays):
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return {name: str(folder / f"{name}.npy") for name in arrays}


def load(arrays, **settings):
    return load_dataset(DataConfig(arrays=arrays, **settings), seed=0)


def whole(split) -> torch.Tensor:
    """All inputs, wherever they lie."""
    inputs = split.inputs[torch.arange(len(split))]
    assert isinstance(inputs, torch.Tensor)
    return inputs


def assert_same(first, second):
    assert first.preprocessing == second.preprocessing
    assert first.splits.keys() == second.splits.keys()
    for name, split in first.splits.items():
        other = second.splits[name]
        torch.testing.assert_close(whole(split), whole(other), rtol=0, atol=0)
        assert split.labels.equal(other.labels)
        assert split.groups.equal(other.groups)  # type: ignore[union-attr]


TABLES = {
    "float32": {"x": X, "y": Y},
    "float64": {"x": X.astype(np.float64), "y": np.array(["a", "b", "c"])[Y]},
    "integers": {"x": X.round().astype(np.int8), "y": Y[:, None]},
    "columns first": {"x": np.asfortranarray(X), "y": Y},
    "grey images": {"x": RNG.integers(0, 256, (300, 6, 5), dtype=np.uint8), "y": Y},
    "channels last": {"x": RNG.integers(0, 256, (300, 6, 5, 3), dtype=np.uint8), "y": Y},
    "parts": {"x_train": X[:200], "y_train": Y[:200], "x_test": X[200:], "y_test": Y[200:]},
    "parts of other types": {
        **{"x_train": X[:200].round().astype(np.int8), "y_train": Y[:200]},
        **{"x_test": X[200:], "y_test": Y[200:]},
    },
    "rows twice": {"x": np.concatenate([X, X]), "y": np.concatenate([Y, Y])},
}


@pytest.mark.parametrize("arrays", TABLES.values(), ids=TABLES)
def test_rows_are_the_same_in_place_in_a_copy_and_in_memory(tmp_path, arrays):
    paths = write(tmp_path, **arrays)
    in_memory, in_place = load(paths), load(paths, in_place=True)
    assert isinstance(in_place.train.inputs, FetchedRows)
    assert_same(in_memory, in_place)
    save_dataset(in_place, tmp_path / "saved")
    assert_same(in_memory, load_dataset_folder(tmp_path / "saved", test_labels=True))
    assert not list((tmp_path / "saved").glob("*.inputs.npy"))


def test_a_copy_of_large_arrays_is_that_of_small_ones(tmp_path, monkeypatch):
    paths = write(tmp_path, x=X, y=Y)
    save_dataset(load(paths), tmp_path / "small")
    monkeypatch.setattr("specialists.datasets.arrays.IN_PLACE_BYTES", 0)
    monkeypatch.setattr("specialists.datasets.fetched_rows.BLOCK_BYTES", 100)
    large = load(paths, in_place=False)
    assert isinstance(large.train.inputs, FetchedRows)
    save_dataset(large, tmp_path / "large")
    names = sorted(path.name for path in (tmp_path / "small").iterdir())
    assert sorted(path.name for path in (tmp_path / "large").iterdir()) == names
    contents = [[(tmp_path / at / n).read_bytes() for n in names] for at in ("small", "large")]
    assert contents[0] == contents[1]


def test_arrays_are_read_in_place_from_a_size_on(tmp_path, monkeypatch):
    paths = write(tmp_path, x=X, y=Y)
    monkeypatch.setattr("specialists.datasets.arrays.IN_PLACE_BYTES", X.nbytes)
    assert isinstance(load(paths).train.inputs, torch.Tensor)
    monkeypatch.setattr("specialists.datasets.arrays.IN_PLACE_BYTES", X.nbytes - 1)
    assert isinstance(load(paths).train.inputs, FetchedRows)


def test_images_of_an_array_get_their_size_as_they_are_read(tmp_path):
    images = RNG.integers(0, 256, (300, 3, 9, 7), dtype=np.uint8)
    paths = write(tmp_path, x=images, y=Y)
    in_place = load(paths, in_place=True, image_size=4)
    assert tuple(whole(in_place.train).shape[1:]) == (3, 4, 4)
    assert_same(load(paths, image_size=4), in_place)


def test_a_number_that_is_not_finite_is_named_by_its_row(tmp_path, monkeypatch):
    monkeypatch.setattr("specialists.datasets.raw_rows.BLOCK_BYTES", 4 * X.shape[1] * 4)
    x = X.copy()
    x[77, 2] = np.nan
    with pytest.raises(DataError, match="row 77, column 2"):
        load(write(tmp_path, x=x, y=Y), in_place=True)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("part", PARTS)
def test_a_number_that_is_not_finite_is_named_by_the_row_of_its_own_array(tmp_path, part, in_place):
    given = {f"{name}_{of}": {"x": X.copy(), "y": Y}[name] for of in PARTS for name in "xy"}
    given[f"x_{part}"][77, 2] = np.nan
    with pytest.raises(DataError, match=rf"x_{part}\.npy\n.*row 77, column 2"):
        load(write(tmp_path, **given), in_place=in_place)


BAD = {
    "strings": ({"x": np.array(["a"] * 300).reshape(-1, 1)}, "not numbers"),
    "one axis": ({"x": X[:, 0]}, "one dimension"),
    "no columns": ({"x": X[:, :0]}, "without features"),
    "float images": ({"x": RNG.random((300, 4, 4))}, "not bytes"),
    "fewer rows": ({"x": X[:-1]}, "do not fit together"),
    "objects": ({"x": np.array([object()] * 300).reshape(-1, 1)}, "Python objects"),
}


@pytest.mark.parametrize(("arrays", "told"), BAD.values(), ids=BAD)
def test_what_is_no_array_of_inputs_is_refused_before_it_is_read(tmp_path, arrays, told):
    with pytest.raises(DataError, match=told):
        load(write(tmp_path, **{"y": Y, **arrays}), in_place=True)


def test_an_array_that_is_cut_off_is_refused(tmp_path):
    paths = write(tmp_path, x=X, y=Y)
    os.truncate(paths["x"], os.path.getsize(paths["x"]) - 8)
    with pytest.raises(DataError, match="another size than its header says"):
        load(paths, in_place=True)


def test_an_archive_cannot_be_read_in_place(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    with pytest.raises(DataError, match="archive cannot be read in place"):
        load(str(tmp_path / "a.npz"), in_place=True)


@pytest.fixture
def saved(tmp_path):
    """A saved data set whose rows lie in x.npy."""
    paths = write(tmp_path, x=X, y=Y)
    save_dataset(load(paths, in_place=True), tmp_path / "saved")
    return tmp_path


def later(path):
    os.utime(path, (2e9, 2e9))


def test_a_file_that_changed_since_is_refused(saved):
    later(write(saved, x=X + 1)["x"])
    with pytest.raises(DataError, match="a file has changed whose rows are read in place"):
        load_dataset_folder(saved / "saved")


def test_a_file_that_was_only_touched_is_read(saved):
    later(saved / "x.npy")
    assert len(load_dataset_folder(saved / "saved").train) > 0


def test_a_file_that_is_gone_is_named(saved):
    (saved / "x.npy").unlink()
    with pytest.raises(DataError, match="a file is gone whose rows are read in place"):
        load_dataset_folder(saved / "saved")


def test_a_data_set_in_memory_takes_the_place_of_one_that_was_read_in_place(saved):
    save_dataset(load(write(saved, x=X, y=Y)), saved / "saved")
    assert isinstance(load_dataset_folder(saved / "saved").train.inputs, torch.Tensor)


def paint(folder, n=12, coloured=True):
    """Pictures of three classes, of several sizes; one is grey, and one twice."""
    for label in range(3):
        (folder / f"c{label}").mkdir(parents=True)
        for i in range(n):
            pixels = RNG.integers(0, 256, (9 + i, 11, 3), dtype=np.uint8)
            mode = "RGB" if coloured and (label or i) else "L"
            Image.fromarray(pixels).convert(mode).save(folder / f"c{label}" / f"{i:02d}.png")
        twin = (folder / f"c{label}" / "00.png").read_bytes()
        (folder / f"c{label}" / "twin.png").write_bytes(twin)
    return str(folder)


@pytest.mark.parametrize("coloured", [True, False])
def test_pictures_are_decoded_as_they_are_read(tmp_path, coloured):
    folder = paint(tmp_path / "pictures", coloured=coloured)
    settings = {"images": folder, "image_size": 8, "min_examples": 4}
    in_memory = load_dataset(DataConfig(**settings), seed=0)
    in_place = load_dataset(DataConfig(**settings, in_place=True), seed=0)
    assert isinstance(in_place.train.inputs, FetchedRows)
    assert in_place.train.inputs.shape[1:] == (3 if coloured else 1, 8, 8)
    assert_same(in_memory, in_place)
    save_dataset(in_place, tmp_path / "saved")
    assert_same(in_memory, load_dataset_folder(tmp_path / "saved", test_labels=True))


def test_pictures_that_are_grey_in_colour_equal_their_grey_twins(tmp_path):
    folder = paint(tmp_path / "pictures")
    grey = tmp_path / "pictures" / "c0" / "00.png"
    Image.open(grey).convert("RGB").save(tmp_path / "pictures" / "c0" / "coloured.png")
    settings = {"images": folder, "min_examples": 4}
    loaded = [load_dataset(DataConfig(**settings, in_place=at), seed=0) for at in (None, True)]
    assert_same(*loaded)


def test_more_pictures_than_memory_holds_are_read_in_place(tmp_path, monkeypatch):
    folder = paint(tmp_path / "pictures")
    size = 3 * 32 * 32 * 39
    settings = {"images": folder, "min_examples": 4}
    monkeypatch.setattr("specialists.datasets.image_folders.memory", lambda: 4 * size)
    assert isinstance(load_dataset(DataConfig(**settings), 0).train.inputs, torch.Tensor)
    monkeypatch.setattr("specialists.datasets.image_folders.memory", lambda: 4 * size - 1)
    assert isinstance(load_dataset(DataConfig(**settings), 0).train.inputs, FetchedRows)


def test_a_copy_of_more_pictures_than_memory_holds_is_made_where_it_is_asked_for(
    tmp_path, monkeypatch
):
    settings = {"images": paint(tmp_path / "pictures"), "min_examples": 4, "in_place": False}
    small = load_dataset(DataConfig(**settings), 0)
    assert isinstance(small.train.inputs, torch.Tensor)
    monkeypatch.setattr("specialists.datasets.image_folders.memory", lambda: 0)
    large = load_dataset(DataConfig(**settings), 0)
    assert isinstance(large.train.inputs, FetchedRows)
    save_dataset(large, tmp_path / "saved")
    assert (tmp_path / "saved" / "train.inputs.npy").is_file()
    assert_same(small, load_dataset_folder(tmp_path / "saved", test_labels=True))


def test_one_coloured_picture_makes_all_of_them_coloured(tmp_path, monkeypatch):
    monkeypatch.setattr("specialists.datasets.image_folders._AT_A_TIME", 5)
    folder = paint(tmp_path / "pictures", coloured=False)
    pixels = RNG.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "pictures" / "c0" / "03.png")
    settings = {"images": folder, "min_examples": 4}
    loaded = [load_dataset(DataConfig(**settings, in_place=at), seed=0) for at in (None, True)]
    assert loaded[1].preprocessing["channels"] == 3
    assert_same(*loaded)


def test_all_unreadable_pictures_are_named_at_once(tmp_path, monkeypatch):
    folder = paint(tmp_path / "pictures")
    monkeypatch.setattr("specialists.datasets.image_folders._AT_A_TIME", 5)
    for name in ("c0/03.png", "c2/07.png"):
        (tmp_path / "pictures" / name).write_bytes(b"none")
    with pytest.raises(DataError, match=r"2 unreadable images(.|\n)*c0/03(.|\n)*c2/07"):
        load_dataset(DataConfig(images=folder, min_examples=4, in_place=True), 0)


def fetched(array):
    rows = MappedArrays([array])
    fetch = lambda numbers: torch.from_numpy(rows.read(numbers))  # noqa: E731
    return FetchedRows(fetch, torch.arange(len(array)), array.shape[1:], torch.float32)


def test_rows_that_follow_fetched_ones_have_the_next_numbers():
    some = fetched(X).only(torch.arange(0, 300, 2))
    both = joined_inputs([some, torch.from_numpy(X[:3] + 1)])
    assert isinstance(both, FetchedRows)
    expected = torch.from_numpy(np.concatenate([X[::2], X[:3] + 1]))
    index = torch.tensor([152, 0, 149, 150, 7])
    assert both[index].equal(expected[index])
    assert both[:].equal(expected)


def test_naming_rows_reads_none():
    def refuse(numbers):
        raise AssertionError("read")

    rows = FetchedRows(refuse, torch.arange(9), (2,), torch.float32)
    assert len(only_rows(only_rows(rows, torch.arange(1, 6)), torch.tensor([4, 0]))) == 2
    assert only_rows(rows, torch.arange(4, 9)).index.tolist() == [4, 5, 6, 7, 8]


def test_rows_that_lie_elsewhere_take_their_numbers_alone():
    rows = FetchedRows(lambda numbers: torch.empty(0), torch.arange(9), (3,), torch.float32)
    assert rows.nbytes == 9 * 3 * 4
    assert replace(rows, origin={}).nbytes == 9 * 8


def test_blocks_of_fetched_rows_are_bounded():
    shape = (BLOCK_BYTES // 8,)
    wide = FetchedRows(lambda numbers: torch.empty(0), torch.arange(9), shape, torch.float32)
    assert block_rows(wide, 2048) == 2
    assert block_rows(torch.zeros(9, 2), 2048) == 2048


@pytest.mark.parametrize("size", [1, 7, 300])
def test_mean_and_deviation_do_not_depend_on_blocks(size):
    blocks = [X[i : i + size] for i in range(0, 300, size)]
    found, expected = standardisation_of(blocks), standardisation(X)
    for key in ("mean", "std"):
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-6)


def test_equal_digests_are_numbered_as_they_come():
    keys = RNG.integers(0, 5, 40)
    digests = np.stack([keys % 2, keys // 2], axis=1).astype(np.uint64)
    assert same_digest(digests).tolist() == same_input(keys.tolist()).tolist()


@pytest.mark.parametrize("name", ["float32", "float64", "integers", "grey images", "channels last"])
def test_new_rows_of_a_large_npy_are_encoded_as_they_are_read(name, tmp_path, monkeypatch):
    preprocessing = load(write(tmp_path, **TABLES[name])).preprocessing
    file = tmp_path / "x.npy"
    held, numbers = read_unlabelled(file, preprocessing, in_place=True)
    assert isinstance(held, torch.Tensor)
    monkeypatch.setattr("specialists.datasets.raw_rows.IN_PLACE_BYTES", 0)
    read, again = read_unlabelled(file, preprocessing, in_place=True)
    assert isinstance(read, FetchedRows)
    assert torch.equal(read[10:20], held[10:20])
    assert torch.equal(read[:], held)
    assert list(again) == list(numbers) == [str(i) for i in range(300)]
    assert again[7:9] == ("7", "8")
    assert isinstance(read_unlabelled(file, preprocessing)[0], torch.Tensor)


def test_what_is_wrong_with_new_rows_in_place_is_told_of_their_file(tmp_path, monkeypatch):
    preprocessing = load(write(tmp_path, x=X, y=Y)).preprocessing
    monkeypatch.setattr("specialists.datasets.raw_rows.IN_PLACE_BYTES", 0)
    files = write(
        tmp_path, narrow=X[:, :3], missing=np.where(np.arange(300)[:, None] < 250, X, np.nan)
    )
    with pytest.raises(DataError, match=r"narrow\.npy"):
        read_unlabelled(files["narrow"], preprocessing, in_place=True)
    rows: Any = read_unlabelled(files["missing"], preprocessing, in_place=True)[0]
    assert len(rows[200:250]) == 50
    with pytest.raises(DataError, match="in row 250, column 0"):
        rows[240:300]
