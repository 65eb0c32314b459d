"""Read, override, check and write a configuration.

A configuration is TOML: top-level keys and one table a section. All mistakes of a file are told
at once, each with the nearest known name.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from specialists.config.defaults import DEFAULTS
from specialists.config.sections import (
    SOURCES,
    ClustersConfig,
    CombinationConfig,
    DataConfig,
    EvaluationConfig,
    GeneralistConfig,
    NonNegative,
    ReportConfig,
    Section,
    SpecialistsConfig,
    StudentConfig,
)
from specialists.errors import ConfigError

PATHS = (
    ("data", "table"),
    ("data", "arrays"),
    ("data", "images"),
    ("generalist", "weights"),
    ("generalist", "classes"),
    ("student", "unlabelled"),
)


class Config(Section):
    """All settings of one run.

    Examples
    --------
    >>> config = Config.from_dict({"data": {"name": "languages"}, "seed": 3})
    >>> config.resolve("text").generalist.model
    'hashed_text'
    """

    seed: NonNegative = Field(default=0, description="every random choice follows from it")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 ...")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="auto: bfloat16 on CUDA and on CPUs that multiply it"
    )
    threads: NonNegative = Field(default=0, description="of one process; 0: all cores")
    jobs: NonNegative = Field(default=0, description="specialists trained at a time; 0: all cores")
    data: DataConfig = DataConfig(name="languages")
    generalist: GeneralistConfig = GeneralistConfig()
    clusters: ClustersConfig = ClustersConfig()
    specialists: SpecialistsConfig = SpecialistsConfig()
    combination: CombinationConfig = CombinationConfig()
    student: StudentConfig = StudentConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    report: ReportConfig = ReportConfig()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: object = "the configuration") -> Config:
        """Check ``values``.

        Raises
        ------
        ConfigError
            With every mistake, one a line.
        """
        try:
            config = cls.model_validate(values)
        except ValidationError as error:
            lines = [_explain(mistake) for mistake in error.errors()]
            raise ConfigError(
                f"the configuration has {len(lines)} mistake{'s' * (len(lines) > 1)}",
                where=where,
                got="\n       ".join(lines),
                fix="correct these keys; `specialists configs` lists working examples",
            ) from None
        _check_sources(config.data, where)
        return config

    @classmethod
    def from_toml(cls, path: str | Path | None, overrides: Iterable[str] = ()) -> Config:
        """Read a file or a shipped configuration (None: nothing), then apply ``key=value``.

        ``key=`` takes back what the file sets.

        Raises
        ------
        ConfigError
            If the file is missing, is no TOML, or holds a mistake.
        """
        values = {} if path is None else _read_toml(find_config(path))
        for override in overrides:
            _override(values, override)
        return cls.from_dict(_absolute_paths(values), where=path or "--set")

    def to_toml(self) -> str:
        """Everything that is set, as TOML; reading it gives an equal configuration."""
        values = self.model_dump(exclude_none=True, mode="json")
        top = [f"{k} = {_toml(v)}" for k, v in values.items() if not isinstance(v, dict)]
        tables = [
            "\n".join([f"\n[{name}]", *(f"{k} = {_toml(v)}" for k, v in section.items())])
            for name, section in values.items()
            if isinstance(section, dict)
        ]
        return "\n".join([*top, *tables]) + "\n"

    def section(self, name: str) -> dict[str, Any]:
        """A section, or a top-level setting under its own name, JSON-able."""
        value = self.as_trained().model_dump(mode="json")[name]
        return value if isinstance(value, dict) else {name: value}

    def as_trained(self) -> Config:
        """The same with features as they are, unless asked for, where a trained network is brought.

        Its features were what its own program made of them, which the data's mean and standard
        deviation would change.
        """
        if self.generalist.weights is None or self.data.standardize is not None:
            return self
        data = self.data.model_copy(update={"standardize": False})
        return self.model_copy(update={"data": data})

    def resolve(self, kind: str) -> Config:
        """The same with the defaults of ``kind`` in every field that is ``None``.

        Raises
        ------
        ConfigError
            If what is set does not go together with one of these defaults.
        """
        values = self.as_trained().model_dump()
        if self.specialists.start == "independent" and self.specialists.freeze is None:
            values["specialists"]["freeze"] = ()
        for name, defaults in DEFAULTS[kind].items():
            for key, default in defaults.items():
                if values[name][key] is None:
                    values[name][key] = default
        if self.generalist.width is not None:
            values["generalist"]["widths"] = (self.generalist.width,)
        return type(self).from_dict(values, where=f"the configuration with the defaults of {kind}")


def shipped_configs() -> dict[str, Path]:
    """Name and file of every configuration that comes with the package."""
    import importlib.util

    spec = importlib.util.find_spec("pipelines")
    roots = list(spec.submodule_search_locations or ()) if spec else []
    files = [file for root in roots for file in Path(root, "configs").glob("*.toml")]
    return {file.stem: file for file in sorted(files)}


def find_config(path: str | Path) -> Path:
    """The file that ``path`` names: a file, or the name of a shipped configuration."""
    file, shipped = Path(path), shipped_configs()
    if str(path) in shipped and not file.is_file():
        return shipped[str(path)]
    if file.is_file():
        return file
    near = difflib.get_close_matches(str(path), shipped, n=1)
    raise ConfigError(
        "no such configuration",
        got=path,
        expected="a TOML file, or one of " + ", ".join(shipped),
        fix=f"did you mean `{near[0]}`?" if near else None,
    )


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("this file is not TOML", where=file, got=str(error)) from None


def _override(values: dict[str, Any], override: str) -> None:
    try:
        override.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            "an override must be UTF-8, since config.toml is",
            got=override,
            fix="give that file or folder another name",
        ) from None
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts) or len(parts) > 3:
        raise ConfigError(
            "an override must be key=value", got=override, expected="for instance seed=3"
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip() or None
    target = values
    for part in parts[:-1]:
        target = target.setdefault(part, {})
        if not isinstance(target, dict):
            raise ConfigError("this key is not a section", got=part, where=override)
    if parts[0] == "data" and len(parts) == 2 and parts[1] in SOURCES:
        for source in SOURCES:
            target.pop(source, None)
    if value is None:
        target.pop(parts[-1], None)
    else:
        target[parts[-1]] = value


def _absolute_paths(values: dict[str, Any]) -> dict[str, Any]:
    for section, key in PATHS:
        table = values.get(section)
        if isinstance(table, dict) and key in table:
            table[key] = _absolute(table[key])
    return values


def _absolute(path: Any) -> Any:
    """A path, or the paths of a table, from the root; anything else as it is."""
    if isinstance(path, dict):
        return {name: _absolute(part) for name, part in path.items()}
    return str(Path(os.path.expanduser(path)).absolute()) if isinstance(path, str) else path


def _check_sources(data: DataConfig, where: object) -> None:
    given = [source for source in SOURCES if getattr(data, source) is not None]
    if len(given) != 1:
        raise ConfigError(
            "[data] must name exactly one source",
            where=where,
            got=", ".join(given) or "none",
            expected="one of " + ", ".join(SOURCES),
            fix="for instance --set data.table=my.tsv, which removes the others",
        )


def _explain(mistake: Any) -> str:
    location = [str(part) for part in mistake["loc"]]
    if mistake["type"] != "extra_forbidden":
        named = [part for part in location if part.isidentifier() or part.isdecimal()]
        told = mistake["msg"].removeprefix("Value error, ")
        if isinstance(mistake["input"], dict):
            return f"in {'.'.join(named)}: {told}"
        return f"{'.'.join(named)} = {mistake['input']!r}: {told}"
    fields = Config.model_fields
    if len(location) > 1:
        section: Any = fields[location[0]].annotation
        fields = section.model_fields
    near = difflib.get_close_matches(location[-1], fields, n=1, cutoff=0.5)
    hint = f"did you mean `{near[0]}`?" if near else "known: " + ", ".join(fields)
    return f"unknown key `{'.'.join(location)}`; {hint}"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, float):
        return repr(value)  # TOML writes inf, JSON Infinity
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("\x7f", r"\u007f")  # TOML refuses it as it is
