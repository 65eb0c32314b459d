"""`specialists settings`: every key with its default, its unit and its meaning."""

import json
import re

import pytest
from typer.testing import CliRunner

from pipelines.__main__ import app
from specialists.config import SECTIONS, Config, TuningConfig, list_settings
from specialists.config.defaults import DEFAULTS
from specialists.errors import ConfigError
from specialists.version import __version__

SETTINGS = {setting.key: setting for setting in list_settings()}


def test_every_key_of_a_configuration_is_listed_once():
    values = Config().model_dump()
    keys = [f"{name}.{key}" for name in SECTIONS for key in values[name]]
    keys += [f"student.tuning.{key}" for key in TuningConfig.model_fields]
    assert sorted(SETTINGS) == sorted([*keys, *(values.keys() - set(SECTIONS))])


def test_defaults_by_kind_of_input_are_those_that_runs_take():
    for kind, sections in DEFAULTS.items():
        for section, defaults in sections.items():
            for key, value in defaults.items():
                assert SETTINGS[f"{section}.{key}"].by_kind[kind] == value


def test_every_number_has_a_unit():
    numbers = [key for key, s in SETTINGS.items() if isinstance(s.default, float)]
    assert [key for key in numbers if not SETTINGS[key].unit] == []


def test_a_default_that_is_listed_is_not_explained_again():
    assert [key for key, s in SETTINGS.items() if "by kind of" in s.meaning] == []
    assert "Images have no limit." in SETTINGS["generalist.patience"].meaning


def test_meanings_are_in_the_words_of_toml():
    told = " ".join(setting.meaning for setting in SETTINGS.values())
    assert not re.search(r"\b(None|True|False):|\(\d", told)
    assert SETTINGS["data.text"].meaning == "Name of the text column. Not set: text."


@pytest.mark.parametrize(
    ("key", "end"),
    [
        ("generalist.select_by", ". One of loss, top1."),
        ("clusters.matrix", " for the others. One of covariance, correlation, confusion."),
        ("combination.rules", ". Some of kl, learned, within_subsets, side_by_side."),
        ("evaluation.baselines", ". Some of generalist_continued, generalist_wide, "
        "generalist_ensemble."),
        ("specialists.kind", " and label_smoothing."),  # which tells all of them
        ("clusters.n_clusters", ", times `coverage`."),  # a number or a word
    ],
)  # fmt: skip
def test_the_choices_of_a_setting_are_told(key, end):
    assert SETTINGS[key].meaning.endswith(end)


def test_the_command_prints_a_section_and_all_as_json():
    shown = CliRunner().invoke(app, ["settings", "clusters"]).output
    assert shown.startswith('clusters.method = "balanced"\n    How classes are grouped. One of ')
    values = json.loads(CliRunner().invoke(app, ["settings", "--json"]).output)
    assert [value["key"] for value in values] == list(SETTINGS)
    assert {"text": 5, "features": 30, "images": 40, "tensors": 10} in [
        value["default"] for value in values
    ]


def test_another_section_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean `specialists settings clusters`"):
        list_settings("cluster")


def test_the_version_is_told():
    assert CliRunner().invoke(app, ["--version"]).output == f"specialists {__version__}\n"


def test_what_each_command_is_for_fits_into_its_line():
    listed = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}).output
    assert "--install-completion" in listed
    commands = listed.partition("Commands:\n")[2].splitlines()
    assert len(commands) >= 20
    assert [line for line in commands if not re.fullmatch(r"  [a-z-]+ +[A-Z].*\.", line)] == []
    assert "..." not in "".join(commands)
