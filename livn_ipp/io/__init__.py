"""Between channels and cells: electrode arrays, and interfaces of a user's own.

livn's LightArray has no counterpart: it needs cells with an opsin, which no model here
has. An array of optical fibres over such cells is an :class:`IO` of a user's own.
"""

from livn_ipp.io.base import IO
from livn_ipp.io.composed import ComposedIO
from livn_ipp.io.mea import MEA
from livn_ipp.volume_conductor import PointSource

__all__ = ["IO", "MEA", "ComposedIO", "PointSource"]
