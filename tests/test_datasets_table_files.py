"""Odd and wrong files of tables: read right, or refused with one message that says where."""

import contextlib
import gzip
import json
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from specialists.config import DataConfig
from specialists.datasets import load_dataset, read_unlabelled, text_files
from specialists.datasets.table_files import read_table
from specialists.errors import DataError, DataWarning

WORDS = ("hat", "car", "door", "cup", "shoe", "boat", "lamp", "desk", "coat", "bowl")
ROWS = [
    (f"{shade} {word}", label) for label, shade in (("A", "red"), ("B", "sky")) for word in WORDS
]
TEXT = {"kind": "text", "char_ngrams": [1, 2], "word_ngrams": [0, 0], "lowercase": True}


def delimited(rows=ROWS, separator=",", header=("text", "label")):
    return "".join(separator.join(row) + "\n" for row in (header, *rows))


def json_lines(rows=ROWS):
    return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)


def load(path, content, **settings) -> Any:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    settings = {"admission_fraction": 0, "min_examples": 2, **settings}
    return load_dataset(DataConfig(table=str(path), **settings), seed=0)


def n_rows(dataset):
    return sum(map(len, dataset.splits.values()))


def gz(content):
    return gzip.compress(content.encode(), mtime=0)


RIGHT = {
    "T.TSV": delimited(separator="\t"),
    "T.CSV.GZ": gz(delimited()),
    "t.csv": gz(delimited()),  # gzip without the suffix
    "crlf.csv": delimited().replace("\n", "\r\n"),
    "old-mac.csv": delimited().replace("\n", "\r"),
    "bom.csv": "\ufeff" + delimited(),
    "utf-16.tsv": delimited(separator="\t").encode("utf-16"),
    "utf-32.tsv": delimited(separator="\t").encode("utf-32"),
    "no-last-line-break.csv": delimited().removesuffix("\n"),
    "upper-header.csv": delimited(header=("TEXT", " Label ")),
    "quoted.csv": delimited([(f'"{text}, ""so"""', label) for text, label in ROWS]),
    "blank-first-line.csv": "\n" + delimited(),
    "empty-cells.csv": delimited(
        [(*row, "", "") for row in ROWS], header=("text", "label", "", "x")
    ),
    "t.jsonl": json_lines(),
    "T.NDJSON.GZ": gz(json_lines()),
    "numbers.jsonl": json_lines([(text, "AB".index(label)) for text, label in ROWS]),
    "null.jsonl": json_lines() + '{"text": null, "label": "A"}\n\n',
    "long-cell.csv": delimited([*ROWS[:-1], ("x" * 200_000, "B")]),
    "blank-lines.csv": delimited() + "\n\n",
    "nul-name.tsv": delimited([(text, f"{label} ") for text, label in ROWS], "\t"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_an_odd_table_is_read_whole(tmp_path, name):
    dataset = load(tmp_path / name, RIGHT[name])
    assert n_rows(dataset) == 20
    assert dataset.class_names == (("0", "1") if name == "numbers.jsonl" else ("A", "B"))


def damaged(content, at, flip=0x40):
    return content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :]


WRONG = {
    "empty.csv": ("", r"the file is empty(?s:.*)a header, then a row(?s:.*)to mend it: write rows"),
    "blank.tsv": ("\n\n", "the file is empty"),
    "header.csv": ("text,label\n", r"no row has both(?s:.*)without rows(?s:.*)write rows"),
    "header.jsonl": ("", r"the file is empty(?s:.*)an object in each line(?s:.*)to mend it"),
    "excel.csv": (b"PK\x03\x04\x14\0" + bytes(99), r"excel.csv(?s:.*)zip archive, as Excel"),
    "parquet.csv.gz": (gz("PAR1" + "x" * 99), "Parquet"),
    "page.csv": ("\n<!DOCTYPE html>\n<p>Not Found, sorry</p>", "a web page"),
    "pointer.csv": ("version https://git-lfs.github.com/spec/v1\noid sha256:4d\n", "Git LFS"),
    "unknown.xlsx": ("x", "unknown kind of table"),
    "truncated.csv.gz": (gz(delimited())[:-20], "cannot be read"),
    "not.csv.gz": (delimited(), "Not a gzipped file"),
    "trailing.csv.gz": (gz(delimited()) + b"more", "cannot be read"),
    "latin1.csv": (delimited([*ROWS, ("café", "A")]).encode("latin1"), r"line 22(?s:.*)byte 0xe9"),
    "utf-16-without-mark.csv": (delimited().encode("utf-16-le"), r"line 1(?s:.*)NUL"),
    "odd-utf-16.csv": (delimited().encode("utf-16") + b"x", r"UTF-16(?s:.*)save it as UTF-8$"),
    "random.tsv": (bytes(range(256)), r"no text of a table(?s:.*)byte 0x00(?s:.*)download the"),
    "nul.tsv": (delimited([*ROWS, ("a\0b", "A")], "\t"), r"line 22(?s:.*)NUL"),
    "extra.csv": (delimited([*ROWS[:4], ("a", "b", "A"), *ROWS]), r"line 6(?s:.*)3 cells"),
    "missing.tsv": (delimited([("a",), *ROWS], "\t"), r"line 2(?s:.*)1 cell in"),
    "two.csv": (delimited([("a",), *ROWS, ("b",)]), r"2 rows have more or fewer(?s:.*)lines 2, 23"),
    "open-quote.csv": (delimited([*ROWS, ('"a', "A")]), r"unbalanced(?s:.*)starts in line 22"),
    "inner-quote.csv": (delimited([('"a" b', "A"), *ROWS]), r"unbalanced(?s:.*)starts in line 2"),
    "backslash.csv": (delimited([(r'"a \"b\" c"', "A"), *ROWS]), "unbalanced"),
    "swallowed.csv": (delimited([('"a', "A"), *ROWS, ('b"', "A")]), r"swallowed(?s:.*)line 2"),
    "twice.csv": (
        delimited(header=("text", "label", "text"), rows=[]),
        "2 columns are called 'text'",
    ),
    "alike.csv": (delimited(header=("Label", "label ", "text"), rows=[]), "2 columns are called"),
    "semicolons.csv": (
        delimited(separator=";"),
        r"one column that holds semicolons(?s:.*)rename the file",
    ),
    "semicolons-and-commas.csv": (
        delimited([("one, two", "A"), *ROWS], ";"),
        r"line 2(?s:.*)'text;label' holds semicolons(?s:.*)rename the file",
    ),
    "list.jsonl": ('["a", "A"]\n', r"line 1(?s:.*)a list"),
    "broken.jsonl": (json_lines() + '{"text": "a", "la', r"not a JSON object(?s:.*)line 21"),
    "deep.jsonl": (json_lines() + "[" * 100_000, r"not a JSON object(?s:.*)line 21"),
    "key-twice.jsonl": ('{"text": "a", "text": "b"}\n', "a key occurs twice"),
    "several.jsonl": (
        json_lines() + '{"text": "a", "label": ["A", "B"]}',
        r"more than one value(?s:.*)line 21",
    ),
    "object.jsonl": (
        json_lines() + '{"text": {"en": "a"}, "label": "A"}',
        r"line 21, column 'text'",
    ),
    "no-key.jsonl": (
        json_lines() + '{"txt": "a", "label": "A"}',
        r"1 rows have no 'text'(?s:.*)line 21",
    ),
    "one-label.csv": (delimited([row for row in ROWS if row[1] == "A"]), "fewer than two classes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_table_is_refused_with_its_place(tmp_path, name):
    content, told = WRONG[name]
    with pytest.raises(DataError, match=told) as error:
        load(tmp_path / name, content)
    str(error.value).encode()  # it can be printed


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", ["t.csv.gz", "t.parquet", "t.jsonl", "t.tsv"])
def test_a_flipped_bit_is_read_or_refused(tmp_path, name, seed):
    plain = tmp_path / "plain.parquet"
    pd.DataFrame(ROWS, columns=["text", "label"]).to_parquet(plain)
    whole = {
        "t.csv.gz": gz(delimited()),
        "t.parquet": plain.read_bytes(),
        "t.jsonl": json_lines().encode(),
        "t.tsv": delimited(separator="\t").encode(),
    }[name]
    generator = np.random.default_rng(seed)
    content = damaged(whole, int(generator.integers(len(whole))), 1 << int(generator.integers(8)))
    with contextlib.suppress(DataError):
        assert n_rows(load(tmp_path / name, content)) >= 17


def test_a_folder_is_no_table(tmp_path):
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(DataError, match="a folder, not a table"):
        read_table(tmp_path / "t.csv")


def test_a_compressed_file_that_grows_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "LARGEST", 1000)
    (tmp_path / "t.csv.gz").write_bytes(gz("text,label\n" + "a" * 10_000_000))
    with pytest.raises(DataError, match="too large to be read"):
        read_table(tmp_path / "t.csv.gz")


def test_a_large_compressed_file_may_grow_in_proportion(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "LARGEST", 10)
    assert n_rows(load(tmp_path / "t.csv.gz", gz(delimited()))) == 20


def test_half_a_character_is_replaced_and_counted(tmp_path):
    content = json_lines() + r'{"text": "cut \ud83d", "label": "A"}'
    dataset = load(tmp_path / "t.jsonl", content)
    assert n_rows(dataset) == 21
    assert "1 strings held half a character" in dataset.notes[0]
    assert "cut \ufffd" in (*dataset.train.texts, *dataset.validation.texts, *dataset.test.texts)


@pytest.mark.parametrize("change", ["category", "string", "large_string", "bytes", "float"])
def test_types_of_parquet_that_differ_harmlessly_are_read_alike(tmp_path, change):
    table = pd.DataFrame(ROWS, columns=["text", "label"])
    table["label"] = table.label.map({"A": "7", "B": "10"})
    if change == "float":
        table["label"] = table.label.astype(float)
    arrow = pa.Table.from_pandas(
        table.astype({"label": "category"}) if change == "category" else table
    )
    kinds = {"string": pa.string(), "large_string": pa.large_string(), "bytes": pa.binary()}
    if change in kinds:
        arrow = arrow.set_column(0, "text", arrow["text"].cast(kinds[change]))
    parquet.write_table(arrow, tmp_path / "t.parquet")
    dataset = load(tmp_path / "t.parquet", (tmp_path / "t.parquet").read_bytes())
    assert dataset.class_names == ("7", "10")
    assert set(dataset.train.texts) <= {text for text, _ in ROWS}


def test_a_list_in_parquet_is_refused_with_its_row(tmp_path):
    table = pd.DataFrame(ROWS, columns=["text", "label"])
    table["label"] = [["A", "B"]] * 20
    table.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"more than one value(?s:.*)row 0, column 'label'"):
        load(tmp_path / "t.parquet", (tmp_path / "t.parquet").read_bytes())


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("n.csv", "text\na\n\nb\n   \nc\n", ["a", "", "b", "   ", "c"]),
        ("n.csv", "id,text\n1,a\n\n3,\n4,b\n", ["a", "", "", "b"]),
        ("n.tsv", "text\n\n\na\n", ["", "", "a"]),
        ("N.TXT", "a\r\n\r\nb", ["a", "", "b"]),
        ("n.txt", "\n", [""]),
        ("n.csv", 'text\n"a\nb"\nc\n', ["a\nb", "c"]),
        ("n.jsonl", '{"text": "a"}\n\n{"text": null}\n{"text": 7.0}\n', ["a", "", "", "7.0"]),
        ("N.CSV.GZ", gz("Text\na\n\n"), ["a", ""]),
    ],
)
def test_one_row_in_is_one_row_out_in_order(tmp_path, name, content, wanted):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    inputs, shown = read_unlabelled(path, TEXT)
    assert shown == tuple(wanted)
    assert len(inputs) == len(wanted)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("n.csv", "text,x\na,b\nc,d,e\n", "line 3"),
        ("n.tsv", "text\tx\na\n", "line 2"),
        ("n.jsonl", '{"text": "a"}\n{"txt": "b"}\n', r"no 'text'(?s:.*)line 2"),
        ("n.csv", "text\n", "no inputs"),
        ("n.txt", "", r"no inputs(?s:.*)to mend it: write rows"),
        ("n.pdf", "x", "not a file of texts"),
    ],
)
def test_new_texts_that_cannot_be_read_are_refused(tmp_path, name, content, told):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=told):
        read_unlabelled(tmp_path / name, TEXT)


