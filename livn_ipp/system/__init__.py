"""A culture: from a system directory, or unconnected cells; and its generator."""

from livn_ipp.system.layout import shipped
from livn_ipp.system.parallel import ParallelSystem
from livn_ipp.system.source import Projection
from livn_ipp.system.system import System

__all__ = ["ParallelSystem", "Projection", "System", "shipped"]
