"""Shared specialists: a network of all classes that is asked about a shortlist of each row."""

from specialists.shared.fresh_network import shared_network, shared_recipe
from specialists.shared.gathered_head import gathered_logits
from specialists.shared.shared_model import (
    SharedSpecialist,
    TrainedShared,
    load_shared,
    save_shared,
)
from specialists.shared.shortlist_training import train_shared
from specialists.shared.shortlists import (
    Shortlisting,
    most_probable_classes,
    places_of_labels,
)

__all__ = [
    "SharedSpecialist",
    "Shortlisting",
    "TrainedShared",
    "gathered_logits",
    "load_shared",
    "most_probable_classes",
    "places_of_labels",
    "save_shared",
    "shared_network",
    "shared_recipe",
    "train_shared",
]
