"""One frozen model per stage; read, override, check, write."""

from specialists.config.configuration import Config, find_config, shipped_configs
from specialists.config.data import DataConfig
from specialists.config.effects import is_set, left_aside, possible_kinds, without_effect
from specialists.config.given_effects import needing_a_network
from specialists.config.mistakes import ConfigMistakesError
from specialists.config.network_sections import OwnNetwork, Recipe
from specialists.config.search_space import (
    asks_online,
    distinct_networks,
    network_sizes,
    searched_values,
    student_candidates,
)
from specialists.config.sections import (
    ClustersConfig,
    CombinationConfig,
    GeneralistConfig,
    SpecialistsConfig,
)
from specialists.config.setting_list import SECTIONS, Setting, list_settings
from specialists.config.student import SchemeName, StudentConfig, TuningConfig

__all__ = [
    "SECTIONS",
    "ClustersConfig",
    "CombinationConfig",
    "Config",
    "ConfigMistakesError",
    "DataConfig",
    "GeneralistConfig",
    "OwnNetwork",
    "Recipe",
    "SchemeName",
    "Setting",
    "SpecialistsConfig",
    "StudentConfig",
    "TuningConfig",
    "asks_online",
    "distinct_networks",
    "find_config",
    "is_set",
    "left_aside",
    "list_settings",
    "needing_a_network",
    "network_sizes",
    "possible_kinds",
    "searched_values",
    "shipped_configs",
    "student_candidates",
    "without_effect",
]