def test_a_quote_that_may_swallow_new_rows_is_told(tmp_path):
    (tmp_path / "n.csv").write_text('text,x\n"a,1\nb,2\nc",3\n')
    with pytest.warns(DataWarning, match=r"1 quoted cells(?s:.*)line 2"):
        assert len(read_unlabelled(tmp_path / "n.csv", TEXT)[1]) == 1


def test_a_text_on_several_lines_is_no_warning(tmp_path):
    (tmp_path / "n.csv").write_text('text,x\n"Dear all:\nhello",1\n')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_unlabelled(tmp_path / "n.csv", TEXT)[1] == ("Dear all:\nhello",)


NUMBERS = [(str(i % 7), f"{(i % 2) + i / 100}", "xy"[i % 2]) for i in range(60)]


def numbers(rows=NUMBERS, header=("a", "b", "label")):
    return delimited(rows, header=header)


def test_a_table_of_numbers_has_features_and_says_so(tmp_path):
    dataset = load(tmp_path / "t.csv", numbers(), standardize=False)
    assert dataset.kind == "features"
    assert "no column 'text': 2 columns of numbers are features: 'a', 'b'" in dataset.notes
    row = int(dataset.test.rows[0]) - 2
    assert dataset.test.inputs[0].tolist() == pytest.approx(list(map(float, NUMBERS[row][:2])))


