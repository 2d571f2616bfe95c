"""Colours and signs that every view shares."""

from typing import Final

__all__ = ["GREY", "PAPER", "SCREEN", "colour", "rgb"]

# Distinct for colour-blind eyes and in grey (Okabe & Ito 2008), in population order.
PAPER: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
# The same hues with a contrast of 3 to a white as well as to a black screen.
SCREEN: Final = ("#2E8BCB", "#D55E00", "#009E73", "#CC79A7", "#8A6FD1", "#B8860B")
GREY: Final = "#888888"  # lines and labels on both


def colour(index: int) -> str:
    """Colour of a population on a screen, by its place.

    Examples
    --------
    >>> colour(0) == colour(6)
    True
    """
    return SCREEN[index % len(SCREEN)]


def rgb(code: str) -> tuple[int, int, int]:
    """Red, green and blue of a hexadecimal colour.

    Examples
    --------
    >>> rgb("#0072B2")
    (0, 114, 178)
    """
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)
