"""How is a configuration read from TOML and ``key=value``, and written as TOML?"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from specialists.config.data import SOURCES
from specialists.config.renamed import current_key
from specialists.errors import ConfigError

LARGEST = 2**20
MOST_NAMES = 4
DATA_ENDINGS = {"table": {".tsv", ".csv", ".jsonl", ".ndjson", ".parquet"}, "arrays": {".npz"}}
IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp"),
    *(".gif", ".tif", ".tiff", ".ppm", ".pgm"),
)
PATHS = (
    ("data", "table"),
    ("data", "arrays"),
    ("data", "images"),
    ("data", "tokenizer"),
    ("generalist", "pretrained"),
    ("generalist", "weights"),
    ("generalist", "predictions"),
    ("generalist", "classes"),
    ("clusters", "file"),
    ("student", "pretrained"),
    ("student", "unlabelled"),
)


def read_toml(file: Path) -> dict[str, object]:
    """The content of a file; a ConfigError if it is empty, too large or no TOML."""
    with file.open("rb") as opened:
        content = opened.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ConfigError(
            "this file is too large to be a configuration",
            where=file,
            expected=f"at most {LARGEST:,} bytes of TOML",
            fix=how_to_name_data(file) or None,
        )
    if not content.strip():
        fix = "`specialists configs` lists working examples"
        raise ConfigError("this file is empty", where=file, expected="a configuration", fix=fix)
    try:
        return _parsed(content.decode("utf-8"))
    except ValueError as error:
        raise ConfigError(
            "this file is not TOML",
            where=file,
            got=str(error)[:200],
            expected='lines such as epochs = 3 or text = "title"',
            fix=how_to_name_data(file) or _how_to_mend(str(error)),
        ) from None


def holds_images(folder: Path) -> bool:
    """Whether folders in it hold pictures, as a folder a class does."""
    return any(file.suffix.lower() in IMAGE_SUFFIXES for file in folder.glob("*/*"))


def how_to_name_data(file: Path) -> str:
    """How a file that looks like data is given, or data in a folder; "" of others."""
    if file.is_dir():
        if holds_images(file):
            return f"a folder of images is given by `--set data.images={file}`"
        inner = (how_to_name_data(path) for path in sorted(file.iterdir()) if path.is_file())
        return next(filter(None, inner), "")
    endings = {suffix.lower() for suffix in file.suffixes}
    for key, of_these in DATA_ENDINGS.items():
        if endings & of_these:
            return f"a file of data is given by `--set data.{key}={file}`"
    return ""


def _how_to_mend(error: str) -> str:
    if error.startswith(("Cannot overwrite", "Cannot declare", "Cannot mutate")):
        return "name each key, and each [section], once"
    return "put texts into quotation marks"


def override(values: dict[str, object], assignment: str) -> str:
    """Apply ``key=value`` to ``values``, in place; returns the key.

    The value is read as TOML, or else as text. Without a value the key is removed. A source of the
    data takes the place of all others. Raises a ConfigError if it is no assignment, or assigns
    below what is no section.
    """
    if any("\ud800" <= character <= "\udfff" for character in assignment):
        raise ConfigError(
            "an override must be UTF-8, since config.toml is",
            got=assignment,
            fix="give that file or folder another name",
        )
    key, separator, text = assignment.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not separator or not all(parts) or len(parts) > MOST_NAMES:
        raise ConfigError(
            "an override must be key=value",
            got=assignment,
            expected="for instance seed=3 or generalist.epochs=3, at most four names before the =",
        )
    parts = current_key(".".join(parts)).split(".")
    target = values
    for part in parts[:-1]:
        inner = target.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError("this key is not a section", got=part, where=assignment)
        target = inner
    if parts[0] == "data" and len(parts) == 2 and parts[1] in SOURCES:
        for source in SOURCES:
            target.pop(source, None)
    target[parts[-1]] = value = _value(text)
    if value is None:
        del target[parts[-1]]
    return ".".join(parts)


def absolute_paths(values: dict[str, object]) -> dict[str, object]:
    """``values`` with the user's files as absolute paths, in place."""
    for section, key in PATHS:
        table = values.get(section)
        if isinstance(table, dict) and key in table:
            table[key] = _absolute(table[key])
    return values


def written(values: Mapping[str, object]) -> str:
    """TOML of values that are plain, a table a section."""
    top = [f"{k} = {toml_value(v)}" for k, v in values.items() if not isinstance(v, dict)]
    tables = [
        "\n".join([f"\n[{name}]", *(f"{k} = {toml_value(v)}" for k, v in section.items())])
        for name, section in values.items()
        if isinstance(section, dict)
    ]
    return "\n".join([*top, *tables]) + "\n"


def _parsed(text: str) -> dict[str, object]:
    """TOML, with everything that is wrong with it as a ValueError."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("lists or tables in one another, too deep to be read") from None


def _absolute(path: object) -> object:
    """A path, or the paths of a table, from the root; anything else as it is."""
    if isinstance(path, dict):
        return {name: _absolute(part) for name, part in path.items()}
    if not isinstance(path, str) or not path:
        return path
    return str(Path(os.path.expanduser(path)).absolute())


def _value(text: str) -> object:
    try:
        parsed = _parsed(f"value = {text}")
    except ValueError:
        return text.strip() or None
    return parsed["value"] if len(parsed) == 1 else text.strip()


def toml_value(value: object) -> str:
    """A plain value as TOML writes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_value(k)} = {toml_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, float):
        return repr(value)  # TOML writes inf, JSON Infinity
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # not raw in TOML
