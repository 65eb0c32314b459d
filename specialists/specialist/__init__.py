"""Specialists: what they see, how they are trained and calibrated, and how they are read back."""

from specialists.specialist.model import (
    Specialist,
    TrainedSpecialist,
    load_specialist,
    save_specialist,
)
from specialists.specialist.sampling import check_share, soft_targets, training_rows
from specialists.specialist.start import assign_generalists, specialise, starting_network
from specialists.specialist.subset_training import train_specialist

__all__ = [
    "Specialist",
    "TrainedSpecialist",
    "assign_generalists",
    "check_share",
    "load_specialist",
    "save_specialist",
    "soft_targets",
    "specialise",
    "starting_network",
    "train_specialist",
    "training_rows",
]
