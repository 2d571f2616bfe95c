"""Who a controller listens to, and whether it takes a connection file's keys."""

import ipaddress
import socket
import time
from typing import Any, Literal

import psutil

from livn_ipp.errors import ConfigError

__all__ = ["LOOPBACK", "checked_interface", "greet", "is_loopback"]

LOOPBACK = "127.0.0.1"
"""Address that only processes of this machine reach."""


def is_loopback(address: str) -> bool:
    """Tell whether only processes of this machine reach an address.

    Parameters
    ----------
    address
        Of a network interface, or "*" for all.

    Returns
    -------
    bool
        False for names other than "localhost", which may mean anything.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("*"), is_loopback("192.0.2.7")
    (True, False, False)
    """
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def checked_interface(address: str) -> str:
    """Refuse an address that no network interface of this machine has.

    Parameters
    ----------
    address
        IPv4 address, or "*" for all.

    Returns
    -------
    str
        The address.

    Raises
    ------
    ConfigError
        If this machine does not have it; names those that it has.

    Examples
    --------
    >>> checked_interface("127.0.0.1")
    '127.0.0.1'
    """
    own = [
        each.address
        for addresses in psutil.net_if_addrs().values()
        for each in addresses
        if each.family == socket.AF_INET
    ]
    if address != "*" and address not in own:
        raise ConfigError(
            f"interface={address!r} is no address of this machine; choose "
            f"{', '.join(own)}, or '*' for all of them"
        )
    return address


def greet(
    information: dict[str, Any], timeout: float
) -> Literal["welcome", "refused", "silent"]:
    """Show a controller the CURVE key of a connection file.

    Parameters
    ----------
    information
        What ``ipyparallel.Client`` takes.
    timeout
        Seconds to wait for an answer.

    Returns
    -------
    str
        "refused" if the controller has another key, or uses keys where the file has
        none, or the other way round; "silent" if whoever listens there speaks another
        protocol or does not answer in time.
    """
    import zmq
    from ipyparallel.util import disambiguate_url
    from zmq.utils.monitor import recv_monitor_message

    failed = (
        zmq.Event.HANDSHAKE_FAILED_AUTH
        | zmq.Event.HANDSHAKE_FAILED_PROTOCOL  # one has a key, the other none
        | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL  # hung up on a wrong key
    )
    url = f"{information['interface']}:{information['registration']}"
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        if key := information.get("curve_serverkey"):
            dealer.curve_serverkey = key.encode()
            dealer.curve_publickey, dealer.curve_secretkey = zmq.curve_keypair()
        deadline = time.monotonic() + timeout
        with dealer.get_monitor_socket() as monitor:
            dealer.connect(disambiguate_url(url, information.get("location")))
            try:
                while monitor.poll(max(0, int((deadline - time.monotonic()) * 1000))):
                    event = zmq.Event(recv_monitor_message(monitor)["event"])
                    if event == zmq.Event.HANDSHAKE_SUCCEEDED:
                        return "welcome"
                    if event & failed:
                        return "refused"
                    if event == zmq.Event.DISCONNECTED:
                        return "silent"
            finally:  # an event that nobody takes would keep the context from ending
                dealer.disable_monitor()
    return "silent"