@pytest.mark.parametrize("index", ["", "id"])
def test_a_column_that_counts_the_rows_is_no_feature(tmp_path, index):
    rows = [(str(i), *row) for i, row in enumerate(NUMBERS)]
    dataset = load(tmp_path / "t.csv", numbers(rows, (index, "a", "b", "label")))
    assert dataset.preprocessing["features"] == ["a", "b"]
    assert f"columns not used: {index!r}" in dataset.notes


@pytest.mark.parametrize("features", [("b",), "numeric"])
def test_named_columns_are_the_features(tmp_path, features):
    rows = [(*row, "word") for row in NUMBERS]
    header = ("a", "b", "label", "text")
    dataset = load(tmp_path / "t.csv", numbers(rows, header), features=features)
    assert dataset.preprocessing["features"] == (["b"] if features == ("b",) else ["a", "b"])


def test_new_rows_of_numbers_are_encoded_as_training_rows_were(tmp_path):
    dataset = load(tmp_path / "t.csv", numbers())
    swapped = [(label, b, a) for a, b, label in NUMBERS]
    (tmp_path / "new.csv").write_text(numbers(swapped, ("label", "B", "a")))
    inputs: Any = read_unlabelled(tmp_path / "new.csv", dataset.preprocessing)[0]
    assert torch.equal(inputs[dataset.train.rows - 2], dataset.train.inputs)


