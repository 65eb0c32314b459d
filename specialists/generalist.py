"""TEMPORARY, until the slices of E and U are merged: names that their files still use."""

from specialists.pipelines.generalists import STAGE, chosen_training

__all__ = ["STAGE", "chosen_training"]
