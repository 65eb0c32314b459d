"""One frozen model per stage; read, override, check, write."""

from specialists.config.files import Config, find_config, shipped_configs
from specialists.config.sections import (
    ClustersConfig,
    CombinationConfig,
    DataConfig,
    EvaluationConfig,
    GeneralistConfig,
    Recipe,
    ReportConfig,
    SpecialistsConfig,
    StudentConfig,
)

__all__ = [
    "ClustersConfig",
    "CombinationConfig",
    "Config",
    "DataConfig",
    "EvaluationConfig",
    "GeneralistConfig",
    "Recipe",
    "ReportConfig",
    "SpecialistsConfig",
    "StudentConfig",
    "find_config",
    "shipped_configs",
]
