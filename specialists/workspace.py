"""TEMPORARY, until the slices of E and U are merged: the name that their files still use."""

from specialists.pipelines.context import RunContext as Workspace

__all__ = ["Workspace"]
