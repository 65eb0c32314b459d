"""Which options does clustering take beside its matrices? One list for all who hand them on."""

from __future__ import annotations

from typing import TypedDict


class Options(TypedDict, total=False):
    """Keyword arguments of :func:`specialists.clustering.cluster_classes`, described there."""

    method: str
    max_ratio: float
    overlap: int
    coverage: int
    seed: int
    matrix: str | None
    shuffled: bool
