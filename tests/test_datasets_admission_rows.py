"""The admission rows: taken from validation alone, stratified, groups whole, no class left bare."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from specialists.config import DataConfig
from specialists.datasets import Dataset, Ragged, Split, load_dataset
from specialists.datasets.admission_rows import hold_out_admission_rows
from specialists.datasets.text import hash_ngrams
from specialists.errors import DataError


def made(counts, duplicates: int = 1, **changes) -> Dataset:
    """Classes of these many validation rows; each input stands there ``duplicates`` times."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    return validated(labels, np.arange(len(labels)) // duplicates, **changes)


def validated(labels, inputs, groups=None, **changes) -> Dataset:
    """Validation rows of these labels and inputs."""
    groups = None if groups is None else torch.from_numpy(groups)
    rows = torch.from_numpy(inputs)[:, None].float()
    validation = Split(rows, torch.from_numpy(labels), groups=groups)
    n = int(labels.max()) + 1
    classes = Split(torch.full((n, 1), -1.0), torch.arange(n))
    names = tuple(map(str, range(n)))
    return Dataset("made", "features", names, classes, validation, classes, {}, **changes)


def counted(split: Split | None, n_classes: int) -> np.ndarray:
    assert split is not None
    return np.bincount(split.labels.numpy(), minlength=n_classes)


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_every_class_gives_its_share_and_keeps_a_row(fraction, seed):
    counts = np.random.default_rng(seed).integers(1, 30, 80)
    dataset = hold_out_admission_rows(made(counts), fraction, seed)
    admission, kept = counted(dataset.admission, 80), counted(dataset.validation, 80)
    assert np.array_equal(admission + kept, counts)
    assert kept.min() >= 1
    least = np.floor(fraction * counts + 1e-9)
    assert (admission >= np.minimum(least, counts - 1)).all()
    assert (admission <= least + 1).all()
    put_back = [int(note.split()[-1]) for note in dataset.notes if "put back" in note]
    assert abs(admission.sum() + sum(put_back) - fraction * counts.sum()) <= 1


def test_rows_of_validation_go_to_one_side_and_no_other_split_changes():
    before = made([9] * 12)
    dataset = hold_out_admission_rows(before, 0.5, 3)
    assert dataset.admission is not None
    rows = [split.inputs.flatten().tolist() for split in (dataset.validation, dataset.admission)]  # type: ignore[union-attr]
    assert sorted(rows[0] + rows[1]) == list(range(108))
    assert (dataset.train, dataset.test) == (before.train, before.test)
    for split in (dataset.validation, dataset.admission):
        index = split.inputs.flatten().long()  # type: ignore[union-attr]
        assert torch.equal(split.labels, before.validation.labels[index])
    assert dataset.notes == (
        "54 of 108 validation rows put aside for the admission test (data.admission_fraction)",
    )


def test_the_seed_decides_which_rows():
    def rows(seed):
        dataset: Any = hold_out_admission_rows(made([9] * 12), 0.5, seed)
        return dataset.admission.inputs.flatten().tolist()

    assert rows(1) == rows(1)
    assert rows(1) != rows(2)


@pytest.mark.parametrize("duplicates", [2, 5])
def test_rows_with_the_same_input_stay_together(duplicates):
    dataset = hold_out_admission_rows(made([20] * 15, duplicates), 0.5, 0)
    assert dataset.admission is not None
    sides = [set(s.inputs.flatten().tolist()) for s in (dataset.validation, dataset.admission)]  # type: ignore[union-attr]
    assert not sides[0] & sides[1]
    assert counted(dataset.validation, 15).min() >= 1
    assert 0.3 < len(dataset.admission) / 300 < 0.6


def test_whole_units_of_chance_go_to_one_side_and_are_kept():
    generator = np.random.default_rng(0)
    labels, groups = np.arange(600) % 10, generator.integers(100, 160, 600)
    dataset: Any = hold_out_admission_rows(validated(labels, np.arange(600), groups), 0.5, 0)
    splits = dataset.validation, dataset.admission
    sides = [split.inputs.flatten().long().numpy() for split in splits]
    units = [split.units.numpy() for split in (dataset.validation, dataset.admission)]
    assert all(np.array_equal(u, groups[rows]) for u, rows in zip(units, sides, strict=True))
    assert not set(units[0]) & set(units[1])
    assert 250 < len(sides[1]) < 350


