"""What can be set, what is refused and how it is told, and what a run's config.toml gives back."""

import json
import math
import re

import pytest
from pydantic import ValidationError

from specialists.config import Config, find_config, left_aside, shipped_configs
from specialists.config.data import SOURCES
from specialists.config.defaults import DEFAULTS, KINDS
from specialists.errors import ConfigError

NEEDED = {
    "generalist": ["model", "widths", "depth"],
    "specialists": ["freeze"],
    "student": [],
}
RECIPE = ["epochs", "batch_size", "learning_rate", "label_smoothing", "dropout"]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text('seed = 3\n[data]\nname = "languages"\n[generalist]\nepochs = 4\n')
    return path


def told(values: dict) -> str:
    with pytest.raises(ConfigError) as caught:
        Config.from_dict(values)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sed": 1}, "unknown key `sed`; did you mean `seed`?"),
        (
            {"epochs": 1},
            "did you mean `generalist.epochs`, `specialists.epochs`, `student.epochs`?",
        ),
        ({"generalst": {}}, "unknown key `generalst`; did you mean `generalist`?"),
        (
            {"generalist": {"epoch": 1}},
            "unknown key `generalist.epoch`; did you mean `generalist.epochs`?",
        ),
        ({"student": {"qqqqqq": 1}}, "unknown key `student.qqqqqq`; known: epochs, batch_size"),
        ({"generalist": {"epochs": 0}}, "generalist.epochs = 0"),
        ({"generalist": {"widths": [4, "x"]}}, "generalist.widths.1 = 'x'"),
        ({"specialists": {"subset_share": 1.0}}, "specialists.subset_share = 1.0"),
        ({"precision": "half"}, "precision = 'half'"),
        (
            {"combination": {"rules": "[kl]"}},
            "a list is needed, for instance 'combination.rules=[\"kl\"]'",
        ),
        ({"combination": {"rules": "[kl, 'a b'"}}, '\'combination.rules=["kl", "a b"]\''),
        ({"student": {"temperatures": "1, 2.5"}}, "'student.temperatures=[1, 2.5]'"),
        ({"data": {}}, "exactly one source"),
        ({"data": {"name": "glyphs", "table": "x.tsv"}}, "name, table"),
    ],
)
def test_a_mistake_is_told_with_the_nearest_right_name(values, message):
    assert message in told(values)


def test_a_mistake_of_an_override_is_not_told_of_the_file(file):
    with pytest.raises(ConfigError) as error:
        Config.from_toml(file, ["data.tabel=x", "seed=4"])
    assert "where: --set data.tabel=x --set seed=4\n" in str(error.value)
    assert "did you mean `data.table`?" in str(error.value)
    assert str(file) not in str(error.value)
    file.write_text("sed = 3\n")
    with pytest.raises(ConfigError) as error:
        Config.from_toml(file, ["data.tabel=x"])
    assert f"where: {file}\n" in str(error.value)
    assert "2 mistakes" in str(error.value)


def test_all_mistakes_are_told_at_once():
    message = told({"sed": 1, "generalist": {"epoch": 1, "width": "wide"}, "report": {"x": 1}})
    assert "4 mistakes" in message
    for part in ("`sed`", "`generalist.epoch`", "generalist.width = 'wide'", "`report.x`"):
        assert part in message


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("generalist.epochs=7", "generalist", "epochs", 7),
        ("generalist.learning_rate=1e-3", "generalist", "learning_rate", 1e-3),
        ("generalist.widths=[8, 16]", "generalist", "widths", (8, 16)),
        ("generalist.model=mlp", "generalist", "model", "mlp"),
        ('generalist.model="mlp"', "generalist", "model", "mlp"),
        ("generalist.options.size=3", "generalist", "options", {"size": 3}),
        ("specialists.calibrate=false", "specialists", "calibrate", False),
        ("specialists.freeze=['stem', 'stage1']", "specialists", "freeze", ("stem", "stage1")),
        ("combination.max_cost=inf", "combination", "max_cost", math.inf),
        ("combination.deferral=[1, 0.2]", "combination", "deferral", (1.0, 0.2)),
        ('data.splits={train = ["a"], test = ["b"]}', "data", "splits", None),
        (" data.text = my text ", "data", "text", "my text"),
    ],
)
def test_an_override_is_read_as_toml_or_else_as_text(file, override, section, key, value):
    config = Config.from_toml(file, [override])
    value = {"train": ("a",), "test": ("b",)} if value is None else value
    assert getattr(getattr(config, section), key) == value
    assert config.seed == 3
    assert config.generalist.epochs == (7 if "epochs" in override else 4)


