"""What does a shared specialist start from, and how is it trained?

From fresh weights in the generalist's architecture: what it adds is that it errs elsewhere. It is a
network over all classes as the generalist is, so it is trained by the generalist's recipe.
"""

from __future__ import annotations

import dataclasses

from torch import nn

from specialists.config import GeneralistConfig, Recipe, SpecialistsConfig
from specialists.datasets.base import Inputs
from specialists.networks import NetworkSpec, build_for, own_spec
from specialists.specialist.start import check_buckets, check_width


def shared_network(
    spec: NetworkSpec, settings: SpecialistsConfig, inputs: Inputs | None = None
) -> tuple[nn.Module, NetworkSpec]:
    """A fresh network over all classes, and what describes it; seed torch before.

    Parameters
    ----------
    spec : NetworkSpec
        Of the generalist.
    settings : SpecialistsConfig
        ``width`` and ``n_buckets``, where they are set, take the place of the generalist's, or
        ``factory`` that of its network.
    inputs : Tensor or Ragged, optional
        What it is trained on: rows of its n-gram table that none of it reads are zero.

    Raises
    ------
    ConfigError
        If this network does not come in widths, or has no n-gram table.
    """
    own = own_spec(settings, spec.n_classes, spec.input_shape)
    if own is not None:
        return build_for(own, inputs), own
    changes = {
        "width": check_width(settings, spec) or spec.width,
        "n_buckets": check_buckets(settings, spec),
    }
    spec = dataclasses.replace(spec, **changes)
    return build_for(spec, inputs), spec


def shared_recipe(generalist: GeneralistConfig, settings: SpecialistsConfig) -> Recipe:
    """The generalist's recipe with the specialists' label smoothing, and their epochs where set.

    On emoji it gains .03 nats more without smoothing than with the generalist's.
    """
    fields = {name: getattr(generalist, name) for name in Recipe.model_fields}
    own = {
        "epochs": settings.shared_epochs or generalist.epochs,
        "label_smoothing": settings.label_smoothing,
    }
    return Recipe(**{**fields, **own})
