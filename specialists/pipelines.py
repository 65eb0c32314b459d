"""The name ``specialists.pipelines``, in a clone: a package whose modules lie in ``pipelines/``.

The wheel holds them in ``specialists/pipelines/`` instead of this file. So the command never
imports a top-level module called ``pipelines``, which may be the user's own.
"""

from pathlib import Path

__path__ = [str(Path(__file__).parents[1] / "pipelines")]
