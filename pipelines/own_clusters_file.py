"""``clusters.file``: which classes does a file put into which cluster?

JSON as ``ClassClusters.to_dict`` writes it, or an object of class and cluster; or a table with the
columns ``class`` and ``cluster`` (or its first two). Classes are known by their names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from specialists.clustering.own_clusters import members_of
from specialists.datasets.class_names import class_name
from specialists.datasets.naming import did_you_mean
from specialists.datasets.table_files import READERS, TABLE_FORMATS, read_table
from specialists.datasets.text_files import suffix
from specialists.errors import DataError, InputError, listed
from specialists.files.reading import read_text_file

COLUMNS = ("class", "cluster")
JSON_FORMS = 'what ClassClusters.to_dict writes, or {"class": cluster, ...}'


def read_clusters(path: Path, class_names: Sequence[str]) -> tuple[list[list[int]], list[str]]:
    """The subsets of a file as class indices, and notes on classes that one side lacks.

    Raises
    ------
    InputError
        If the file is none of these, or names no class of the data, or all of them in one cluster.
    """
    named = list(_from_json(path) if suffix(path) == "json" else _from_table(path))
    number = {name: i for i, name in enumerate(class_names)}
    clusters = [[number[name] for name in names if name in number] for names in named]
    unknown = list(dict.fromkeys(n for names in named for n in names if n not in number))
    placed = {i for members in clusters for i in members}
    if not any(named):
        raise InputError("no clusters in this file", where=path, expected="a class in each")
    if not placed:
        near = did_you_mean(unknown[0], class_names)
        got = f"{listed(unknown, 5)}; the data have {listed(class_names, 5)}"
        raise InputError("no class of the data is in these clusters", where=path, got=got, fix=near)
    notes = []
    if unknown:
        notes.append(f"classes in clusters that the data lack ({len(unknown)}): {listed(unknown)}")
    if left := [name for i, name in enumerate(class_names) if i not in placed]:
        notes.append(f"classes in no cluster ({len(left)}): {listed(left)}")
    clusters = [members for members in clusters if members]
    members_of(clusters, len(class_names))
    return clusters, notes


def _from_json(path: Path) -> Iterable[list[str]]:
    try:
        content = json.loads(read_text_file(path))
    except (ValueError, RecursionError) as error:
        got = str(error) if path.stat().st_size else "an empty file"
        what = "clusters.file is no JSON"
        raise DataError(what, where=path, got=got, expected=JSON_FORMS) from None
    try:
        if isinstance(content, dict) and isinstance(content.get("clusters"), list):
            return [
                [class_name(n, path) for n in cluster["names"]] for cluster in content["clusters"]
            ]
        if isinstance(content, dict):
            return _grouped(content.items(), path)
    except (TypeError, KeyError):
        pass
    raise DataError("these are no clusters of classes", where=path, expected=JSON_FORMS)


def _from_table(path: Path) -> Iterable[list[str]]:
    if suffix(path) not in READERS:
        raise DataError("unknown kind of file", where=path, expected=f".json, {TABLE_FORMATS}")
    table = read_table(path)
    columns = [i for i in map(table.find, COLUMNS) if i is not None]
    if len(columns) < len(COLUMNS):
        columns = [0, 1]
    if len(table.names) < len(columns):
        got = f"the header {', '.join(map(repr, table.names))}"
        raise DataError("a table of two columns is needed", where=path, got=got, expected=COLUMNS)
    first, second = columns
    return _grouped(zip(table.strings(first), table.strings(second), strict=True), path)


def _grouped(pairs: Iterable[tuple[str, Any]], path: Path) -> list[list[str]]:
    """The classes of each cluster, in the order in which clusters are first named."""
    clusters: dict[str, list[str]] = {}
    for name, cluster in pairs:
        clusters.setdefault(class_name(cluster, path), []).append(class_name(name, path))
    return list(clusters.values())
