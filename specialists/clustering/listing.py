"""What do the clusters look like to a person? The text of ``clusters.txt``.

It is made from the content of ``clusters.json``: each cluster's size, the share of the model's
confusions inside it, beside that of random clusters, and the names of its classes, wrapped.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from specialists.escaping import one_line

INDENT = "    "


def clusters_text(content: Mapping[str, Any], width: int = 100) -> str:
    """Clusters as paragraphs, after a summary.

    Parameters
    ----------
    content : mapping
        As from ``ClassClusters.to_dict``.
    width : int
        Longest line, in characters.
    """
    names = [one_line(name) for name in content["class_names"]]
    paragraphs = [_summary(content, width)]
    paragraphs += [_cluster(cluster, names, width) for cluster in content["clusters"]]
    if content["uncovered"]:
        left = [names[i] for i in content["uncovered"]]
        paragraphs.append(_wrapped(f"{len(left)} classes in no cluster: ", left, width, ""))
    return "\n\n".join(paragraphs) + "\n"


def _summary(content: Mapping[str, Any], width: int) -> str:
    sizes = [cluster["size"] for cluster in content["clusters"]] or [0]
    text = (
        f"{len(content['clusters'])} clusters of {content['n_classes']} classes, of {min(sizes)} "
        f"to {max(sizes)} classes each ({content['method']} on the {content['matrix']} of "
        f"predictions). {content['share_of_confusions']:.1%} of the model's confusions fall inside "
        f"a cluster; inside random clusters of the same sizes {content['random_share']:.1%} would."
    )
    return textwrap.fill(text, width)


def _cluster(cluster: Mapping[str, Any], class_names: list[str], width: int) -> str:
    core = [class_names[i] for i in cluster["core"]]
    added = [class_names[i] for i in cluster["classes"] if i not in set(cluster["core"])]
    share, random = cluster["share_of_confusions"], cluster["random_share"]
    first = f"cluster {cluster['index']}: {cluster['size']} classes, {share:.1%} of confusions "
    lines = [textwrap.fill(f"{first}(at random {random:.1%})", width)]
    lines.append(_wrapped("", core, width, INDENT))
    if added:
        lines.append(_wrapped("and nearby: ", added, width, INDENT))
    return "\n".join(lines)


def _wrapped(start: str, names: list[str], width: int, indent: str) -> str:
    separator = "; " if any("," in name for name in names) else ", "
    text = start + separator.join(name.replace(" ", "\N{NO-BREAK SPACE}") for name in names)
    wrapped = textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent)
    return wrapped.replace("\N{NO-BREAK SPACE}", " ")
