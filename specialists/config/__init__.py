"""One frozen model per stage; read, override, check, write."""

from specialists.config.configuration import Config, find_config, shipped_configs
from specialists.config.data import DataConfig
from specialists.config.effects import is_set, left_aside, possible_kinds, without_effect
from specialists.config.mistakes import ConfigMistakesError
from specialists.config.sections import (
    ClustersConfig,
    CombinationConfig,
    GeneralistConfig,
    Recipe,
    SpecialistsConfig,
    StudentConfig,
)

__all__ = [
    "ClustersConfig",
    "CombinationConfig",
    "Config",
    "ConfigMistakesError",
    "DataConfig",
    "GeneralistConfig",
    "Recipe",
    "SpecialistsConfig",
    "StudentConfig",
    "find_config",
    "is_set",
    "left_aside",
    "possible_kinds",
    "shipped_configs",
    "without_effect",
]
