"""The data sets that ship, factories, and the shared data sets where they lie at hand."""

import gzip
import runpy
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from babel import Locale

from specialists.config import DataConfig
from specialists.datasets import Dataset, Split, available, load_dataset
from specialists.datasets.emoji import ROWS
from specialists.datasets.glyphs import FACES, Drawings, merge_twins
from specialists.datasets.languages import own_strings
from specialists.datasets.splits import TRAIN
from specialists.errors import DataError

LANGUAGES = {"2.18.0": (239, 224_789), "2.19.0": (252, 247_308)}  # classes, rows by Babel's version
SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def languages(cache):
    return load_dataset(DataConfig(name="languages"), seed=0)


@pytest.fixture(scope="module")
def emoji():
    return load_dataset(DataConfig(name="emoji"), seed=0)


@pytest.fixture(scope="module")
def glyphs(cache):
    return load_dataset(DataConfig(name="glyphs"), seed=0)


def splits(dataset):
    return dataset.train, dataset.validation, dataset.test


def test_languages_have_as_many_classes_and_strings_as_is_known_of_this_version(languages):
    found = (languages.n_classes, sum(map(len, languages.splits.values())))
    assert found == LANGUAGES.get(version("babel"), found)
    assert found >= (239, 220_000)
    assert "de (German)" in languages.class_names


def test_held_out_strings_were_never_seen(languages):
    train, validation, test = (set(split.texts) for split in splits(languages))
    assert not train & validation
    assert not (train | validation) & test


def test_strings_of_a_concept_are_one_unit_and_so_are_equal_strings(languages):
    units = {name: set(s.units.tolist()) for name, s in languages.splits.items()}
    assert len(set.union(*units.values())) == sum(map(len, units.values()))
    assert len(units["validation"] | units["admission"]) == pytest.approx(169, abs=10)
    for split in (languages.validation, languages.admission, languages.test):
        unit_of = dict(zip(split.texts, split.units.tolist(), strict=True))
        assert [unit_of[text] for text in split.texts] == split.units.tolist()


def test_every_language_is_trained_validated_and_tested(languages):
    for split in splits(languages):
        assert len(torch.unique(split.labels)) == languages.n_classes


def test_a_string_is_validated_or_kept_for_the_gate_in_all_its_languages(languages):
    assert languages.admission is not None
    validation, admission = languages.validation, languages.admission
    others = set(languages.train.texts) | set(validation.texts) | set(languages.test.texts)
    assert not others & set(admission.texts)
    assert 0.45 < len(admission) / (len(admission) + len(validation)) < 0.55


def test_a_string_of_several_languages_is_valid_in_each(languages):
    split = languages.train
    rows = torch.repeat_interleave(torch.arange(len(split)), split.valid.lengths)
    held = torch.zeros(len(split), dtype=torch.bool)
    held[rows[split.valid.values == split.labels[rows]]] = True
    assert held.all()
    shared = (split.valid.lengths > 1).float().mean()
    assert 0.3 < shared < 0.45


def test_languages_do_not_depend_on_the_seed_and_come_from_the_cache(languages):
    again = load_dataset(DataConfig(name="languages"), seed=5)
    assert torch.equal(again.test.labels, languages.test.labels)
    assert again.test.texts == languages.test.texts


@pytest.fixture(scope="module")
def strings():
    Locale.parse("hi_Latn")  # fills Babel's cache with what the locale inherits from English
    Locale.parse("de_AT")
    return own_strings()


def test_only_a_locales_own_strings_are_taken_whatever_was_read_before(strings):
    own = [row for row in strings if row.locale == "hi_Latn" and row.kind == "languages"]
    assert 0 < len(own) < len(Locale.parse("hi_Latn").languages) / 4


def test_reading_own_strings_leaves_babel_as_it_was(strings):
    assert Locale.parse("de_AT").territories["FR"] == "Frankreich"
    assert "hi_Latn" in {row.locale for row in strings}


def test_no_string_is_a_code_a_pattern_or_a_number(languages):
    for text in languages.validation.texts:
        assert "{" not in text
        assert len(text) > 1
        assert not any(character.isdecimal() for character in text)


def test_glyphs_have_one_class_for_homoglyphs(glyphs):
    assert "U+0041 A (also U+0391, U+0410)" in glyphs.class_names
    assert not any(name.startswith("U+0391") for name in glyphs.class_names)
    assert 2000 < glyphs.n_classes < 2320


def test_no_glyph_of_the_test_was_seen(glyphs):
    train, validation, test = (
        {image.numpy().tobytes() for image in split.inputs} for split in splits(glyphs)
    )
    assert not (train | validation) & test


def test_faces_of_the_test_are_their_own(glyphs):
    train, validation, test = (
        {text.rsplit(" ", 1)[1] for text in split.texts} for split in splits(glyphs)
    )
    assert (len(train), len(validation), len(test)) == (10, 2, 4)
    assert len(train | validation | test) == len(FACES)
    assert train == {face for face, part in FACES.items() if part == TRAIN}
    for split in glyphs.splits.values():
        faces = [text.rsplit(" ", 1)[1] for text in split.texts]
        assert len(set(zip(faces, split.units.tolist(), strict=True))) == len(set(faces))
    assert len(torch.cat([split.units for split in glyphs.splits.values()]).unique()) == len(FACES)


def test_every_character_is_trained_and_validated(glyphs):
    for split in splits(glyphs)[:2]:
        assert len(torch.unique(split.labels)) == glyphs.n_classes


