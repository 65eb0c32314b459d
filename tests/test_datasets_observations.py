"""Units of chance: declared by a column or an array, joined with equal inputs, whole in splits."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
import torch

from specialists.config import Config, DataConfig
from specialists.datasets import Dataset, Split, load_dataset
from specialists.datasets.observations import declared_groups, straddling, units_of_chance
from specialists.datasets.splits import LEFT_OUT, TEST, TRAIN, VALIDATION
from specialists.errors import DataError, DataWarning


def rows(n=360, n_groups=60, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, 3)).astype(np.float32)
    return x, np.arange(n) % 3, generator.integers(0, n_groups, n)


def apart(dataset):
    """Whether no unit lies in two splits."""
    units = [set(split.units.tolist()) for split in dataset.splits.values()]
    return not any(a & b for a, b in itertools.combinations(units, 2))


def values_of(dataset, values):
    """The user's group values of the rows of each split."""
    return [set(values[split.rows.numpy()]) for split in dataset.splits.values()]


def test_rows_that_hang_together_by_group_or_input_are_one_unit():
    inputs = np.array([0, 0, 1, 2, 3, *range(4, 100)])
    declared = np.array([5, 6, 6, 7, 7, *range(8, 104)])
    units, notes = units_of_chance(inputs, declared, "a writer")
    assert units[0] == units[1] == units[2] != units[3] == units[4]
    assert len(np.unique(units)) == 98
    assert notes == ("98 groups: rows that share a writer or an input",)


def test_where_joining_makes_one_large_unit_the_declared_groups_stand_alone_and_it_is_told():
    declared = np.arange(100) // 4
    inputs = np.arange(100)
    inputs[4::4] = 0  # an input of every group: all hang together
    units, notes = units_of_chance(inputs, declared, "a writer")
    assert np.array_equal(units, declared)
    assert notes[0].startswith("25 groups: rows that share a writer; joined")
    assert notes[0].endswith("(rows with an input that another group has: 25)")


def test_large_declared_groups_that_no_input_joins_are_kept():
    inputs, declared = np.arange(40) // 2, np.arange(40) // 20
    units, notes = units_of_chance(inputs, declared, "a writer")
    assert np.array_equal(units, declared)
    assert notes == ("2 groups: rows that share a writer or an input",)


def test_without_declared_groups_equal_inputs_are_the_units():
    assert units_of_chance(np.array([7, 3, 7]), None)[0].tolist() == [1, 0, 1]


@pytest.mark.parametrize("blank", ["", " ", float("nan")])
def test_rows_without_a_value_stand_alone_and_are_counted(blank):
    groups, notes = declared_groups([["a", blank, "a", blank]], ["writer"])
    assert groups[0] == groups[2]
    assert len({groups[0], groups[1], groups[3]}) == 3
    assert notes == ["rows without a value of 'writer', each a unit of its own: 2"]


def test_rows_of_one_group_agree_in_all_columns():
    groups, notes = declared_groups([["a", "a", "b", "a"], [1, 2, 1, 1]], ["writer", "page"])
    assert groups.tolist() == [0, 1, 2, 0]
    assert notes == []
    assert declared_groups([["a", "a"], [1, float("nan")]], ["writer", "page"])[1] == [
        "rows without a value of 'writer' and 'page', each a unit of its own: 1"
    ]


def test_the_label_and_another_column_name_the_groups_together(tmp_path):
    path = tmp_path / "t.tsv"
    lines = [f"word {i}\t{'ab'[i % 2]}\t{i // 20}" for i in range(400)]
    path.write_text("\n".join(["text\tlabel\twriter", *lines]))
    settings = Config.from_dict({"data": {"table": str(path), "groups": ["label", "writer"]}}).data
    dataset = load_dataset(settings, seed=0)
    note = "40 groups: rows that share the same 'label' and the same 'writer' or an input"
    assert note in dataset.notes


def test_groups_of_given_splits_that_lie_in_several_are_counted():
    parts = np.array([TRAIN, TEST, TEST, VALIDATION, LEFT_OUT, TEST])
    groups = np.array([9, 9, 2, 2, 4, 4])
    with pytest.warns(DataWarning, match="test rows with a writer that another split has too: 3"):
        assert len(straddling(parts, groups, "a writer")) == 1


