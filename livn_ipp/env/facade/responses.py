"""Responses by number, as livn hands them out."""

import concurrent.futures
from typing import Any

from livn_ipp.cluster.futures import CallFuture
from livn_ipp.errors import ConfigError

__all__ = ["Responses"]


class Responses:
    """The calls whose responses will be fetched by number, each once."""

    def __init__(self) -> None:
        self._waiting: dict[int, CallFuture] = {}

    def expect(self, future: CallFuture) -> int:
        """Keep a call until it is fetched; return its number."""
        self._waiting[future.id] = future
        return future.id

    def receive(self, number: int | None) -> Any:
        """Wait for a call, or for whichever ends first, and return its response."""
        if number is not None:
            return self._take(number).result()
        if not self._waiting:
            raise ConfigError(
                "no call is waiting for its response; submit_call() first"
            )
        done, _ = concurrent.futures.wait(
            self._waiting.values(), return_when=concurrent.futures.FIRST_COMPLETED
        )
        first = min(number for number, f in self._waiting.items() if f in done)
        return self._take(first).result()

    def probe(self, number: int, default: Any) -> Any:
        """Return a call's response if it has ended, else `default`."""
        if number in self._waiting and not self._waiting[number].done():
            return default
        return self._take(number).result()

    def _take(self, number: int) -> CallFuture:
        future = self._waiting.pop(number, None)
        if future is None:
            raise ConfigError(
                f"no response is waiting under {number}; "
                f"waiting: {sorted(self._waiting) or 'none'}"
            )
        return future
