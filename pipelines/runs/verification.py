"""Do the parts of a run that are read together belong together?

``specialists run`` compares everything that a stage depends on before it works. Who only reads,
to predict or to draw, asks here: the manifest of the stage that made a result recorded the SHA-256
of all that went into it and came out of it. Descriptions (JSON) are compared; each of them vouches
for the weights or arrays beside it, which their readers check.
"""

from __future__ import annotations

from pathlib import Path

from specialists.errors import DamagedError, InputError
from specialists.files.artifacts import sha256
from specialists.files.manifests import CODE_VERSION, Manifest, read_manifest

DESCRIPTIONS = (".json",)


def check_result(run: Path, stage: str, suffixes: tuple[str, ...] = DESCRIPTIONS) -> Manifest:
    """Check that a stage's result is whole, and newer than everything that it was made from.

    Parameters
    ----------
    run : Path
    stage : str
    suffixes : tuple of str
        Which of the recorded files are compared.

    Returns
    -------
    Manifest
        Of the stage.

    Raises
    ------
    InputError
        If the stage is not done, or if a file is not the recorded one. The message names the
        stage to run.
    """
    try:
        manifest = read_manifest(run / stage)
        reason = _why_stale(run, run / stage, manifest, suffixes)
    except FileNotFoundError:
        raise does_not_stand(run, stage, "it was not finished") from None
    except DamagedError as error:
        raise does_not_stand(run, stage, error.what) from None
    if reason is not None:
        raise does_not_stand(run, stage, reason)
    return manifest


def does_not_stand(run: Path, stage: str, reason: str) -> InputError:
    """The error that names the stage to run again."""
    return InputError(
        f"{stage} cannot be used as it is: {reason}",
        where=run,
        fix=f"`specialists {stage} {run}` makes it, "
        f"`specialists run --out {run}` everything that is missing or stale",
    )


def _why_stale(
    run: Path, folder: Path, manifest: Manifest, suffixes: tuple[str, ...]
) -> str | None:
    if manifest.get("code") != CODE_VERSION:
        return f"code version {manifest.get('code')} -> {CODE_VERSION}"
    inputs = {name: run / name for name in manifest.get("inputs", {}) if "/" in name}
    outputs = {name: folder / name for name in manifest["outputs"]}
    for kind, files in (("input", inputs), ("output", outputs)):
        recorded = manifest[f"{kind}s"]
        for name, file in files.items():
            if not file.name.endswith(suffixes):
                continue
            if not file.is_file():
                return f"{kind} {name} is gone"
            if sha256(file) != recorded[name]:
                return f"{kind} {name} changed"
    return None
