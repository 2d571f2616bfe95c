"""Runs for other programs: tables, Neo, NWB, and our own files."""

__all__: list[str] = []
