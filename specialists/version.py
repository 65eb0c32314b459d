"""The version of this distribution, its only copy: results of another version are stale."""

__version__ = "0.6.2"
