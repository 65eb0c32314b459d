"""The ``specialists`` command: ``python -m specialists`` and the console script."""

import signal
import sys
import time
from importlib import import_module
from types import FrameType

LOST_SECONDS = 5.0  # a Ctrl-C that has ended nothing by then was lost, for instance in a destructor


class _Interruptions:
    """Ctrl-C is heeded once, so that nothing interrupts how the command ends."""

    def __init__(self) -> None:
        self.heeded: float | None = None

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.heeded is None or now - self.heeded > LOST_SECONDS:
            self.heeded = now
            raise KeyboardInterrupt


def main() -> None:
    """Run the command; a worker process, which imports this module too, loads nothing of it.

    Once it was interrupted, Ctrl-C is ignored until the process has ended.
    """
    interruptions, held = _Interruptions(), signal.getsignal(signal.SIGINT)
    if held is signal.default_int_handler:
        signal.signal(signal.SIGINT, interruptions)
    try:
        import_module("specialists.pipelines.__main__").main()
    except KeyboardInterrupt:  # while the command was imported
        sys.stderr.write("\nInterrupted.\n")
        raise SystemExit(130) from None
    finally:
        if held is signal.default_int_handler:
            signal.signal(signal.SIGINT, held if interruptions.heeded is None else signal.SIG_IGN)


if __name__ == "__main__":
    main()
