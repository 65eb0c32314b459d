"""What do ``clusters.json`` and ``clusters.txt`` hold? Clusters as plain values, and for people.

Each share of confusions stands beside ``random_share``, what random clusters of the same sizes
would hold (:func:`specialists.clustering.shares.share_of_pairs`). It is computed again when read.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from specialists.errors import InputError
from specialists.escaping import one_line, readable

if TYPE_CHECKING:
    from specialists.clustering.classes import ClassClusters

INDENT = "    "
PAIR = ("class_a", "class_b", "share_of_confusions")  # the columns of "pairs"


def as_content(clusters: ClassClusters) -> dict[str, object]:
    """JSON-able content; :func:`fields_from` reads it back."""
    random_shares = clusters.random_shares
    content: dict[str, object] = {
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
        "pairs": {name: [pair[i] for pair in clusters.pairs] for i, name in enumerate(PAIR)},
    }
    return content | ({} if clusters.agreement is None else {"agreement": clusters.agreement})


def fields_from(content: Any) -> dict[str, Any]:
    """The fields of :class:`ClassClusters` in what :func:`as_content` gave."""
    try:
        clusters = content["clusters"]
        pairs = content.get("pairs", dict.fromkeys(PAIR, ()))  # older files have none
        return {
            "classes": tuple(tuple(cluster["classes"]) for cluster in clusters),
            "core_classes": tuple(tuple(cluster["core"]) for cluster in clusters),
            "class_names": tuple(content["class_names"]),
            "method": content["method"],
            "matrix": content["matrix"],
            "share_of_confusions": tuple(c["share_of_confusions"] for c in clusters),
            "total_share": content["share_of_confusions"],
            "agreement": content.get("agreement"),
            "pairs": tuple(zip(*(pairs[name] for name in PAIR), strict=True)),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "these are not class clusters", where="clusters.json", got=f"no {error}"
        ) from error


def clusters_text(clusters: ClassClusters, width: int) -> str:
    """Clusters as paragraphs after a summary, in lines of at most ``width`` characters."""
    names = [one_line(readable(name)) for name in clusters.class_names]
    sizes = clusters.sizes or (0,)
    summary = (
        f"{clusters.n_clusters} clusters of {clusters.n_classes} classes, of {min(sizes)} "
        f"to {max(sizes)} classes each ({clusters.method} on the {clusters.matrix} of "
        f"predictions). {clusters.total_share:.1%} of the model's confusions fall inside "
        f"a cluster; inside random clusters of the same sizes {clusters.random_share:.1%} would."
    )
    paragraphs = [textwrap.fill(summary, width)]
    for index, random_share in enumerate(clusters.random_shares):
        core = clusters.core_classes[index]
        inside = set(core)
        added = [i for i in clusters.classes[index] if i not in inside]
        share = f"{clusters.share_of_confusions[index]:.1%} of confusions"
        first = f"cluster {index}: {clusters.sizes[index]} classes, {share} "
        lines = [textwrap.fill(f"{first}(at random {random_share:.1%})", width)]
        lines.append(_wrapped("", [names[i] for i in core], width, INDENT))
        if added:
            lines.append(_wrapped("and nearby: ", [names[i] for i in added], width, INDENT))
        paragraphs.append("\n".join(lines))
    if clusters.uncovered:
        left = [names[i] for i in clusters.uncovered]
        paragraphs.append(_wrapped(f"{len(left)} classes in no cluster: ", left, width, ""))
    return "\n\n".join(paragraphs) + "\n"


def _wrapped(start: str, names: list[str], width: int, indent: str) -> str:
    separator = "; " if any("," in name for name in names) else ", "
    text = start + separator.join(name.replace(" ", "\N{NO-BREAK SPACE}") for name in names)
    wrapped = textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent)
    return wrapped.replace("\N{NO-BREAK SPACE}", " ")
