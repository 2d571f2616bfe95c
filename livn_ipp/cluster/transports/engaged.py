"""Channels to the workers that hold sessions: steps past the queues of the cluster."""

import contextlib
import platform
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import zmq

from livn_ipp.cluster import wire
from livn_ipp.cluster.keeping.shared import Inbox
from livn_ipp.cluster.transports.channel import Channel
from livn_ipp.cluster.transports.engine import LISTEN, OPEN, SHUT
from livn_ipp.cluster.transports.hearing import Hearing
from livn_ipp.cluster.transports.listening import PROGRESS
from livn_ipp.cluster.transports.seats import Seat
from livn_ipp.cluster.transports.stream import Message
from livn_ipp.errors import LivnError

__all__ = ["Engaged"]


class Engaged(ABC):
    """The part of a transport that makes the steps of sessions fast.

    A channel is opened beside the usual way, which is taken until it is there, and for
    good if it cannot be opened, as from a laptop that reaches a cluster by a tunnel.
    """

    _seats: dict[int, Seat]
    _inbox: Inbox | None

    def __init__(self) -> None:
        self._channels: dict[Seat, Channel] = {}
        self._slow: dict[Seat, set[int]] = {}
        """Parcels that went the usual way and are not answered yet."""
        self._hearing = Hearing()

    def engage(self, worker: int) -> None:
        """Open a channel to a worker, unless there is one."""
        seat = self._seats.get(worker)
        if seat is None or not zmq.has("curve"):
            return
        held = self._channels.get(seat)
        if held is not None:
            held.want(wanted=True)
            if not held.closed:
                return
        channel = self._channels[seat] = Channel(
            self._hearing,
            lambda left: self._listen(seat, left),
            lambda kind, frames: self._heard(seat, kind, frames),
            lambda reason: self._lose(seat, self._absent(seat) or reason),
            lambda: self._shut(seat),
        )
        local = {rank.host for rank in seat.ranks} == {platform.node()}
        directory = self._inbox.path if self._inbox is not None and local else ""
        invitation = channel.public, channel.secret, directory
        with contextlib.suppress(LookupError, OSError):  # its loss is told elsewhere
            # Sent from where parcels are, so that all ranks get both in one order.
            answer = seat.leader.apply_async(OPEN, invitation, local)
            for view in seat.others:
                view.apply_async(OPEN, invitation, local)
            answer.add_done_callback(lambda done: self._opened(channel, done))
        self._forget_history(seat.leader, *seat.others)

    def disengage(self, worker: int) -> None:
        """Close the channel to a worker when it has answered all."""
        seat = self._seats.get(worker)
        if seat is not None and (channel := self._channels.get(seat)):
            channel.want(wanted=False)

    def _drop_channel(self, seat: Seat) -> None:
        """Forget the channel to a worker that is gone."""
        if channel := self._channels.pop(seat, None):
            channel.close()

    def _drop_channels(self) -> None:
        for seat in list(self._channels):
            self._drop_channel(seat)

    def help(self, future: "Future[Any]", timeout: float | None) -> None:
        """Hear channels on the thread of a caller who waits for a reply."""
        self._hearing.help(future, timeout)

    # Inside

    @staticmethod
    def _opened(channel: Channel, answer: Any) -> None:
        with contextlib.suppress(Exception):  # without one, steps go as calls do
            if opened := answer.get(timeout=0):
                channel.connect(*opened)

    def _listen(self, seat: Seat, left: Callable[[Any], None]) -> None:
        answer = seat.leader.apply_async(LISTEN)
        for view in seat.others:
            view.apply_async(LISTEN)
        answer.add_done_callback(left)
        self._forget_history(seat.leader, *seat.others)

    def _heard(self, seat: Seat, kind: bytes, frames: Message) -> None:
        if kind == PROGRESS:
            self._progressed(seat, wire.unpack(frames))
            return
        assert self._inbox is not None
        try:
            frames = self._inbox.take(frames)
        except OSError as error:
            self._lose(seat, repr(error))
            return
        reply = wire.unpack(frames)
        try:
            self._received(seat, reply)
        finally:
            # Not before: a closed channel leaves what follows to the usual way.
            if (channel := self._channels.get(seat)) and isinstance(reply, wire.Reply):
                channel.answered(reply.parcel)

    def _shut(self, seat: Seat) -> None:
        with contextlib.suppress(LookupError, OSError, LivnError):
            for view in (seat.leader, *seat.others):
                view.apply_async(SHUT)
        self._forget_history(seat.leader, *seat.others)

    @abstractmethod
    def _received(self, seat: Seat, reply: Any) -> None:
        """Take a reply in, or a refusal."""

    @abstractmethod
    def _progressed(self, seat: Seat, progress: wire.Progress) -> None:
        """Take in how far a call is."""

    @abstractmethod
    def _absent(self, seat: Seat) -> str:
        """Tell which rank has left the cluster, if one has."""

    @abstractmethod
    def _lose(self, seat: Seat, reason: str) -> None:
        """Give a worker up."""

    @abstractmethod
    def _forget_history(self, *views: Any) -> None:
        """Forget what was sent."""
