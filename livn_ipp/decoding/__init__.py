"""Decodings: what a simulated window says."""

from livn_ipp.decoding.channels import ChannelRecording
from livn_ipp.decoding.pipe import Pipe
from livn_ipp.decoding.rates import MeanFiringRate
from livn_ipp.decoding.window import GatherAndMerge, Slice

__all__ = ["ChannelRecording", "GatherAndMerge", "MeanFiringRate", "Pipe", "Slice"]