@pytest.mark.parametrize("cell", ["", "1,5", "1_000", "nan", "1e300", "x"])
def test_a_cell_that_is_no_number_is_told_with_its_place(tmp_path, cell):
    dataset = load(tmp_path / "t.csv", numbers())
    (tmp_path / "new.csv").write_text(f'a,b\n1,2\n3,"{cell}"\n')
    with pytest.raises(DataError, match=r"1 cells are no numbers(?s:.*)line 3, column 'b'"):
        read_unlabelled(tmp_path / "new.csv", dataset.preprocessing)


@pytest.mark.parametrize("cell", ["NA", "1_000", "inf"])
def test_one_odd_cell_in_a_table_of_numbers_is_told_with_its_place(tmp_path, cell):
    rows = [*NUMBERS[:3], ("1", cell, "x"), *NUMBERS]
    with pytest.raises(DataError, match=rf"no column 'text'(?s:.*)line 5, column 'b'(?s:.*){cell}"):
        load(tmp_path / "t.csv", numbers(rows))


def test_a_column_of_texts_in_which_some_are_numbers_is_asked_for_by_name(tmp_path):
    rows = [("7", "A"), *ROWS]
    with pytest.raises(DataError, match=r"no column 'text'\n(?s:.*)'sentence'(?s:.*)set data.text"):
        load(tmp_path / "t.csv", delimited(rows, header=("sentence", "label")))


