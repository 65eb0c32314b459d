"""Read, override, check and write a configuration.

A configuration is TOML: top-level keys and one table per section. All mistakes of a file are told
at once, each with the nearest known name.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from specialists import pipelines
from specialists.config.data import SOURCES, DataConfig
from specialists.config.defaults import ADAPTED, DEFAULTS, PRETRAINED, RecordedDefaults
from specialists.config.effects import possible_kinds, without_effect
from specialists.config.fields import NonNegative, Section, Seed, Switch
from specialists.config.mistakes import ConfigMistakesError, explained
from specialists.config.outcome_sections import EvaluationConfig, ReportConfig
from specialists.config.renamed import with_current_names
from specialists.config.sections import (
    ClustersConfig,
    CombinationConfig,
    GeneralistConfig,
    SpecialistsConfig,
)
from specialists.config.student import StudentConfig
from specialists.config.toml import absolute_paths, how_to_name_data, override, read_toml, written
from specialists.errors import ConfigError, ConfigWarning


class Config(Section):
    """All settings of one run.

    Examples
    --------
    >>> config = Config.from_dict({"data": {"name": "languages"}, "seed": 3})
    >>> config.resolve("text").generalist.model
    'hashed_text'
    """

    seed: Seed = 0
    """Every random choice follows from it."""
    device: str = "auto"
    """Where to train and predict: auto, cpu, cuda, cuda:1 and so on. auto: CUDA if there is one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """What dense layers compute with. auto: bfloat16 on CUDA and on CPUs that multiply it."""
    threads: NonNegative = 0
    """Threads of one process. 0: one per core."""
    jobs: NonNegative = 0
    """Models trained at a time. 0: one per core."""
    clean: Switch = False
    """Whether a run removes at its end what it needs no longer, as `specialists clean` does."""
    data: DataConfig = Field(default_factory=lambda: DataConfig(name="languages"))
    generalist: GeneralistConfig = Field(default_factory=GeneralistConfig)
    clusters: ClustersConfig = Field(default_factory=ClustersConfig)
    specialists: SpecialistsConfig = Field(default_factory=SpecialistsConfig)
    combination: CombinationConfig = Field(default_factory=CombinationConfig)
    student: StudentConfig = Field(default_factory=StudentConfig)
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    report: ReportConfig = Field(default_factory=ReportConfig)
    defaults: RecordedDefaults | None = None
    """What the kind of input decides where nothing is set. None: what this version has; a run
    writes it into its config.toml."""

    @classmethod
    def from_dict(cls, values: Mapping[str, object], where: object = "the configuration") -> Config:
        """Check ``values``.

        Raises
        ------
        ConfigError
            With every mistake, one a line.
        """
        try:
            config = cls.model_validate(with_current_names(values, where))
        except ValidationError as error:
            raise ConfigMistakesError(explained(error, cls.model_fields), where) from None
        _check_sources(config.data, where)
        return config

    @classmethod
    def from_toml(cls, path: str | Path | None, overrides: Iterable[str] = ()) -> Config:
        """Read a file or a shipped configuration (None: nothing), then apply ``key=value``.

        ``key=`` takes back what the file sets. If another source of data takes the place of the
        file's, settings of the file that have no effect any more are left out; a ConfigWarning
        names them.

        Raises
        ------
        ConfigError
            If the file is missing, is no TOML, or holds a mistake.
        """
        values = {} if path is None else with_current_names(read_toml(find_config(path)), path)
        before, file = _source_of(values), deepcopy(values)
        overrides = list(overrides)
        given = [override(values, assignment) for assignment in overrides]
        try:
            config = cls.from_dict(absolute_paths(values), where=path or "--set")
        except ConfigError:
            config = cls.from_dict(values, where=cls._to_blame(path, file, overrides))
        after = config.data.source
        if before is None or before == after or before[0] == after[0] != "name":
            return config
        return config._without_idle(given, f"data.{after[0]} replaces data.{before[0]} of {path}")

    @classmethod
    def _to_blame(
        cls, path: str | Path | None, file: dict[str, object], overrides: Iterable[str]
    ) -> object:
        """The file if it has a mistake of its own, else what overrides it."""
        given = " ".join(f"--set {assignment}" for assignment in overrides)
        try:
            cls.from_dict(absolute_paths(file))
        except ConfigError:
            return path
        return given or path

    def _without_idle(self, given: Iterable[str], why: str) -> Config:
        """The same without settings that have no effect, unless they were ``given``."""
        idle = without_effect(self, possible_kinds(self.data)).keys() - set(given)
        if not idle:
            return self
        values = self.model_dump(exclude_unset=True)
        for key in idle:
            section, name, *_ = key.split(".")
            del values[section][name]
        told = f"{why}; without effect now and left out: {', '.join(sorted(idle))}"
        warnings.warn(told, ConfigWarning, stacklevel=3)
        return type(self).from_dict(values)

    def to_toml(self) -> str:
        """Everything that is set, as TOML; reading it gives an equal configuration."""
        return written(self.model_dump(exclude_none=True, mode="json"))

    def section(self, name: str) -> dict[str, Any]:
        """A section, or a setting such as "seed" or "data.table" under that name, JSON-able."""
        section, _, key = name.partition(".")
        value = self.as_trained().model_dump(mode="json")[section]
        if key:
            value = value[key]
        return value if isinstance(value, dict) and not key else {name: value}

    def as_trained(self) -> Config:
        """The same; inputs are made as a network that is brought wants them.

        Features stay as they are where trained weights are brought: their own program prepared
        these, and the data's mean and standard deviation would change them; ``data.standardize``
        may still ask for it. Texts are read by the tokenizer of a transformer.
        """
        update: dict[str, object] = {}
        if self.generalist.weights is not None and self.data.standardize is None:
            update["standardize"] = False
        folder = self.generalist.pretrained or self.student.pretrained
        if folder is not None and self.data.tokenizer is None:
            update["tokenizer"] = folder
        if not update:
            return self
        return self.model_copy(update={"data": self.data.model_copy(update=update)})

    def resolve(self, kind: str) -> Config:
        """The same with the defaults of ``kind`` in every field that is ``None``.

        Raises
        ------
        ConfigError
            If what is set does not go together with one of these defaults.
        """
        values = self.as_trained().model_dump()
        if self.generalist.predictions is not None:
            values["specialists"]["start"] = self.specialists.start or "fresh"
            values["specialists"]["freeze"] = self.specialists.freeze or ()
            values["evaluation"]["baselines"] = ()
        if self.specialists.start == "independent" and self.specialists.freeze is None:
            values["specialists"]["freeze"] = ()
        if self.specialists.factory is not None:
            afresh = {"start": "fresh", "freeze": (), "widen": 1.0}
            values["specialists"].update(afresh)
        if self.generalist.width is not None:
            values["generalist"]["widths"] = (self.generalist.width,)
        elif self.generalist.factory is not None:
            values["generalist"]["widths"] = (1,)  # its options say how wide it is
        for name, defaults in self._defaults_of(kind).items():
            for key, default in {**defaults, **self._of_optional_parts(name)}.items():
                if key in values[name] and values[name][key] is None:
                    values[name][key] = default
        return type(self).from_dict(values, where=f"the configuration with the defaults of {kind}")

    def _of_optional_parts(self, section: str) -> dict[str, object]:
        """Defaults in place of the kind's, where a transformer or adapters are asked for."""
        adapts = section == "specialists" and self.specialists.adapter is not None
        starts = self.generalist.pretrained is not None
        if section == "student" and starts and self.student.pretrained is None:
            return {"width": 256} if self.student.size == type(self.student)().size else {}
        if section == "student":
            starts = self.student.pretrained is not None
        return {**(PRETRAINED.get(section, {}) if starts else {}), **(ADAPTED if adapts else {})}

    def with_defaults(self, kind: str) -> Config:
        """The same, which holds the defaults of ``kind`` that it takes.

        What other settings decide, it does not hold: it would outlive a change of these.
        """
        resolved = self.resolve(kind)
        given, values, recorded = self.model_dump(), resolved.model_dump(), {}
        plain = resolved.model_dump(mode="json")
        for name, table in DEFAULTS[kind].items():
            taken = [key for key, value in table.items() if values[name][key] == value]
            recorded[name] = {key: plain[name][key] for key in taken if given[name][key] is None}
        held = RecordedDefaults.model_validate({"kind": kind, **recorded})
        return self.model_copy(update={"defaults": held})

    def _defaults_of(self, kind: str) -> dict[str, dict[str, object]]:
        recorded = {}
        if self.defaults is not None and self.defaults.kind == kind:
            recorded = self.defaults.model_dump(exclude={"kind"})
        return {name: table | recorded.get(name, {}) for name, table in DEFAULTS[kind].items()}


