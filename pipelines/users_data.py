"""Are the data that the settings name there, and are they those that a run's results are of?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from specialists.config.data import SOURCES, DataConfig
from specialists.errors import InputError
from specialists.files import sha256
from specialists.files.ownership import MANIFEST, json_object

from .runs import Run

PREPARED = "prepare-data"


def check_users_file(setting: str, path: Path) -> None:
    """Raise an InputError if a file of the user is gone, or cannot be read twice."""
    where = f"{setting} in the configuration"
    if not path.exists():
        from specialists.datasets.naming import what_instead

        what = "folder" if setting == "data.images" else "file"
        fix = what_instead(path, what == "folder")
        raise InputError(f"no such {what}", where=where, got=path, fix=fix)
    if not path.is_file() and not path.is_dir():
        fix = "save its content to a file first"
        raise InputError("this is no ordinary file", where=where, got=path, fix=fix)


def check_data_files(data: DataConfig) -> None:
    """Raise an InputError if a file of the data is gone, or cannot be read twice."""
    for setting, path in _files(data):
        check_users_file(setting, path)


def check_same_data(run: Run, data: DataConfig, forced: Collection[str] | None) -> None:
    """Check that results of a run would not be replaced by those of other data.

    The same file may have grown, and may lie elsewhere. ``forced`` are the stages of ``--force``,
    which says that the results may go; None where the command has no such option.

    Raises
    ------
    InputError
        If more than the data was made in the run, and of data from elsewhere.
    """
    made = any(file.parent.name != PREPARED for file in run.folder.glob(f"*/{MANIFEST}"))
    manifest = json_object(run.path(PREPARED, MANIFEST))
    old, new = _source(_table(_table(manifest, "config"), "data")), _source(data.model_dump())
    if not (made and old) or old == new or PREPARED in (forced or ()):
        return
    check_data_files(data)
    digests, files = _table(manifest, "inputs"), dict(_files(data))
    if files and all(digests.get(setting) == sha256(path) for setting, path in files.items()):
        return
    instead = f"; or `--force {PREPARED}`, which replaces the results" * (forced is not None)
    raise InputError(
        "this folder holds the results of other data",
        where=run.folder,
        got=new,
        expected=old,
        fix=f"name a folder of its own with --out{instead}",
    )


def _source(data: Mapping[str, object]) -> str:
    """For instance "data.table = x.tsv"; nothing without a source."""
    return ", ".join(f"data.{key} = {data[key]}" for key in SOURCES if data.get(key))


def _table(values: Mapping[str, object], key: str) -> Mapping[str, object]:
    """An object in JSON that may be anybody's; empty if there is none."""
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def _files(data: DataConfig) -> Iterator[tuple[str, Path]]:
    """Settings that name files or folders of the data, with their paths."""
    for key in ("table", "arrays", "images"):
        value = getattr(data, key)
        paths = value if isinstance(value, dict) else {"": value}
        for part, path in paths.items():
            if path is not None:
                yield f"data.{key}.{part}".rstrip("."), Path(path)
