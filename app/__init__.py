"""Ledgers: a multi-tenant double-entry ledger served over GraphQL."""

from importlib.metadata import version

__version__ = version("ledgers")
