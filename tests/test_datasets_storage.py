"""Storage: what is written is read back, test labels apart, the same bytes every time."""

import errno
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from specialists.datasets import (
    Dataset,
    Ragged,
    Split,
    load_dataset_folder,
    save_dataset,
)
from specialists.datasets.storage import cached
from specialists.datasets.text import hash_ngrams
from specialists.errors import DataError, DataWarning, InputError
from specialists.files import artifacts, read_json, recording


def split(n, seed):
    texts = tuple(f"größe {seed} {i} 😀" for i in range(n)) if n else ()
    labels = torch.arange(n) % 3
    valid = Ragged(torch.stack([labels, labels + 1], 1).flatten(), 2 * torch.arange(n + 1))
    rows = torch.arange(n)
    return Split(hash_ngrams(texts, (1, 3)), labels, valid, texts, rows + 2, 100 * seed + rows // 2)


def dataset():
    return Dataset(
        "toy",
        "text",
        ("a", "b", "c", "d"),
        split(7, 0),
        split(4, 1),
        split(5, 2),
        {"kind": "text", "char_ngrams": [1, 3]},
        ("one note",),
        {"licence": "none"},
    )


def same(first, second):
    return all(
        torch.equal(a, b)
        for a, b in (
            (first.inputs.values, second.inputs.values),
            (first.inputs.offsets, second.inputs.offsets),
            (first.labels, second.labels),
            (first.valid.values, second.valid.values),
            (first.rows, second.rows),
            (first.groups, second.groups),
        )
    )


def hashes(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_what_was_saved_is_read_back(tmp_path):
    save_dataset(dataset(), tmp_path)
    read = load_dataset_folder(tmp_path, test_labels=True)
    for name in ("train", "validation", "test"):
        assert same(getattr(read, name), getattr(dataset(), name))
        assert getattr(read, name).texts == getattr(dataset(), name).texts
    assert (read.class_names, read.notes, read.kind) == (
        ("a", "b", "c", "d"),
        ("one note",),
        "text",
    )


def test_a_gate_is_read_back_and_goes_with_the_next_data_set(tmp_path):
    save_dataset(replace(dataset(), admission=split(3, 7)), tmp_path)
    read = load_dataset_folder(tmp_path)
    assert list(read.splits) == ["train", "validation", "admission", "test"]
    assert read.admission is not None
    assert same(read.admission, split(3, 7))
    assert read_json(tmp_path / "dataset.json")["rows"]["admission"] == 3
    save_dataset(dataset(), tmp_path)
    assert load_dataset_folder(tmp_path).admission is None
    assert not list(tmp_path.glob("admission.*"))


@pytest.mark.parametrize("name", ["train.texts.npy", "admission.inputs.npy", "dataset.json"])
def test_a_file_that_would_be_read_as_a_part_is_refused_in_a_stage(tmp_path, name):
    (tmp_path / name).write_text("the user's")
    with recording(tmp_path), pytest.raises(InputError, match="in the way"):
        save_dataset(dataset(), tmp_path)
    assert (tmp_path / name).read_text() == "the user's"


def test_a_broken_cache_keeps_what_is_not_of_the_data_set(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached("toy", {}, dataset)
    (folder,) = (tmp_path / "specialists").glob("toy-*")
    (folder / "train.labels.npy").write_bytes(b"cut")
    (folder / "notes.txt").write_text("the user's")
    assert same(cached("toy", {}, dataset).train, dataset().train)
    assert (folder / "notes.txt").read_text() == "the user's"


def test_test_labels_stay_hidden_and_their_files_closed(tmp_path):
    save_dataset(dataset(), tmp_path)
    for file in tmp_path.glob("test.[lv]*"):
        file.unlink()
    hidden = load_dataset_folder(tmp_path).test
    assert (hidden.labels == -1).all()
    assert hidden.labels.dtype == torch.int64
    assert len(hidden) == 5
    assert hidden.valid is None


def test_other_test_labels_change_no_other_file(tmp_path):
    original = dataset()
    save_dataset(original, tmp_path / "a")
    shuffled = replace(original.test, labels=original.test.labels.flip(0))
    save_dataset(replace(original, test=shuffled), tmp_path / "b")
    first, second = hashes(tmp_path / "a"), hashes(tmp_path / "b")
    assert {name for name in first if first[name] != second[name]} == {"test.labels.npy"}


def test_the_same_data_give_the_same_bytes(tmp_path):
    save_dataset(dataset(), tmp_path / "a")
    save_dataset(dataset(), tmp_path / "b")
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


def test_files_of_an_earlier_data_set_do_not_stay(tmp_path):
    save_dataset(dataset(), tmp_path)
    features = Split(torch.ones(4, 2), torch.arange(4))
    plain = replace(dataset(), kind="features", train=features, validation=features, test=features)
    save_dataset(plain, tmp_path)
    read = load_dataset_folder(tmp_path, test_labels=True)
    assert isinstance(read.train.inputs, torch.Tensor)
    assert torch.equal(read.train.inputs, torch.ones(4, 2))
    assert (read.test.valid, read.test.texts, read.test.rows) == (None, None, None)


def test_reading_never_changes_the_files(tmp_path):
    save_dataset(dataset(), tmp_path)
    before = hashes(tmp_path)
    load_dataset_folder(tmp_path).train.labels.fill_(0)
    assert hashes(tmp_path) == before


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="no data set here"):
        load_dataset_folder(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    save_dataset(dataset(), tmp_path)
    (tmp_path / "validation.labels.npy").unlink()
    with pytest.raises(DataError, match=r"validation\.labels\.npy"):
        load_dataset_folder(tmp_path)


def test_a_cached_data_set_is_built_once_for_each_key(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    built = []

    def build():
        built.append(1)
        return dataset()

    for version in (1, 1, 2):
        assert same(cached("toy", {"version": version}, build).train, dataset().train)
    assert len(built) == 2
    assert not list((tmp_path / "specialists").glob(".tmp*"))


def test_a_broken_cache_is_built_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached("toy", {}, dataset)
    (file,) = (tmp_path / "specialists").glob("toy-*/train.labels.npy")
    file.write_bytes(b"cut")
    assert same(cached("toy", {}, dataset).train, dataset().train)


def test_a_full_disk_costs_the_cache_alone_and_leaves_nothing_there(tmp_path, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(artifacts, "sync", full)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.warns(DataWarning, match=r"could not be cached in .*: the disk is full$"):
        assert same(cached("toy", {}, dataset).train, dataset().train)
    assert list((tmp_path / "specialists").iterdir()) == []


def test_a_cache_that_cannot_be_written_only_warns(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(DataWarning, match="could not be cached"):
        assert same(cached("toy", {}, dataset).train, dataset().train)


def no_home():
    raise RuntimeError("Could not determine home directory.")


def test_without_a_home_a_data_set_is_built_and_not_cached(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.warns(DataWarning, match="no home folder; set XDG_CACHE_HOME"):
        assert same(cached("toy", {}, dataset).train, dataset().train)
