"""Worlds of ranks: started, joined, watched, lost, replaced and ended."""