def test_decimal_commas_are_told_with_their_place(tmp_path):
    rows = [(a, b.replace(".", ","), label) for a, b, label in NUMBERS]
    content = delimited(rows, "\t", ("a", "b", "label"))
    with pytest.raises(DataError, match=r"line 2, column 'b'(?s:.*)decimal point"):
        load(tmp_path / "t.tsv", content)


def test_columns_of_numbers_with_one_name_are_refused(tmp_path):
    with pytest.raises(DataError, match="2 columns are called 'a'"):
        load(tmp_path / "t.csv", numbers(header=("a", "a", "label")))


def test_what_new_inputs_lack_is_mended_in_the_file_and_not_in_the_settings(tmp_path):
    preprocessing = load(tmp_path / "t.csv", numbers()).preprocessing
    (tmp_path / "new.csv").write_text("a,c\n1,2\n")
    (tmp_path / "texts.csv").write_text("sentence\nred\n")
    for file, made in (("new.csv", preprocessing), ("texts.csv", TEXT)):
        with pytest.raises(DataError, match="give the file the columns of the training") as error:
            read_unlabelled(tmp_path / file, made)
        assert "data." not in str(error.value)


def with_split(values, name="split"):
    rows = [(*row, values[i % len(values)]) for i, row in enumerate(ROWS)]
    return delimited(rows, header=("text", "label", name))


@pytest.mark.parametrize("name", ["split", "Split", " SPLIT"])
@pytest.mark.parametrize(
    "values", [("Train", "training ", "VAL", "Testing"), ("TRAIN", "train", "dev", "test")]
)
def test_a_column_called_split_is_used_and_told(tmp_path, name, values):
    dataset = load(tmp_path / "t.csv", with_split(values, name))
    assert [len(split) for split in dataset.splits.values()] == [10, 5, 5]
    assert any("splits as the column" in note for note in dataset.notes)
    assert (dataset.test.rows % 4 == 1).all()


@pytest.mark.parametrize(
    ("content", "settings", "told"),
    [
        (with_split("ABC"), {}, "'split' holds no splits and is not used: 'a', 'b', 'c'"),
        (with_split(("train", "test"), "part"), {}, "'part' looks like a split (test, train)"),
        (with_split(("train", "test")), {"split": ""}, "columns not used: 'split'"),
        (with_split(("x", "y"), "id"), {}, "columns not used: 'id'"),
        (delimited(header=("Text", "label")), {}, "the column 'Text' is taken for 'text'"),
        (
            delimited([(f'"{t}\nso"', label) for t, label in ROWS]),
            {},
            "20 rows lie on several lines",
        ),
        (json_lines([(7, "A"), *ROWS]), {}, "1 texts are no strings in the file"),
    ],
)
def test_what_is_not_used_is_told(tmp_path, content, settings, told):
    name = "t.jsonl" if content.startswith("{") else "t.csv"
    dataset = load(tmp_path / name, content, **settings)
    assert any(told in note for note in dataset.notes), dataset.notes


def test_splits_and_others_in_one_column_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"unknown meaning(?s:.*)'more'(?s:.*)data.split = \"\""):
        load(tmp_path / "t.csv", with_split(("train", "test", "more")))


def test_quoted_cells_of_a_tsv_are_told(tmp_path):
    dataset = load(tmp_path / "t.tsv", delimited([(f'"{t}"', x) for t, x in ROWS], "\t"))
    assert any("TSV has no quoting" in note for note in dataset.notes)


def test_a_header_that_data_columns_repeats_is_no_row(tmp_path):
    dataset = load(tmp_path / "t.csv", delimited(), columns=("text", "label"))
    assert n_rows(dataset) == 20
    assert any("repeats data.columns" in note for note in dataset.notes)


def test_rows_are_the_lines_that_an_editor_shows(tmp_path):
    content = 'text,label\n"red\nhat",A\n\n' + delimited()[len("text,label\n") :]
    dataset = load(tmp_path / "t.csv", content, admission_fraction=0.5, validation_fraction=0.3)
    assert set(dataset.splits) == {"train", "validation", "admission", "test"}
    lines = content.split("\n")
    for split in dataset.splits.values():
        for text, line in zip(split.texts, split.rows.tolist(), strict=True):
            assert lines[line - 1].removeprefix('"').startswith(text.split("\n")[0])
