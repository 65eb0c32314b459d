"""The ``specialists`` command: ``python -m specialists`` and the console script."""

from importlib import import_module


def main() -> None:
    """Run the command; a worker process, which imports this module too, loads nothing of it."""
    import_module("specialists.pipelines.__main__").main()


if __name__ == "__main__":
    main()
