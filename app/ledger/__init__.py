"""What a ledger decides: pure functions over frozen values.

Standard library only; no I/O, no clock, no randomness, no async. Times and new ids are handed in.
"""
