"""What does an estimator's parameter mean in a configuration?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from operator import attrgetter
from typing import Any, Protocol

import numpy as np
import torch

from specialists.clustering import ClassClusters
from specialists.config import Config, needing_a_network
from specialists.config.mistakes import TAKEN_BACK
from specialists.datasets.in_memory import MEMORY
from specialists.errors import ConfigError, calling, listed
from specialists.feasibility import check_settings
from specialists.networks import ARCHITECTURES
from specialists.runtime import n_cores

HELD = "specialists_in_memory:{}"
NETWORK = HELD.format("network")
CLUSTERS = (
    'a number, "auto", ClassClusters, a mapping or Series of class to cluster, or lists of classes'
)


class Parameters(Protocol):
    """Of :class:`pipelines.estimator.SpecialistClassifier`, described there."""

    network: str | Callable[..., Any] | None
    clusters: Any
    settings: Mapping[str, object] | None
    random_state: Any
    n_jobs: int | None


def config_of(
    given: Parameters, check_random_state: Callable[[Any], Any], predictions: bool = False
) -> Config:
    """The configuration; ``settings`` come last, so that they win.

    Where the generalist is given as its ``predictions``, specialists start afresh.

    Raises
    ------
    ConfigError
        With every mistake, one a line.
    """
    in_memory = bool(network_functions(given))
    values: dict[str, Any] = {
        "seed": seed_of(given.random_state, check_random_state),
        "jobs": 1 if in_memory else jobs_of(given.n_jobs),
        "threads": torch.get_num_threads(),
        "data": {"name": MEMORY},
        "generalist": _network_settings(given.network),
        "clusters": {"n_clusters": _plain(given.clusters)} if _is_number(given.clusters) else {},
    }
    if predictions:
        values["specialists"] = {"start": "fresh", "freeze": ()}
    for section, name, value in _settings(given):
        table = values
        for part in filter(None, section.split(".")):
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigError("this key is not a section", got=part, where="settings")
        if name == "factory" and callable(value):
            value = _name_of_function(value, f"settings, {section}.factory", HELD.format(section))
        table[name] = _plain(value)
    with calling(names_for_errors(given)):
        config = Config.from_dict(values, where="settings")
        if predictions:
            _check_given(config)
        check_settings(config)
    return config


def _check_given(config: Config) -> None:
    """Refuse what needs a generalist's network, where only its predictions are known."""
    if needing := needing_a_network(config):
        raise ConfigError(
            "only predictions of the generalist are known, no network",
            where="settings",
            got=", ".join(f"{key} = {attrgetter(key)(config)}" for key in needing),
            expected="specialists that start afresh, with nothing frozen, and an offline teacher",
        )


def seed_of(random_state: Any, check_random_state: Callable[[Any], Any]) -> int:
    """An int is the seed itself, as ``seed`` of a configuration is."""
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def jobs_of(n_jobs: int | None) -> int:
    """Processes at a time: scikit-learn counts back from all cores where it is negative."""
    if n_jobs is None or n_jobs == 0:
        return 1
    return n_jobs if n_jobs > 0 else max(1, n_cores() + 1 + n_jobs)


def network_functions(given: Parameters) -> dict[str, Callable[..., Any]]:
    """The callables that no worker process could import, by the names that stand for them."""
    named = {HELD.format(s): value for s, name, value in _settings(given) if name == "factory"}
    named[NETWORK] = given.network
    return {k: f for k, f in named.items() if callable(f) and import_path(f) is None}


def names_for_errors(given: Parameters) -> dict[str, str]:
    """What errors call keys and names of a run that stand for parameters of the user."""
    names = {"where: the configuration": "where: settings", " in the configuration": ""}
    names |= {f" ({TAKEN_BACK})": ""}  # of the command line
    if given.network is not None:
        names["generalist.factory"] = "network="
    if given.clusters is not None:
        found = _is_number(given.clusters)
        names |= {"clusters.n_clusters": "clusters"} if found else {"clusters.file": "clusters="}
    sections = ("generalist", "specialists", "student")
    names |= {HELD.format(name): f"settings, {name}.factory" for name in sections}
    return {**names, NETWORK: "network", HELD.format("rows"): "X"}


def keys_of_settings(params: Mapping[str, object]) -> tuple[dict[str, object], dict[str, object]]:
    """The values of ``settings__KEY`` by their keys, and all other parameters.

    Examples
    --------
    >>> keys_of_settings({"model": "student", "settings__student__width": 64})
    ({'student.width': 64}, {'model': 'student'})
    """
    prefix = "settings__"
    ours = [name for name in params if name.startswith(prefix)]
    keys = {name.removeprefix(prefix).replace("__", "."): params[name] for name in ours}
    return keys, {name: value for name, value in params.items() if name not in ours}


