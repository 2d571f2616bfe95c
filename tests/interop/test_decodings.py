"""Our decodings say of the same spikes what livn's say."""

from types import SimpleNamespace

import numpy as np
import pytest
from dish import Dish

from livn_ipp import decoding as ours
from livn_ipp.policy import (
    BiphasicPulsePolicy,
    MonophasicPulsePolicy,
    PulseSweepPolicy,
)
from livn_ipp.run import Events, Run

pytest.importorskip("livn", reason="the extra livn is not installed")

DURATION = 2000
SYSTEM = SimpleNamespace(
    gids=np.arange(30), population_ranges={"EXC": (0, 24), "INH": (24, 6)}
)
PULSES = {"schedule": [(500, 1.0), (900, 2.0), (1300, 1.0)], "pre_ms": 100}
OPTIONS = {
    "ISICV": {"min_spikes_per_unit": 3},
    "StimulusResponse": {"onset_ms": 1100},
    "RecruitmentCurve": PULSES,
    "ExtracellularRecruitment": PULSES,
    "PeriStimulusHistogram": {"onsets": [500, 1300], "populations": ["EXC", "INH"]},
}
OF_SPIKES = sorted(
    set(ours.__all__)
    - {"ArrowDataset", "ChannelRecording", "GatherAndMerge", "Pipe", "Slice"}
    - {"LFP", "Waveforms"}
)
# livn's last bin ends where rounding puts it, and may lose the largest avalanche.
FITTED = {"size_power_law_exponent", "size_power_law_r2"}


def activity(kind):
    random = np.random.default_rng(7)
    times = random.uniform(
        0, DURATION, {"sparse": 60, "dense": 1500, "bursts": 400}[kind]
    )
    if kind == "bursts":
        times = np.concatenate([times, *random.normal([[800], [1400]], 15, (2, 700))])
    times = np.unique(np.round(times, 3))
    return random.integers(0, 30, len(times)), times


def equal(a, b):
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        return all(equal(a[key], b[key]) for key in a.keys() - FITTED)
    if a is None or isinstance(a, (str, bool)):
        return a == b
    return np.allclose(a, b, rtol=1e-6, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("name", OF_SPIKES)
@pytest.mark.parametrize("kind", ["sparse", "dense", "bursts"])
def test_a_decoding_of_spikes(name, kind):
    import livn.decoding
    from livn.run import Run as TheirRun

    ids, times = activity(kind)
    options = {"duration": DURATION, **OPTIONS.get(name, {})}
    dish = Dish(system=SYSTEM)
    mine = getattr(ours, name)(**options)(Run(0, DURATION, Events.of(ids, times)), dish)
    cells = {"EXC": dict.fromkeys(range(24)), "INH": dict.fromkeys(range(24, 30))}
    env = SimpleNamespace(comm=None, system=SYSTEM, cells=cells)
    run = TheirRun(t0=0.0, duration=float(DURATION)).add_spikes(ids, times)
    theirs = getattr(livn.decoding, name)(**options)(run, env)
    assert equal(mine, theirs), (mine, theirs)


@pytest.mark.parametrize(
    ("policy", "options"),
    [
        (BiphasicPulsePolicy, {"pulse_times": [1.0, 3.0], "cathodic_first": False}),
        (MonophasicPulsePolicy, {"amplitude": [1.0, 2.0], "pulse_times": [0, 4]}),
        (
            PulseSweepPolicy,
            {"amplitudes": (1.0, 2.0), "repeats": 2, "trial_ms": 10, "onset_ms": 5},
        ),
    ],
)
def test_a_pulse_program(policy, options):
    import livn.policy

    options = {"n_channels": 3, "channels": [0, 2], **options}
    theirs = getattr(livn.policy, policy.__name__)(**options)
    assert np.array_equal(policy(**options).render(), np.asarray(theirs()))