@pytest.mark.parametrize("shares", ["[]", "[0]", "[0.5, 1.5]", "0.5", "[nan]", "['half']"])
def test_a_share_of_the_rows_to_defer_is_above_0_and_at_most_1(file, shares):
    with pytest.raises(ConfigError, match=r"combination\.deferral"):
        Config.from_toml(file, [f"combination.deferral={shares}"])


def test_the_help_of_deferral_says_whose_rows_are_shared_and_what_becomes_of_a_share():
    told = type(Config().combination).model_fields["deferral"].description or ""
    for words in (
        "least sure of",
        "handed to specialists",
        "chosen on validation",
        "1.0: all rows",
    ):
        assert words in told


@pytest.mark.parametrize("override", ["seed", "=3", "a.b.c.d=1", ".seed=1", "seed.x=1"])
def test_an_override_that_is_no_assignment_is_refused(file, override):
    with pytest.raises(ConfigError):
        Config.from_toml(file, [override])


@pytest.mark.parametrize("source", SOURCES)
def test_setting_one_source_removes_the_others(file, source):
    value = "a.b:mine" if source == "factory" else "mine"
    config = Config.from_toml(file, ["data.table=other.tsv", f"data.{source}={value}"])
    given = [name for name in SOURCES if getattr(config.data, name) is not None]
    assert given == [source]


def test_without_a_file_everything_that_is_not_said_is_a_default():
    config = Config.from_toml(None, ["data.table=/x.tsv", "generalist.epochs=7"])
    expected = {"data": {"table": "/x.tsv"}, "generalist": {"epochs": 7}}
    assert config == Config.from_dict(expected)
    with pytest.raises(ConfigError, match="where: --set"):
        Config.from_toml(None, ["data.table=/x.tsv", "generalist.epoch=7"])


def test_an_option_of_a_factory_may_be_called_like_a_source(file):
    overrides = ["data.factory=a:b", "data.options.table=x", "data.options.name=y"]
    config = Config.from_toml(file, overrides)
    assert config.data.options == {"table": "x", "name": "y"}
    assert config.data.factory == "a:b"


def test_paths_are_absolute_from_where_the_command_was_given(file, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = Config.from_toml(file, ["data.arrays=x.npz", "student.unlabelled=~/more.npz"])
    assert config.data.arrays == str(tmp_path / "x.npz")
    assert config.student.unlabelled is not None
    assert config.student.unlabelled.startswith("/")


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"seed": 4, "generalist": {"learning_rate": 1e-5, "widths": [3]}},
        {"combination": {"max_cost": math.inf, "weights": [1e16, 0.1]}},
        {"data": {"table": '/a "quoted" \\ päth\n.tsv', "columns": [], "exclude_labels": ["é"]}},
        {"data": {"factory": "a:b", "options": {"deep er": {"x": [1, {"y": True}]}, "z": 0.5}}},
        {"data": {"arrays": "/x", "split_by": {"array": "drawer", "test": [16, 17]}}},
    ],
)
def test_a_written_configuration_reads_back_equal(values, tmp_path):
    config = Config.from_dict(values)
    (tmp_path / "config.toml").write_text(config.to_toml(), encoding="utf-8")
    assert Config.from_toml(tmp_path / "config.toml") == config


@pytest.mark.parametrize("kind", KINDS)
def test_resolving_fills_everything_that_the_kind_needs(kind):
    config = Config().resolve(kind)
    for section, keys in NEEDED.items():
        values = config.section(section)
        missing = [key for key in [*keys, *RECIPE] if values[key] is None]
        assert set(missing) <= ({"model", "dropout"} if kind == "tensors" else set()), section
    assert config.data.augment is not None
    if kind == "text":
        assert None not in (config.generalist.n_buckets, config.student.embedding_dim)
        assert config.generalist.embedding_learning_rate is not None
    assert config.resolve(kind) == config


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_name_only_fields_that_none_leaves_open(kind):
    for section, defaults in DEFAULTS[kind].items():
        open_fields = {key for key, value in Config().section(section).items() if value is None}
        assert set(defaults) <= open_fields


@pytest.mark.parametrize("section", ["generalist", "specialists", "student"])
def test_images_train_to_the_end_of_their_schedule_and_the_rest_may_end_early(section):
    patience = {kind: getattr(Config().resolve(kind), section).patience for kind in KINDS}
    assert patience == {"text": 3, "features": 3, "images": None, "tensors": 3}