def shipped_configs() -> dict[str, Path]:
    """Name and file of every configuration that comes with the package."""
    files = [file for root in pipelines.__path__ for file in Path(root, "configs").glob("*.toml")]
    return {file.stem: file for file in sorted(files)}


def find_config(path: str | Path, command: str = "run") -> Path:
    """The file that ``path`` names: a file, or the name of a shipped configuration.

    ``command`` is the one that a message about a folder advises.
    """
    file, shipped = Path(path), shipped_configs()
    if str(path) in shipped and not file.is_file():
        return shipped[str(path)]
    if file.is_file():
        return file
    if not file.is_dir() and (how := how_to_name_data(file)):
        fix = f"name a file that is there; {how}"
        raise ConfigError("no such file", where=path, expected="a configuration", fix=fix)
    near = difflib.get_close_matches(str(path), shipped, n=1)
    fix = f"did you mean `{near[0]}`?" if near else None
    if file.is_dir():
        fix = _in_place_of_folder(file, command) or fix or "name a TOML file in it"
    raise ConfigError(
        "this is a folder, no configuration" if file.is_dir() else "no such configuration",
        got=path,
        expected="a TOML file, or one of " + ", ".join(shipped),
        fix=fix,
    )


def _in_place_of_folder(folder: Path, command: str) -> str:
    own = folder / "config.toml"
    if own.is_file() and command == "run":
        return f"`specialists run --out {folder}` goes on with this run"
    inner = own if own.is_file() else next(iter(sorted(folder.glob("*.toml"))), None)
    return f"`specialists {command} {inner}`" if inner else how_to_name_data(folder)


def _source_of(values: Mapping[str, object]) -> tuple[str, str] | None:
    """Which source of data a file names, and its value; None if none or several."""
    data = values.get("data")
    given = [(s, str(data[s])) for s in SOURCES if s in data] if isinstance(data, dict) else []
    return given[0] if len(given) == 1 else None


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