@pytest.mark.parametrize("suffix", ["tsv", "jsonl", "parquet"])
def test_a_column_of_a_table_names_the_groups(tmp_path, suffix):
    x, y, writer = rows()
    path = tmp_path / f"t.{suffix}"
    table = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "writer": writer, "label": y})
    if suffix == "jsonl":
        table.to_json(path, orient="records", lines=True)
    elif suffix == "parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, sep="\t", index=False)
    dataset = load_dataset(DataConfig(table=str(path), groups=("Writer",)), seed=0)
    assert dataset.preprocessing["features"] == ["a", "b"]
    assert apart(dataset)
    values = np.concatenate([np.full({"tsv": 2, "jsonl": 1, "parquet": 0}[suffix], -1), writer])
    assert sum(map(len, values_of(dataset, values))) == len(set(writer))
    assert "59 groups: rows that share a value of 'Writer' or an input" in dataset.notes


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ("writr", r"no column 'writr'(?s:.*)set 'writer' in data.groups"),
        ("label", "one column cannot be two of text, features, label, split and groups"),
    ],
)
def test_a_column_that_cannot_name_the_groups_is_refused(tmp_path, groups, told):
    path = tmp_path / "t.jsonl"
    path.write_text(
        "\n".join(
            json.dumps({"text": f"word {i}", "label": "ab"[i % 2], "writer": i // 3})
            for i in range(90)
        )
    )
    with pytest.raises(DataError, match=told):
        load_dataset(DataConfig(table=str(path), groups=(groups,)), seed=0)


def load_arrays(path, settings, **arrays):
    np.savez(path, **arrays)
    return load_dataset(DataConfig(arrays=str(path), **settings), seed=0)


@pytest.mark.parametrize("of", [lambda w: w, lambda w: np.char.add("w", w.astype(str))])
def test_an_array_names_the_groups(tmp_path, of):
    x, y, writer = rows()
    dataset = load_arrays(tmp_path / "a.npz", {"groups": "writer"}, x=x, y=y, writer=of(writer))
    assert apart(dataset)
    assert sum(map(len, values_of(dataset, writer))) == len(set(writer))
    assert not any("not used" in note for note in dataset.notes)


def test_groups_that_lie_in_two_given_splits_are_told_and_kept(tmp_path):
    x, y, writer = rows()
    parts = {"train": slice(0, 200), "test": slice(200, 300), "validation": slice(300, 360)}
    named = {
        f"{role}_{part}": array[rows]
        for part, rows in parts.items()
        for role, array in (("x", x), ("y", y), ("writer", writer))
    }
    with pytest.warns(DataWarning, match="validation and test rows with a value of"):
        dataset = load_arrays(
            tmp_path / "a.npz", {"groups": "writer", "admission_fraction": 0}, **named
        )
    assert list(map(len, dataset.splits.values())) == [200, 60, 100]
    told = sum(w in writer[:200] or w in writer[300:] for w in writer[200:300])
    told += sum(w in writer[:300] for w in writer[300:])
    assert any(
        note.endswith(f"'writer' that another split has too: {told}") for note in dataset.notes
    )
    unit_of = dict(zip(writer[:200], dataset.train.units.tolist(), strict=True))
    for value, unit in zip(writer[200:300], dataset.test.units.tolist(), strict=True):
        assert unit == unit_of.get(value, unit)


@pytest.mark.parametrize(
    ("groups", "array", "told"),
    [
        ("writr", np.arange(360), r"no array 'writr'(?s:.*)did you mean 'writer'"),
        ("writer", np.arange(359), r"one value a row(?s:.*)\(359,\)(?s:.*)\(360,\)"),
        ("writer", np.zeros((360, 2)), r"one value a row(?s:.*)\(360, 2\)"),
    ],
)
def test_an_array_that_cannot_name_the_groups_is_refused(tmp_path, groups, array, told):
    x, y, _ = rows()
    with pytest.raises(DataError, match=told):
        load_arrays(tmp_path / "a.npz", {"groups": groups}, x=x, y=y, writer=array)


def test_rows_that_are_left_out_join_no_groups(tmp_path):
    x, y, writer = rows()
    first, second = (int(np.flatnonzero(writer == w)[0]) for w in (0, 1))
    x, y, writer = np.append(x, x[[second]], 0), np.append(y, 3), np.append(writer, 0)
    for exclude, joined in (((), True), (("3",), False)):
        settings = {"groups": "writer", "exclude_labels": exclude, "min_examples": 1}
        dataset = load_arrays(tmp_path / "a.npz", settings, x=x, y=y, writer=writer)
        unit_of = {
            row: unit
            for split in dataset.splits.values()
            for row, unit in zip(split.rows.tolist(), split.units.tolist(), strict=True)  # type: ignore[union-attr]
        }
        assert (unit_of[first] == unit_of[second]) == joined


def test_groups_are_kept_when_rows_are_drawn_for_trying_out(tmp_path):
    x, y, writer = rows()
    settings = {"groups": "writer", "max_examples": 150}
    dataset = load_arrays(tmp_path / "a.npz", settings, x=x, y=y, writer=writer)
    assert apart(dataset)
    for split in dataset.splits.values():
        unit_of = dict(zip(writer[split.rows.numpy()], split.units.tolist(), strict=True))  # type: ignore[union-attr]
        assert len(set(unit_of.values())) == len(unit_of) == len(split.units.unique())


def from_factory(grouped: str = "all") -> Dataset:
    """For ``data.factory``: the first rows of validation and test are alike."""
    splits = {}
    for i, name in enumerate(("train", "validation", "test")):
        x = torch.arange(6.0)[:, None] + 10 * i
        x[0] = 5.0 if i else 0.0
        has = grouped == "all" or (grouped == "some" and i)
        groups = torch.tensor([0, 0, 1, 1, 2, 2]) + 3 * i if has else None
        splits[name] = Split(x, torch.arange(6) % 2, groups=groups)
    return Dataset("made", "features", ("a", "b"), preprocessing={}, **splits)


def test_rows_of_a_factory_with_equal_inputs_share_a_unit():
    config = {"factory": "test_datasets_observations:from_factory", "admission_fraction": 0}
    dataset = load_dataset(DataConfig(**config, options={"grouped": "none"}), seed=0)
    assert dataset.train.units[5] == dataset.validation.units[0] == dataset.test.units[0]
    assert len(torch.cat([split.units for split in dataset.splits.values()]).unique()) == 16


def test_groups_of_a_factory_are_kept_and_must_be_in_every_split():
    config = {"factory": "test_datasets_observations:from_factory", "admission_fraction": 0}
    dataset = load_dataset(DataConfig(**config), seed=0)
    assert dataset.test.units.tolist() == [6, 6, 7, 7, 8, 8]
    with pytest.raises(DataError, match=r"some have none(?s:.*)train"):
        load_dataset(DataConfig(**config, options={"grouped": "some"}), seed=0)


def test_rows_without_groups_are_units_of_their_own():
    assert Split(torch.zeros(3, 1), torch.zeros(3)).units.tolist() == [0, 1, 2]


def test_omniglot_is_grouped_by_drawer():
    assert Config.from_toml("omniglot").data.groups == ("drawer",)
