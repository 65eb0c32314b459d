"""Specialists: what they see, how they are trained and calibrated, and how they are read back."""

from specialists.specialist.parents import deal, independent_generalists
from specialists.specialist.sampling import (
    soft_targets,
    subset_examples,
    subset_labels,
    subset_validation,
)
from specialists.specialist.unit import (
    Specialist,
    SpecialistTask,
    folders_of,
    load_specialist,
    load_specialists,
    train_specialist,
    train_specialists,
)

__all__ = [
    "Specialist",
    "SpecialistTask",
    "deal",
    "folders_of",
    "independent_generalists",
    "load_specialist",
    "load_specialists",
    "soft_targets",
    "subset_examples",
    "subset_labels",
    "subset_validation",
    "train_specialist",
    "train_specialists",
]
