"""The address of this machine that others reach."""

import socket

import psutil

from livn_ipp.cluster.reaching.security import LOOPBACK

__all__ = ["own_address"]


def own_address() -> str:
    """Find the IPv4 address by which other machines reach this one.

    Returns
    -------
    str
        The address that this machine's name has, else that of the first interface
        which is up; that of the loopback if there is no other.

    Examples
    --------
    >>> own_address().count(".")
    3
    """
    states = psutil.net_if_stats()
    found = [
        each.address
        for name, addresses in psutil.net_if_addrs().items()
        if name in states and states[name].isup
        for each in addresses
        if each.family == socket.AF_INET and not each.address.startswith("127.")
    ]
    try:
        named = socket.gethostbyname(socket.gethostname())
    except OSError:
        named = ""
    return named if named in found else [*found, LOOPBACK][0]
