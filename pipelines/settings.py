"""Which settings and which folder does `specialists run` work with?"""

from __future__ import annotations

from pathlib import Path

from specialists.config import Config, find_config
from specialists.errors import InputError
from specialists.runs import Run, describe_changes, write_text
from specialists.runtime import pick_device, say

DEFAULT_CONFIG = "languages"
SOURCES = ("data.name", "data.table", "data.arrays", "data.images", "data.factory")


def source_and_folder(
    config: str | None, out: Path | None, overrides: list[str]
) -> tuple[str | Path, Path]:
    """Settings and run folder; with --out and no CONFIG a run keeps its own settings."""
    if config is None and out is not None and Run(out).config_file.is_file():
        return Run(out).config_file, out
    source = config or DEFAULT_CONFIG
    name = find_config(source).stem if config else _name_of_data(overrides) or DEFAULT_CONFIG
    return source, out or Path("runs", name)


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


def _name_of_data(overrides: list[str]) -> str | None:
    """Of the data that ``--set`` names: the file's or folder's name, or the function's."""
    for override in reversed(overrides):
        key, _, value = override.partition("=")
        value = value.strip().strip("\"'")
        if key.strip() in SOURCES and value:
            return Path(value.rpartition(":")[2]).name.partition(".")[0] or None
    return None
