"""Python functions that Numba compiles, where it is installed: the optional extra ``fast``.

Numba keeps what it compiled beside the sources, or in the user's cache folder where that cannot be
written to, and in memory alone where neither can.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def compiled(function: Callable[..., Any], sources: Iterable[Path]) -> Callable[..., Any]:
    """The function, which is compiled for the types that it is called with, without the GIL.

    Numba looks at the age of one source file only, so what it keeps has a hash of all ``sources``
    in its name. Where what is kept is damaged or cannot be kept, code is compiled for this process
    alone. Raises an ImportError without a Numba that fits this NumPy.
    """
    from numba import njit

    content = b"".join(source.read_bytes() for source in sorted(sources))
    function.__qualname__ = f"{function.__name__}_{hashlib.sha256(content).hexdigest()[:12]}"
    alone = njit(function, nogil=True, error_model="numpy")
    try:
        kept = njit(function, cache=True, nogil=True, error_model="numpy")
    except RuntimeError:  # no folder that can be written to
        return alone

    def call(*arguments: Any) -> Any:
        nonlocal kept
        if kept is not alone:
            try:
                return kept(*arguments)
            except Exception as error:  # of the cache: the code itself raises nothing
                logging.getLogger("specialists").info(
                    "what Numba kept of compiled code, beside its source or in the user's cache "
                    f"folder, cannot be used ({type(error).__name__}: {error}): it is compiled "
                    "anew for this process"
                )
                kept = alone
        return alone(*arguments)

    return call
