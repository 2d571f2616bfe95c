"""Deciding who does what, and what becomes of it: no socket, no thread, no clock."""