def test_what_is_set_is_not_replaced_by_a_default():
    values = {"data": {"name": "glyphs", "augment": False}, "generalist": {"epochs": 1, "width": 7}}
    config = Config.from_dict({**values, "specialists": {"freeze": []}}).resolve("images")
    assert config.data.augment is False
    assert config.generalist.epochs == 1
    assert config.generalist.widths == (7,)
    assert config.specialists.freeze == ()


def test_nothing_can_be_changed_afterwards():
    config = Config()
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 1
    with pytest.raises(ValidationError, match="frozen"):
        config.generalist.epochs = 1


def test_every_setting_is_described_in_whole_sentences():
    sections = [type(getattr(Config(), name)) for name in Config.model_fields]
    for section in (Config, *(section for section in sections if hasattr(section, "model_fields"))):
        for name, field in section.model_fields.items():
            if not hasattr(field.annotation, "model_fields"):
                assert (field.description or "").endswith("."), f"{section.__name__}.{name}"


@pytest.mark.parametrize("name", shipped_configs())
@pytest.mark.parametrize("kind", KINDS)
def test_a_shipped_configuration_is_right_under_its_name(name, kind):
    config = Config.from_toml(name)
    assert config.resolve(kind).generalist.epochs
    assert shipped_configs()[name].read_text().startswith("# ")


def test_a_misspelt_configuration_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean `languages`"):
        Config.from_toml("langauges")


@pytest.mark.parametrize(
    ("name", "content", "key"),
    [
        ("titles.tsv", b"code\ttitle\n1\tx\n", "table"),
        ("titles.tsv.gz", b"\x1f\x8b\x08", "table"),
        ("large.CSV", b"a,b\n" * 2**19, "table"),
        ("x.npz", b"PK\x03\x04", "arrays"),
    ],
)
def test_data_in_place_of_a_configuration_are_told_how_to_be_given(tmp_path, name, content, key):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=f"--set data.{key}={re.escape(str(file))}"):
        Config.from_toml(file)


@pytest.mark.parametrize("content", ["seed = ", "\x00", "[data]\nname = 'a\n"])
def test_a_file_that_is_no_toml_is_told(tmp_path, content):
    (tmp_path / "x.toml").write_text(content)
    with pytest.raises(ConfigError, match=r"not TOML(?s:.*)quotation marks"):
        Config.from_toml(tmp_path / "x.toml")


@pytest.mark.parametrize("content", ["seed = 1\nseed = 2", "[data]\n[data]", "seed = 1\n[seed]"])
def test_what_stands_twice_is_told_to_stand_once(tmp_path, content):
    (tmp_path / "x.toml").write_text(content)
    with pytest.raises(
        ConfigError, match=r"not TOML(?s:.*)name each key, and each \[section\], once"
    ):
        Config.from_toml(tmp_path / "x.toml")


def test_a_folder_in_place_of_a_configuration_is_told_with_a_cure_for_the_command(tmp_path):
    def told(command):
        with pytest.raises(ConfigError, match="this is a folder") as caught:
            find_config(tmp_path, command)
        return str(caught.value).partition("to mend it: ")[2]

    assert told("run") == "name a TOML file in it"
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").touch()
    assert told("run") == f"a folder of images is given by `--set data.images={tmp_path}`"
    (tmp_path / "x.toml").touch()
    assert told("compare") == f"`specialists compare {tmp_path}/x.toml`"
    (tmp_path / "config.toml").touch()
    assert told("compare") == f"`specialists compare {tmp_path}/config.toml`"
    assert told("run") == f"`specialists run --out {tmp_path}` goes on with this run"


@pytest.mark.parametrize(
    ("section", "key", "value", "reason"),
    [
        ("generalist", "widths", [], "at least 1"),
        ("generalist", "n_buckets", 1000, "power of two"),
        ("generalist", "learning_rate", float("inf"), "finite"),
        ("combination", "rules", [], "at least 1"),
        ("student", "temperatures", [], "at least 1"),
        ("student", "alphas", [1.5], "less than or equal to 1"),
        ("data", "char_ngrams", [4, 1], "shortest length comes first"),
        ("data", "splits", {"trian": ["a"]}, "'train'"),
    ],
)
def test_a_value_that_no_stage_could_use_is_refused_at_once(section, key, value, reason):
    values = {"data": {"name": "languages"}}
    with pytest.raises(ConfigError, match=reason):
        Config.from_dict({**values, section: {**values.get(section, {}), key: value}})


