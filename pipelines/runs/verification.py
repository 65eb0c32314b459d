"""Do the parts of a run that are read together belong together?

``specialists run`` compares everything that a stage depends on before it works. Code that only
reads a result, to predict or to draw, asks here. The manifest of the stage recorded the SHA-256 of
all that went into the result and came out of it. Descriptions (JSON) are compared; each of them
vouches for the weights or arrays beside it, which their readers check.
"""

from __future__ import annotations

from pathlib import Path

from specialists.errors import DamagedError, InputError
from specialists.files.manifests import CODE_VERSION, Manifest, file_change, read_manifest

from .folder_kinds import RUN, how_to_have_a_run, kind_of

DESCRIPTIONS = (".json",)


def check_result(run: Path, stage: str, suffixes: tuple[str, ...] = DESCRIPTIONS) -> Manifest:
    """The manifest of a stage whose result is whole, and newer than all that it was made from.

    Recorded files with these ``suffixes`` are compared. Raises an InputError, which names the stage
    to run, if the stage is not done or a file is not the recorded one.
    """
    try:
        manifest = read_manifest(run / stage)
        reason = _why_stale(run, stage, manifest, suffixes)
    except FileNotFoundError:
        raise does_not_stand(run, stage, "it was not finished") from None
    except DamagedError as error:
        raise does_not_stand(run, stage, error.what) from None
    if reason is not None:
        raise does_not_stand(run, stage, reason)
    return manifest


def does_not_stand(run: Path, stage: str, reason: str) -> InputError:
    """The error that names the stage to run again."""
    fix = (
        f"`specialists {stage} {run}` makes it, "
        f"`specialists run --out {run}` everything that is missing or stale"
    )
    return InputError(
        f"{stage} cannot be used as it is: {reason}",
        where=run,
        fix=fix if kind_of(run) == RUN else how_to_have_a_run(run),
    )


def _why_stale(run: Path, stage: str, manifest: Manifest, suffixes: tuple[str, ...]) -> str | None:
    if manifest.get("code") != CODE_VERSION:
        return f"code version {manifest.get('code')} -> {CODE_VERSION}"
    inputs = {name: digest for name, digest in manifest.get("inputs", {}).items() if "/" in name}
    for kind, folder, recorded in (
        ("input", run, inputs),
        ("output", run / stage, manifest["outputs"]),
    ):
        for name, digest in recorded.items():
            change = file_change(folder / name, digest) if name.endswith(suffixes) else None
            if change is not None:
                return f"{kind} {name} {change}"
    return None
