"""Tables: every format, splits by column, label sets, and what is said of bad ones."""

import gzip
import itertools

import pandas as pd
import pytest
import torch

from specialists.config import DataConfig
from specialists.datasets import Ragged, load_dataset, read_unlabelled
from specialists.datasets.naming import nearest_file
from specialists.errors import DataError, DataWarning

COLOURS = {"red": ("ruby", "scarlet"), "blue": ("navy", "azure"), "green": ("olive", "lime")}
THINGS = (
    "hat",
    "car",
    "door",
    "cup",
    "shoe",
    "boat",
    "lamp",
    "desk",
    "coat",
    "bowl",
    "ring",
    "pen",
)


def colours(**columns):
    rows = [
        (f"{shade} {thing}", label)
        for label, shades in COLOURS.items()
        for shade, thing in itertools.product(shades, THINGS)
    ]
    table = pd.DataFrame(rows, columns=["text", "label"])
    return table.assign(**columns)


def load(path, **settings):
    settings = {"admission_fraction": 0, **settings}
    return load_dataset(DataConfig(table=str(path), **settings), seed=0)


def write(table, path):
    name = path.name
    if name.startswith("t.parquet"):
        plain = path.with_name("t.parquet")
        table.to_parquet(plain)
        if name.endswith(".gz"):
            path.write_bytes(gzip.compress(plain.read_bytes()))
    else:
        table.to_csv(path, sep="\t" if ".tsv" in name else ",", index=False)


@pytest.mark.parametrize("suffix", ["tsv", "tsv.gz", "csv", "csv.gz", "parquet", "parquet.gz"])
def test_every_format_gives_the_same_data(tmp_path, suffix):
    path = tmp_path / f"t.{suffix}"
    write(colours(), path)
    dataset = load(path)
    assert dataset.name == "t"
    assert dataset.class_names == ("blue", "green", "red")
    assert len(dataset.train) + len(dataset.validation) + len(dataset.test) == 72
    assert dataset.train.texts is not None
    assert dataset.train.texts[0].split()[0] in COLOURS["red"]
    assert dataset.train.valid is None


def test_columns_name_a_file_without_a_header(tmp_path):
    path = tmp_path / "t.tsv"
    colours().to_csv(path, sep="\t", index=False, header=False)
    assert load(path, columns=("text", "label")).n_classes == 3


def test_a_split_column_is_kept(tmp_path):
    parts = ["train", "train", "val", "test"] * 18
    write(colours(part=parts), tmp_path / "t.csv")
    dataset = load(tmp_path / "t.csv", split="part")
    assert [len(s) for s in (dataset.train, dataset.validation, dataset.test)] == [36, 18, 18]


def test_splits_name_the_values_and_other_rows_are_left_out(tmp_path):
    parts = ["A", "A", "B", "C", "D", "A"] * 12
    write(colours(part=parts), tmp_path / "t.csv")
    splits = {"train": ("A",), "validation": ("B",), "test": ("C",)}
    dataset = load(tmp_path / "t.csv", split="part", splits=splits, min_examples=4)
    assert len(dataset.train) == 36
    assert any("12 rows in the splits 'd' left out" in note for note in dataset.notes)


def test_excluded_labels_are_left_out_with_a_note(tmp_path):
    write(colours(), tmp_path / "t.csv")
    dataset = load(tmp_path / "t.csv", exclude_labels=("red",))
    assert dataset.class_names == ("blue", "green")
    assert any("24 rows" in note for note in dataset.notes)


def test_a_text_with_several_labels_has_them_all_as_valid_and_lies_on_one_side(tmp_path):
    both = pd.DataFrame({"text": ["turquoise vase", "teal jug"] * 2, "label": ["blue"] * 4})
    both.loc[2:, "label"] = "green"
    write(pd.concat([colours(), both]), tmp_path / "t.csv")
    dataset = load(tmp_path / "t.csv")
    wanted = [dataset.class_names.index(name) for name in ("blue", "green")]
    found = 0
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.texts is not None
        rows = [i for i, text in enumerate(split.texts) if text in ("turquoise vase", "teal jug")]
        assert len(rows) in (0, 2, 4)
        for i in rows:
            assert split.valid is not None
            assert split.valid.row(i).tolist() == wanted
        found += len(rows)
    assert found == 4
    assert any("4 rows have an input with several labels" in note for note in dataset.notes)


def test_a_drawn_sample_keeps_every_class(tmp_path):
    write(colours(), tmp_path / "t.csv")
    dataset = load(tmp_path / "t.csv", max_examples=20)
    assert len(torch.unique(dataset.train.labels)) == 3
    assert len(dataset.train) + len(dataset.validation) + len(dataset.test) == pytest.approx(
        20, 0.2
    )


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"text": "texts"}, r"no column 'texts'(?s:.*)data.text = 'text'"),
        ({"label": "lable"}, r"no column 'lable'(?s:.*)'label'"),
        ({"columns": ("a", "b")}, r"2 names(?s:.*)expected: 3"),
        ({"exclude_labels": ("rde",)}, r"'rde', which is no label(?s:.*)'red'"),
        ({"split": "part"}, r"unknown meaning(?s:.*)'a', 'b'(?s:.*)data.splits"),
        ({"split": "label"}, "one column cannot be two of text, features, label, split and groups"),
        ({"text": "text", "features": ("part",)}, "exclude one another"),
        ({"min_examples": 1000}, r"fewer than two classes\n  where: \S+/t.csv, column 'label'\n"),
    ],
)
def test_a_wrong_setting_is_told_with_the_nearest_right_one(tmp_path, settings, told):
    write(colours(part=["A", "B"] * 36), tmp_path / "t.csv")
    with pytest.raises(DataError, match=told):
        load(tmp_path / "t.csv", **settings)


