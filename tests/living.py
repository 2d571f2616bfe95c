"""Looks at processes that may end while they are looked at."""

import contextlib

import psutil


def of_living(look, processes):
    """What a look at each tells, without those that have ended or are hidden."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found.append(look(process))
    return found


def commands(processes):
    """Their command lines."""
    return of_living(lambda process: " ".join(process.cmdline()), processes)