def test_cuts_that_leave_no_training_data_are_refused():
    cuts = {"name": "languages", "validation_fraction": 0.6, "test_fraction": 0.5}
    with pytest.raises(ConfigError, match="leave no training data"):
        Config.from_dict({"data": cuts})


def test_a_default_that_does_not_go_together_with_what_is_set_is_told_in_one_message():
    config = Config.from_dict({"data": {"name": "glyphs"}, "specialists": {"freeze": ["stem"]}})
    assert config.resolve("features").specialists.freeze == ("stem",)
    with pytest.raises(ConfigError, match="freeze needs start = 'generalist' or 'fresh'") as error:
        config.resolve("images")
    assert "defaults of images" in str(error.value)


def test_every_name_of_a_file_comes_back_from_toml_or_is_refused(tmp_path):
    named = Config.from_toml(None, ["data.table=/a/\x7f\x1b\u202eж.tsv"])
    (tmp_path / "c.toml").write_text(named.to_toml(), encoding="utf-8")
    assert Config.from_toml(tmp_path / "c.toml") == named
    with pytest.raises(ConfigError, match=r"must be UTF-8.*\n.*/a/\\udcff\.tsv\n.*another name"):
        Config.from_toml(None, ["data.table=/a/\udcff.tsv"])


def test_an_empty_value_takes_back_what_the_file_sets(tmp_path):
    file = tmp_path / "x.toml"
    file.write_text("seed = 3\n[student]\nwidth = 8\n")
    config = Config.from_toml(file, ["student.width=", "seed = ", "student.size=1"])
    assert (config.student.width, config.student.size, config.seed) == (None, 1, Config().seed)
    assert Config.from_toml(file, ["generalist.width="]).generalist.width is None


def test_a_file_for_each_array_is_a_source_with_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = Config.from_toml(None, ['data.arrays={x = "x.npy", y = "sub/y.npy"}'])
    files = {"x": str(tmp_path / "x.npy"), "y": str(tmp_path / "sub" / "y.npy")}
    assert config.data.arrays == files
    (tmp_path / "again.toml").write_text(config.to_toml(), encoding="utf-8")
    assert Config.from_toml(tmp_path / "again.toml") == config


@pytest.mark.parametrize(
    ("weights", "standardize", "resolved"),
    [(None, None, True), ("own.pt", None, False), ("own.pt", True, True), (None, False, False)],
)
def test_features_stay_as_they_are_for_a_trained_network_unless_asked_for(
    weights, standardize, resolved
):
    values = {"arrays": "x.npz", "standardize": standardize}
    config = Config.from_dict({"data": values, "generalist": {"weights": weights}})
    assert config.resolve("features").data.standardize is resolved
    assert config.section("data")["standardize"] is (
        False if weights and not resolved else standardize
    )
    assert Config.from_dict(config.model_dump()) == config


@pytest.mark.parametrize("classes", ["order.txt", ["b", "a"], [1, 0]])
def test_the_names_of_outputs_are_a_file_or_a_list(classes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text(f"[generalist]\nclasses = {json.dumps(classes)}\n")
    config = Config.from_toml("c.toml")
    expected = str(tmp_path / classes) if isinstance(classes, str) else tuple(classes)
    assert config.generalist.classes == expected
    (tmp_path / "d.toml").write_text(config.to_toml())
    assert Config.from_toml("d.toml") == config


def test_baselines_are_named_or_all_and_else_the_averaged_generalists():
    trained = ("generalist_continued", "generalist_wide", "generalist_ensemble")
    meant = {"all": trained, "[]": (), "": trained[2:], trained[1]: trained[1:2]}
    for given, expected in meant.items():
        config = Config.from_toml(None, ["data.name=languages", f"evaluation.baselines={given}"])
        assert config.evaluation.trained_baselines == expected
    with pytest.raises(ConfigError, match="generalist_wide"):
        Config.from_toml(None, ["evaluation.baselines=wide"])


def test_settings_of_the_other_kind_of_specialists_are_left_aside_and_named():
    given = ["specialists.kind=shared", "specialists.epochs=3", "specialists.n_buckets=64"]
    assert left_aside(Config.from_toml("emoji", given)) == ["specialists.epochs"]
    assert left_aside(Config.from_toml("emoji", ["specialists.kind=both", given[1]])) == []


@pytest.mark.parametrize("content", ["", " \n\n"])
def test_an_empty_file_is_no_configuration(content, tmp_path):
    (tmp_path / "own.toml").write_text(content)
    with pytest.raises(ConfigError, match="empty"):
        Config.from_toml(tmp_path / "own.toml")