def test_glyphs_fill_their_image(glyphs):
    ink = glyphs.train.inputs.float().amax((1, 2, 3))
    assert (ink > 60).float().mean() > 0.99
    assert tuple(glyphs.train.inputs.shape[1:]) == (1, 32, 32)


def test_twins_in_half_of_the_faces_are_merged_and_others_are_not():
    a, b = np.full((2, 2), 1, np.uint8), np.full((2, 2), 2, np.uint8)
    drawings = Drawings(
        images=np.stack([a, a, a, b, b, a, a, b]),
        faces=np.array([0, 1, 0, 1, 0, 1, 2, 2]),
        points=np.array([65, 65, 66, 66, 67, 67, 65, 67]),
    )
    assert merge_twins(drawings) == {65: 65, 66: 65, 67: 67}


def test_emoji_are_people_hands_flags_and_clocks_in_their_languages(emoji):
    assert emoji.name == "emoji"
    assert emoji.n_classes == 1081
    assert {"👋", "👋🏿", "🇩🇪", "🕐"} <= set(emoji.class_names)
    assert "😀" not in emoji.class_names
    assert sum(map(len, emoji.splits.values())) == 111_498


def emoji_rows():
    return gzip.decompress(ROWS.read_bytes()).decode().removesuffix("\n").split("\n")


def test_no_emoji_of_a_language_lies_in_two_splits():
    columns = [row.split("\t") for row in emoji_rows()[1:]]
    split_of = {(emoji, language): split for emoji, _, language, split, _ in columns}
    assert all(split_of[row[0], row[2]] == row[3] for row in columns)
    assert set(split_of.values()) == {"train", "validation", "test"}


def test_the_rows_of_emoji_are_one_observation_in_a_language(emoji):
    assert emoji.train.n_groups < len(emoji.train)


@pytest.mark.skipif(not (SHARED / "emoji").is_dir(), reason="all names of emoji are not at hand")
def test_the_emoji_that_ship_are_taken_from_all_names():
    script = runpy.run_path(str(Path(__file__).parents[1] / "data" / "emoji" / "shipped.py"))
    whole = gzip.decompress((SHARED / "emoji" / "emoji_names.tsv.gz").read_bytes()).decode()
    assert script["taken"](whole.removesuffix("\n").split("\n")) == emoji_rows()


def test_the_names_that_ship_are_told():
    assert set(available()) == {"emoji", "languages", "glyphs"}
    with pytest.raises(DataError, match=r"'langauges'(?s:.*)'languages'"):
        load_dataset(DataConfig(name="langauges"), seed=0)


def split_of(labels, kind=torch.float32):
    return Split(torch.ones(len(labels), 3, dtype=kind), torch.tensor(labels))


def made(seed, scale=1.0, broken=None, names=("a", "b")):
    """A factory as a user would write it."""
    labels = [0, 1, 5] if broken == "label" else [0, 1, 1]
    train = split_of(labels)
    if broken == "nan":
        assert isinstance(train.inputs, torch.Tensor)
        train.inputs[1, 2] = torch.nan
    test = split_of([0], torch.float64) if broken == "type" else split_of([0])
    preprocessing = {"kind": "features", "n_features": 3, "mean": None, "std": None}
    if broken == "other":
        return train
    name = f"made {seed} {scale}"
    return Dataset(name, "features", names, train, split_of([0, 1]), test, preprocessing)


def factory(**options):
    sys.modules.setdefault("test_datasets_shipped", sys.modules[__name__])
    return load_dataset(DataConfig(factory="test_datasets_shipped:made", options=options), seed=7)


def test_a_factory_gets_its_options_and_the_seed():
    assert factory(scale=2.0).name == "made 7 2.0"


def test_a_factorys_class_names_are_made_like_all_others():
    assert factory(names=("two  words ", "b")).class_names == ("two words", "b")
    with pytest.raises(DataError, match=r"each once(?s:.*)'b'"):
        factory(names=("b", " b"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"broken": "label"}, "not class indices"),
        ({"broken": "nan"}, r"NaN(?s:.*)row 1, column 2"),
        ({"broken": "type"}, "do not fit the kind"),
        ({"broken": "other"}, "returned something else"),
        ({"wrong": 1}, r"options do not fit(?s:.*)seed, scale"),
    ],
)
def test_a_factorys_mistakes_are_told(options, told):
    with pytest.raises(DataError, match=told):
        factory(**options)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("no_such_module:f", "no such module"),
        ("json:nothing", "no function 'nothing'"),
    ],
)
def test_a_wrong_import_path_is_told(path, told):
    with pytest.raises(DataError, match=told):
        load_dataset(DataConfig(factory=path), seed=0)


@pytest.mark.parametrize(
    ("settings", "classes", "rows"),
    [
        (
            {
                "table": "clinc150/clinc150.tsv.gz",
                "columns": ("split", "label", "text"),
                "split": "split",
                "exclude_labels": ("oos",),
            },
            150,
            (15_000, 3_000, 4_500),
        ),
        (
            {
                "arrays": "omniglot/omniglot28.npz",
                "split_by": {"array": "drawer", "test": [16, 17, 18, 19, 20]},
            },
            1623,
            (21_911, 2_434, 8_115),
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::specialists.errors.DataWarning")
def test_shared_data_sets_have_their_known_sizes(settings, classes, rows):
    source = "table" if "table" in settings else "arrays"
    path = SHARED / settings[source]
    if not path.exists():
        pytest.skip(f"{path} is not at hand")
    settings = {**settings, source: str(path), "admission_fraction": 0}
    dataset = load_dataset(DataConfig(**settings), seed=0)
    assert dataset.n_classes == classes
    assert tuple(map(len, splits(dataset))) == rows
