"""The version of the package; `pyproject.toml` states it, too (a test compares them)."""

VERSION = "0.1.0"