def test_a_missing_file_names_the_nearest(tmp_path):
    write(colours(), tmp_path / "colours.csv")
    with pytest.raises(DataError, match=r"no such file(?s:.*)mean .*colours.csv"):
        load(tmp_path / "colors.csv")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("unique.tsv", None),
        ("nofiles.csv", "nofiles.csv"),
        ("nofile.tsv.gz", "nofile.tsv.gz"),
        ("nofile.npz", None),
        ("nofile.png", None),
    ],
)
def test_only_a_file_of_a_like_name_and_kind_is_guessed(tmp_path, name, near):
    (tmp_path / name).touch()
    assert nearest_file(tmp_path / "nofile.txt") == (near and tmp_path / near)


def test_a_missing_file_of_no_like_name_is_told_with_those_that_are_there(tmp_path):
    write(colours(), tmp_path / "colours.csv")
    (tmp_path / "arrays.npz").touch()
    with pytest.raises(DataError, match=rf"that is there, for .* in {tmp_path}: colours.csv$"):
        load(tmp_path / "x.tsv")
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match=rf"name a folder that is there.* in {tmp_path}: photos$"):
        load_dataset(DataConfig(images=str(tmp_path / "nothing")), 0)
    with pytest.raises(DataError, match=r"not a folder(?s:.*)--set data.table="):
        load_dataset(DataConfig(images=str(tmp_path / "colours.csv")), 0)


def test_a_folder_in_place_of_a_table_is_told_how_to_be_given(tmp_path):
    (tmp_path / "red").mkdir()
    with pytest.raises(DataError, match=r"a folder, not a table(?s:.*)name a file in it"):
        load(tmp_path)
    write(colours(), tmp_path / "colours.csv")
    with pytest.raises(DataError, match=f"--set data.table={tmp_path / 'colours.csv'}`"):
        load(tmp_path)
    (tmp_path / "red" / "1.PNG").touch()
    with pytest.raises(DataError, match=f"--set data.images={tmp_path}`"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("min_examples", "fix"), [(1, "check the label"), (99, "lower data.min_examples, or check")]
)
def test_a_class_that_is_alone_is_not_blamed_on_the_rare_ones(tmp_path, min_examples, fix):
    write(colours(label="red"), tmp_path / "t.csv")
    with pytest.raises(DataError, match=rf"to mend it: {fix}"):
        load(tmp_path / "t.csv", min_examples=min_examples)


def test_a_missing_header_is_told_with_the_cure(tmp_path):
    colours().to_csv(tmp_path / "t.csv", index=False, header=False)
    with pytest.raises(DataError, match=r"no column 'label'(?s:.*)data.columns"):
        load(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ("text", "1 rows without a text left out"),
        ("label", "1 rows without a label left out"),
    ],
)
def test_a_row_with_an_empty_cell_is_left_out_and_counted_with_its_line(tmp_path, column, told):
    table = colours()
    table.loc[4, column] = "  "
    write(table, tmp_path / "t.csv")
    dataset = load(tmp_path / "t.csv")
    assert sum(map(len, dataset.splits.values())) == 71
    assert f"{told} ({tmp_path / 't.csv'}, line 6)" in dataset.notes


def test_quotation_marks_of_a_tsv_are_characters(tmp_path):
    rows = [f'"say {word}\t{label}' for word in THINGS for label in ("a", "b")]
    (tmp_path / "t.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    dataset = load(tmp_path / "t.tsv", min_examples=2)
    assert dataset.train.texts is not None
    assert dataset.train.texts[0].startswith('"say')


def test_equal_texts_in_two_given_splits_warn(tmp_path):
    table = colours(part=["train", "val", "test"] * 24)
    repeat = table[table.part == "train"].head(2).assign(part="test")
    write(pd.concat([table, repeat]), tmp_path / "t.csv")
    with pytest.warns(DataWarning, match="an input that another split has too: 2"):
        load(tmp_path / "t.csv", split="part")


def test_a_table_and_a_list_of_strings_are_read_without_labels(tmp_path):
    write(colours(), tmp_path / "t.csv")
    preprocessing = load(tmp_path / "t.csv").preprocessing
    texts = ["ruby hat", "navy car"]
    (tmp_path / "new.txt").write_text("\n".join(texts) + "\n\n")
    assert read_unlabelled(tmp_path / "new.txt", preprocessing)[1] == (*texts, "")
    (tmp_path / "new.txt").write_text("\n".join(texts) + "\n")
    write(pd.DataFrame({"id": [1, 2], "text": texts}), tmp_path / "new.csv")
    listed, names = read_unlabelled(tmp_path / "new.txt", preprocessing)
    tabled, others = read_unlabelled(tmp_path / "new.csv", preprocessing)
    assert names == others == tuple(texts)
    assert isinstance(listed, Ragged)
    assert isinstance(tabled, Ragged)
    assert torch.equal(listed.values, tabled.values)


def test_a_new_table_without_header_is_read_as_trainings_was(tmp_path):
    colours().to_csv(tmp_path / "t.csv", index=False, header=False)
    preprocessing = load(tmp_path / "t.csv", columns=("text", "label")).preprocessing
    _, names = read_unlabelled(tmp_path / "t.csv", preprocessing)
    assert len(names) == 72