def test_where_no_unit_can_be_spared_whole_the_gate_is_drawn_by_input():
    labels = np.concatenate([np.arange(30), np.arange(15), np.arange(15, 30)])
    groups = np.repeat([7, 8], 30)  # of 15 classes, all rows lie in one unit
    groups[30:45] = 7
    dataset = hold_out_admission_rows(validated(labels, np.arange(60), groups), 0.5, 0)
    assert dataset.admission is not None
    assert len(dataset.admission) > 20
    assert "no unit of chance can be spared whole" in dataset.notes[0]


def test_equal_strings_stay_together_and_keep_their_texts_and_valid_labels():
    texts = tuple(f"word {i // 2}" for i in range(40))
    labels = torch.arange(40) % 2
    valid = Ragged(torch.tensor([0, 1] * 40), 2 * torch.arange(41))
    split = Split(hash_ngrams(texts, (1, 3)), labels, valid, texts)
    given = Dataset("t", "text", ("a", "b"), split, split, split, {})
    dataset = hold_out_admission_rows(given, 0.5, 0)
    assert dataset.admission is not None
    assert dataset.admission.texts is not None
    assert dataset.validation.texts is not None
    assert not set(dataset.admission.texts) & set(dataset.validation.texts)
    assert all(len(list(rows)) == 2 for _, rows in itertools.groupby(dataset.admission.texts))
    assert dataset.admission.valid is not None
    assert len(dataset.admission.valid) == len(dataset.admission) == len(dataset.admission.inputs)


def test_without_a_share_nothing_is_put_aside():
    before = made([5, 5])
    assert hold_out_admission_rows(before, 0.0, 0) is before


def test_where_no_class_can_spare_a_row_there_is_no_gate():
    dataset = hold_out_admission_rows(made([1, 1, 1]), 0.5, 0)
    assert dataset.admission is None
    assert len(dataset.validation) == 3
    assert "no class can spare one" in dataset.notes[-1]


def test_a_gate_that_the_data_bring_is_kept():
    admission = Split(torch.zeros(2, 1), torch.tensor([0, 1]))
    before = made([5, 5], admission=admission)
    assert hold_out_admission_rows(before, 0.5, 0) is before


@pytest.fixture
def arrays(tmp_path):
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(600, 3)).astype(np.float32), np.repeat(np.arange(6), 100)
    np.savez(tmp_path / "data.npz", x=x, y=y)

    def load(**settings):
        config = DataConfig(arrays=str(tmp_path / "data.npz"), standardize=False, **settings)
        return load_dataset(config, seed=0)

    return load


def test_half_of_the_validation_rows_of_any_source_are_put_aside(arrays):
    without, dataset = arrays(admission_fraction=0), arrays()
    assert without.admission is None
    assert [len(split) for split in dataset.splits.values()] == [450, 30, 30, 90]
    rows = [{row.numpy().tobytes() for row in s.inputs} for s in dataset.splits.values()]
    assert sum(map(len, rows)) == len(set.union(*rows)) == 600
    for name in ("train", "test"):
        assert torch.equal(dataset.splits[name].inputs, without.splits[name].inputs)


def test_rows_drawn_for_trying_out_count_those_of_the_gate(arrays):
    dataset = arrays(max_examples=120)
    assert 100 <= sum(map(len, dataset.splits.values())) <= 130
    assert dataset.admission is not None
    assert counted(dataset.validation, 6).min() >= 1
    assert [note.split(" ", 1)[1] for note in dataset.notes[-2:]] == [
        "of 600 rows drawn (data.max_examples)",
        "of 12 validation rows put aside for the admission test (data.admission_fraction)",
    ]


def with_bad_gate() -> Dataset:
    """For ``data.factory``."""
    return made([5, 5], admission=Split(torch.zeros(2, 1), torch.tensor([0, 7])))


def test_a_gate_that_a_factory_brings_is_checked():
    with pytest.raises(DataError, match=r"labels are not class indices(?s:.*)admission"):
        load_dataset(DataConfig(factory="test_datasets_admission_rows:with_bad_gate"), seed=0)
