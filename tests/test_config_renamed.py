"""Settings that had other names are understood, and told."""

from contextlib import nullcontext

import pytest
from small_run import create_run

from pipelines.run_settings import write_config
from pipelines.runs import Run
from specialists.config import Config
from specialists.config.renamed import has_old_names
from specialists.errors import ConfigError, ConfigWarning

OLD = """
[data]
name = "languages"
gate_fraction = 0.25
[combination]
gate = "off"
[student]
teacher = "live"
[evaluation]
controls = ["generalist_wide"]
"""


def test_a_file_of_old_names_is_the_file_of_new_ones(tmp_path):
    file = tmp_path / "old.toml"
    file.write_text(OLD)
    with pytest.warns(ConfigWarning) as told:
        config = Config.from_toml(file)
    assert config.data.admission_fraction == 0.25
    assert config.combination.admission == "off"
    assert config.student.teacher == "online"
    assert config.evaluation.baselines == ("generalist_wide",)
    lines = [str(warning.message) for warning in told]
    assert len(lines) == 4
    assert lines[1].startswith("combination.gate is called combination.admission now")
    assert Config.from_dict(config.model_dump(exclude_none=True)) == config  # without a warning


@pytest.mark.parametrize("key", ["combination.gate", "combination.admission"])
def test_an_override_by_either_name_replaces_what_the_file_says_by_the_other(tmp_path, key):
    file = tmp_path / "new.toml"
    file.write_text('[data]\nname = "languages"\n[combination]\nadmission = "each"\n')
    with pytest.warns(ConfigWarning) if "gate" in key else nullcontext():
        config = Config.from_toml(file, [f"{key}=off"])
    assert config.combination.admission == "off"


def test_both_names_at_once_are_one_mistake():
    values = {"data": {"name": "languages"}, "combination": {"gate": "off", "admission": "each"}}
    with (
        pytest.warns(ConfigWarning),
        pytest.raises(ConfigError, match=r"twice(?s:.*)gate and combination\.admission"),
    ):
        Config.from_dict(values)


def test_the_configuration_of_an_older_run_is_written_by_the_names_of_today(tmp_path):
    config = Config.from_dict({"data": {"name": "languages"}, "combination": {"admission": "off"}})
    run = create_run(tmp_path / "run", config)
    text = run.config_file.read_text().replace('admission = "off"', 'gate = "off"')
    run.config_file.write_text(text)
    with pytest.warns(ConfigWarning):
        write_config(Run(run.folder), config)
    assert has_old_names({"combination": {"gate": "off"}})
    assert "gate" not in run.config_file.read_text()
    kept = "# my note\n" + run.config_file.read_text()
    run.config_file.write_text(kept)
    write_config(Run(run.folder), config)
    assert run.config_file.read_text() == kept