def with_keys(
    settings: Mapping[str, object] | None, keys: Mapping[str, object]
) -> dict[str, object]:
    """Settings in which these keys have other values, whether they stood in a table or not.

    Examples
    --------
    >>> with_keys({"student": {"width": 8, "epochs": 2}, "seed": 1}, {"student.width": 64})
    {'student': {'epochs': 2}, 'seed': 1, 'student.width': 64}
    """
    kept: dict[str, object] = {}
    for name, value in (settings or {}).items():
        if isinstance(value, Mapping):
            kept[name] = {k: inner for k, inner in value.items() if f"{name}.{k}" not in keys}
        elif name not in keys:
            kept[name] = value
    return {**kept, **keys}


def _settings(given: Parameters) -> Iterator[tuple[str, str, object]]:
    """Section, key and value of each of the settings; the section is "" for those of none."""
    settings = {} if given.settings is None else given.settings
    if not isinstance(settings, Mapping):
        raise ConfigError(
            "settings is not understood",
            got=repr(settings),
            expected='a mapping of keys to values, for instance {"generalist.epochs": 5}',
        )
    for key, value in settings.items():
        section, dot, name = str(key).rpartition(".")
        if isinstance(value, Mapping) and not dot:
            yield from ((name, str(inner), of_inner) for inner, of_inner in value.items())
        else:
            yield section, name, value


def own_clusters(given: Any, classes: np.ndarray, names: Sequence[str]) -> list[list[str]] | None:
    """The names of the classes of each given cluster; None where clusters are to be found.

    ``names`` are those of ``classes``, and either may be given.

    Raises
    ------
    InputError
        If a class is none of ``y``, or the clusters are not understood.
    """
    if _is_number(given):
        return None
    if isinstance(given, ClassClusters):
        return _checked([list(given.names(i)) for i in range(given.n_clusters)], names)
    is_series = getattr(given, "ndim", None) == 1 and hasattr(given, "items")
    if isinstance(given, str) or (hasattr(given, "ndim") and not is_series):
        got = repr(given) if isinstance(given, str) else f"{type(given).__name__} {given}"
        raise _not_understood(got)
    try:
        if isinstance(given, Mapping) or is_series:
            given = _by_cluster(given.items())
        known = {n: n for n in names} | dict(zip(classes.tolist(), names, strict=True))
        clusters = [list(members) for members in given]
        unknown = [str(label) for members in clusters for label in members if label not in known]
    except TypeError as error:
        raise _not_understood(error) from None
    if unknown:
        raise _not_understood(f"classes that y does not hold: {listed(unknown)}")
    return _checked([[known[label] for label in members] for members in clusters], names)


def _checked(clusters: list[list[str]], names: Sequence[str]) -> list[list[str]]:
    """At least one cluster of some of the classes, and none of all of them."""
    all_names = set(names)
    known = [all_names.intersection(members) for members in clusters]
    if not any(known):
        given = dict.fromkeys(name for members in clusters for name in members)
        got = f"classes that y does not hold: {listed(given)}" if given else "no class"
        raise _not_understood(got)
    if any(len(members) == len(names) for members in known):
        raise _not_understood(f"a cluster of all {len(names)} classes, which tells none apart")
    return clusters


def _by_cluster(items: Iterable[tuple[Any, Any]]) -> list[list[Any]]:
    """The classes of each cluster, in the order in which clusters are first named."""
    grouped: dict[Any, list[Any]] = {}
    for label, cluster in items:
        if cluster is None or cluster != cluster:
            raise _not_understood(f"no cluster for class {label}")
        grouped.setdefault(cluster, []).append(label)
    return list(grouped.values())


def _not_understood(got: object) -> ConfigError:
    return ConfigError("clusters is not understood", where="clusters", got=got, expected=CLUSTERS)


def _is_number(clusters: object) -> bool:
    if isinstance(clusters, str):
        return clusters == "auto"
    return clusters is None or isinstance(clusters, Integral)


def import_path(function: Any) -> str | None:
    """``package.module:function`` of a callable, if another process finds it there."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if module in (None, "__main__") or name is None or not name.isidentifier():
        return None
    found = getattr(sys.modules.get(module), name, None)
    return f"{module}:{name}" if found is function else None


def _name_of_function(function: Any, where: str, otherwise: str) -> str:
    """What a configuration calls it; a module that is built already is no function."""
    if isinstance(function, torch.nn.Module):
        raise ConfigError(
            "this is a network, but one is built for each number of classes",
            where=where,
            got=f"an instance of {type(function).__name__}",
            expected=f"a function that builds it: {where}=lambda n_classes: ...",
        )
    return import_path(function) or otherwise


def _network_settings(network: object) -> dict[str, object]:
    if network is None:
        return {}
    if callable(network):
        return {"factory": _name_of_function(network, "network", NETWORK)}
    if not isinstance(network, str):
        raise ConfigError(
            "this is no network",
            where="network",
            got=repr(network),
            expected=f"None, a callable, package.module:function, or {', '.join(ARCHITECTURES)}",
        )
    return {"factory" if ":" in network else "model": network}


def _plain(value: Any) -> Any:
    """A NumPy number or array as Python's, also within a table."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
