"""Decodings: what a simulated window says."""

from livn_ipp.decoding.bursts import AvalancheAnalysis, BurstRate, PeakSynchrony
from livn_ipp.decoding.channels import ChannelRecording
from livn_ipp.decoding.correlation import PairwiseChannelCorrelation
from livn_ipp.decoding.dataset import ArrowDataset
from livn_ipp.decoding.field import LFP
from livn_ipp.decoding.pipe import Pipe
from livn_ipp.decoding.populations import (
    PopulationActiveFraction,
    PopulationSpikeDensity,
)
from livn_ipp.decoding.rates import (
    ActiveFraction,
    MeanFiringRate,
    PerUnitFiringRate,
    PopulationFiringRates,
    Stability,
)
from livn_ipp.decoding.responses import (
    ExtracellularRecruitment,
    PeriStimulusHistogram,
    RecruitmentCurve,
    StimulusResponse,
)
from livn_ipp.decoding.variability import (
    ISICV,
    PopulationAutocorrTau,
    PopulationRateMetrics,
)
from livn_ipp.decoding.waveforms import Waveforms
from livn_ipp.decoding.window import GatherAndMerge, Slice

__all__ = [
    "ISICV",
    "LFP",
    "ActiveFraction",
    "ArrowDataset",
    "AvalancheAnalysis",
    "BurstRate",
    "ChannelRecording",
    "ExtracellularRecruitment",
    "GatherAndMerge",
    "MeanFiringRate",
    "PairwiseChannelCorrelation",
    "PeakSynchrony",
    "PerUnitFiringRate",
    "PeriStimulusHistogram",
    "Pipe",
    "PopulationActiveFraction",
    "PopulationAutocorrTau",
    "PopulationFiringRates",
    "PopulationRateMetrics",
    "PopulationSpikeDensity",
    "RecruitmentCurve",
    "Slice",
    "Stability",
    "StimulusResponse",
    "Waveforms",
]
