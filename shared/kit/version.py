"""The version of the system; pyproject.toml has the same."""

VERSION = "0.1.0"
