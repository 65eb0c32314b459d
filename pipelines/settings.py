"""Which settings and which folder does `specialists run` work with?"""

from __future__ import annotations

from pathlib import Path

from specialists.config import Config, find_config, shipped_configs
from specialists.errors import InputError
from specialists.runs import RUN, Run, describe_changes, kind_of, write_text
from specialists.runtime import pick_device, say

DEFAULT_CONFIG = "languages"
SOURCES = ("data.name", "data.table", "data.arrays", "data.images", "data.factory")


def source_and_folder(
    config: str | None, out: Path | None, overrides: list[str]
) -> tuple[str | Path | None, Path]:
    """Settings and run folder; with --out and no CONFIG a run keeps its own settings.

    Without either, data that ``--set`` names start from nothing but defaults (None), or from the
    config that ships with them.
    """
    if config is None and out is not None and kind_of(out) == RUN:
        return Run(out).config_file, out
    if config is not None:
        return config, out or _default_folder(*_config_of(config))
    key, name = _data_of(overrides)
    if key == "name" and name in shipped_configs():
        return name, out or Path("runs", name)
    if not key:
        return DEFAULT_CONFIG, out or Path("runs", DEFAULT_CONFIG)
    return None, out or _default_folder(name, key)


def check_device(settings: Config) -> None:
    """Raise a ConfigError before any work if the device cannot be used."""
    if settings.device not in ("auto", "cpu"):
        pick_device(settings.device)


def write_config(run: Run, settings: Config) -> None:
    """Write config.toml, and say what differs from the one that was there."""
    if run.config_file.is_file():
        try:
            changes = describe_changes(
                run.config.model_dump(mode="json"), settings.model_dump(mode="json")
            )
        except InputError:
            changes = "the old one cannot be read"
        if not changes:
            return
        say(f"config.toml of this run is replaced: {changes}")
    write_text(run.config_file, settings.to_toml())
    run.reread_config()


def _data_of(overrides: list[str]) -> tuple[str, str]:
    """What ``--set`` names: name, table ..., and the data set's, file's ... or function's name."""
    for override in reversed(overrides):
        key, _, value = override.partition("=")
        value = value.strip().strip("\"'")
        if key.strip() in SOURCES and value:
            path = Path(value.rpartition(":")[2])
            if path.name in ("", ".."):
                path = path.resolve()
            return key.strip().removeprefix("data."), path.name.strip(".").partition(".")[0]
    return "", ""


def _config_of(config: str) -> tuple[str, str]:
    """The name of a configuration, and "config" if it is a file of the user's."""
    file = find_config(config)
    own = shipped_configs().get(file.stem, file).resolve() != file.resolve()
    return file.stem.strip("."), "config" if own else ""


def _default_folder(name: str, kind: str) -> Path:
    """``runs/NAME``; what is not a shipped configuration does not take the folder of one."""
    name = name or kind or "run"
    if kind and name in shipped_configs():
        folder = Path("runs", f"{name}-{kind}")
        say(f"run folder: {folder}, since runs/{name} is that of the shipped configuration {name}")
        return folder
    return Path("runs", name)
