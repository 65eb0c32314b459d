"""The record of a training: ``metrics.jsonl``, the same for every machine, and ``timing.jsonl``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from specialists.runs import write_text

TIMING = "timing.jsonl"


def write_metrics(
    folder: Path, history: Sequence[Mapping[str, Any]], seconds: float, loading: float
) -> None:
    """Every epoch's metrics, and a line on the time of the last one.

    Parameters
    ----------
    folder : Path
    history : sequence of mappings
        An epoch each; ``examples`` counts those seen up to its end.
    seconds, loading : float
        Of the last epoch: of all of it, and of waiting for batches.
    """
    write_text(folder / "metrics.jsonl", "".join(map(_json_line, history)))
    seen = [0, *(record["examples"] for record in history)]
    timing = {
        "epoch": history[-1]["epoch"],
        "seconds": round(seconds, 3),
        "examples_per_second": round((seen[-1] - seen[-2]) / seconds, 1),
        "loading_share": round(loading / seconds, 4),
    }
    times = folder / TIMING
    before = times.read_text("utf-8", "replace") if times.is_file() else ""
    write_text(times, before + _json_line(timing))


def logged_seconds(folder: Path) -> float:
    """Seconds of all epochs; a line that a killed process left half written does not count."""
    file, total = folder / TIMING, 0.0
    for line in file.read_bytes().splitlines() if file.is_file() else []:
        with suppress(ValueError, TypeError, KeyError):
            total += float(json.loads(line)["seconds"])
    return total


def _json_line(record: Mapping[str, Any]) -> str:
    return json.dumps(record) + "\n"
