"""Readers of statement files: bytes in as they come, statements and lines out.

A reader is fed a file piece by piece and holds what it has not yet made a line of, which is
bounded, never the file. Whatever is not as its format wants ends the reading with the line and the
column; nothing is guessed and nothing is skipped in silence, for a line that is skipped is money
that is lost.
"""
