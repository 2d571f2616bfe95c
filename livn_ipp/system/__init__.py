"""A culture on disk: the system directory, its files and its generator."""

from livn_ipp.system.directory import Projection, System
from livn_ipp.system.layout import shipped

__all__ = ["Projection", "System", "shipped"]
