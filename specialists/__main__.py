"""The ``specialists`` command: ``python -m specialists`` and the console script."""

import sys
from importlib import import_module


def main() -> None:
    """Run the command; a worker process, which imports this module too, loads nothing of it."""
    try:
        command = import_module("specialists.pipelines.__main__").main
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted.\n")
        raise SystemExit(130) from None
    command()


if __name__ == "__main__":
    main()
