"""Of what size is a student?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from specialists.config import StudentConfig
from specialists.config.defaults import DEFAULTS
from specialists.networks import (
    TRANSFORMER,
    NetworkSpec,
    largest_width,
    n_parameters,
    outline,
    own_spec,
    pretrained_options,
    with_allowed_rank,
)


def student_spec(
    generalist: NetworkSpec,
    settings: StudentConfig,
    kind: str,
    size: float | None = None,
    class_names: Sequence[str] = (),
) -> NetworkSpec:
    """The student's network beside a generalist: the model that ships for the kind of input.

    Or that of ``student.factory``, or the transformer of ``student.pretrained``, which has no other
    size; it keeps a head that knows the ``class_names``. No model ships for tensors: without a
    factory of its own, their student has the generalist's network.

    Parameters
    ----------
    generalist : NetworkSpec
    settings : StudentConfig
    kind : {"text", "features", "images", "tensors"}
    size : float, optional
        Parameters over the generalist's, the n-gram table and all others alike. None: the
        ``width`` of the settings, or their ``size``, which leaves the table out, and their table.

    Returns
    -------
    NetworkSpec
        A cheap head keeps the generalist's ``head_rank`` in a student of a given width. In one of
        a given size the rank shrinks as the size does, since rank times classes would else be more
        than the whole. It goes where it makes no head cheaper.
    """
    if settings.pretrained is not None:
        options = pretrained_options(settings.pretrained, "student.pretrained", class_names)
        return NetworkSpec(TRANSFORMER, generalist.n_classes, width=1, options=options)
    own = own_spec(settings, generalist.n_classes, generalist.input_shape)
    if own is not None:
        return own
    model = DEFAULTS[kind]["generalist"].get("model")
    if model is None:
        return generalist
    table = {
        "embedding_dim": settings.embedding_dim or generalist.embedding_dim,
        "n_buckets": settings.n_buckets or generalist.n_buckets,
    }
    spec = dataclasses.replace(
        generalist,
        model=model,
        dropout=settings.dropout or 0.0,
        options={},
        head=None,
        **(table if size is None else _table(generalist, size)),
    )
    if size is None and settings.width is not None:
        return with_allowed_rank(dataclasses.replace(spec, width=settings.width))
    share = settings.size if size is None else size
    if spec.head_rank is not None:
        rank = max(1, round(min(1.0, share) * spec.head_rank))
        spec = dataclasses.replace(spec, head_rank=rank)
    limit = share * _trained_parameters(generalist)
    width = largest_width(spec, lambda candidate: _trained_parameters(candidate) <= limit)
    return with_allowed_rank(dataclasses.replace(spec, width=width))


def _table(generalist: NetworkSpec, size: float) -> dict[str, int]:
    """An n-gram table of ``size`` times the numbers of the generalist's.

    Small ones have half the rows, and the rest comes from their columns: a table with a sixteenth
    of the columns and all rows would starve the layers above.
    """
    n_buckets = max(1, generalist.n_buckets // 2) if size <= 0.5 else generalist.n_buckets
    columns = size * generalist.embedding_dim * generalist.n_buckets / n_buckets
    return {"embedding_dim": max(1, round(columns)), "n_buckets": n_buckets}


def _trained_parameters(spec: NetworkSpec) -> int:
    network = outline(with_allowed_rank(dataclasses.replace(spec, n_buckets=1)))
    return n_parameters(network, tables=False)
