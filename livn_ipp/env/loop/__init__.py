"""Closed loops over workers: episodes, where each runs, and who steps it when."""
