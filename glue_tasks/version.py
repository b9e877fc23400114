"""The version of the whole distribution: read by pyproject.toml, and printed by every command."""

__version__ = "0.2.0"
