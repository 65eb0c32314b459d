"""What does ``clusters.json`` hold? Clusters as plain values, and back.

Each share of confusions stands beside ``random_share``, what random clusters of the same sizes
would hold (:func:`specialists.clustering.shares.share_of_pairs`). It is found anew when read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from specialists.errors import InputError

if TYPE_CHECKING:
    from specialists.clustering.classes import ClassClusters


def as_content(clusters: ClassClusters) -> dict[str, Any]:
    """JSON-able content; :func:`fields_of` reads it back."""
    random_shares = clusters.random_shares
    return {
        "method": clusters.method,
        "matrix": clusters.matrix,
        "n_classes": clusters.n_classes,
        "class_names": list(clusters.class_names),
        "share_of_confusions": clusters.total_share,
        "random_share": clusters.random_share,
        "clusters": [
            {
                "index": index,
                "size": len(members),
                "classes": list(members),
                "names": list(clusters.names(index)),
                "share_of_confusions": clusters.share_of_confusions[index],
                "random_share": random_shares[index],
                "core": list(clusters.core_classes[index]),
            }
            for index, members in enumerate(clusters.classes)
        ],
        "uncovered": list(clusters.uncovered),
    } | ({} if clusters.agreement is None else {"agreement": clusters.agreement})


def fields_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of :class:`ClassClusters` in what :func:`as_content` wrote.

    Raises
    ------
    InputError
        A key is missing.
    """
    try:
        clusters = content["clusters"]
        return {
            "classes": tuple(tuple(cluster["classes"]) for cluster in clusters),
            "core_classes": tuple(tuple(cluster["core"]) for cluster in clusters),
            "class_names": tuple(content["class_names"]),
            "method": content["method"],
            "matrix": content["matrix"],
            "share_of_confusions": tuple(c["share_of_confusions"] for c in clusters),
            "total_share": content["share_of_confusions"],
            "agreement": content.get("agreement"),
        }
    except (KeyError, TypeError) as error:
        raise InputError(
            "these are not class clusters", where="clusters.json", got=f"no {error}"
        ) from error
