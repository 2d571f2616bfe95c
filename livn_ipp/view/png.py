"""Small PNG files with few colours, without an imaging library."""

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from livn_ipp.view.palette import rgb

__all__ = ["data_url", "png"]

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PALETTE: Final = 3  # PNG's colour type
_FAST: Final = 2  # of zlib's levels; level 9 saves a tenth and costs ten times as much


def png(pixels: NDArray[Any], colours: Sequence[str]) -> bytes:
    """Encode an image.

    Parameters
    ----------
    pixels : array [height, width] of uint8
        0 for transparent, else one more than the colour's index.
    colours
        Up to 15 hexadecimal colours, with opacity if they have 8 digits.

    Examples
    --------
    >>> png(np.eye(8, dtype=np.uint8), ["#0072B2"])[1:4]
    b'PNG'
    """
    height, width = pixels.shape
    bits = 1 if len(colours) < 2 else 2 if len(colours) < 4 else 4
    rows = np.zeros((height, 1 + -(-width * bits // 8)), np.uint8)  # 0: no filter
    rows[:, 1:] = _packed(pixels, bits)
    palette = bytes(3) + b"".join(bytes(rgb(code)) for code in colours)
    opacity = bytes([0, *(int(code[7:] or "ff", 16) for code in colours)])
    header = struct.pack(">IIBBBBB", width, height, bits, _PALETTE, 0, 0, 0)
    return b"".join(
        [
            _SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", palette),
            _chunk(b"tRNS", opacity),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), _FAST)),
            _chunk(b"IEND", b""),
        ]
    )


def data_url(content: bytes, kind: str = "image/png") -> str:
    """Put a file into a URL.

    Examples
    --------
    >>> data_url(b"abc")
    'data:image/png;base64,YWJj'
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _packed(pixels: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    if bits == 1:
        return np.packbits(pixels, axis=1)
    per_byte = 8 // bits
    height, width = pixels.shape
    wide = np.zeros((height, -(-width // per_byte), per_byte), np.uint8)
    wide.reshape(height, -1)[:, :width] = pixels
    packed = np.zeros(wide.shape[:2], np.uint8)
    for place in range(per_byte):
        packed |= wide[:, :, place] << (8 - bits * (place + 1))
    return packed


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)
