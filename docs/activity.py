"""Measure the shipped cultures at rest: ``python docs/activity.py`` writes activity.md.

One process, the default model, seed and step, trial 0; 5 s after a second of warm-up.
The page is the same on every machine that has the same NEURON.
"""

from pathlib import Path

from livn_ipp.decoding import (
    ISICV,
    BurstRate,
    PeakSynchrony,
    PerUnitFiringRate,
    PopulationFiringRates,
)
from livn_ipp.env import Env

HERE = Path(__file__).parent
PAGE = HERE / "activity.md"
WARM_UP, DURATION = 1000, 5000  # ms
CULTURES = ("EI1", "EI2", "EI3")
HEAD = """# Activity of the shipped cultures

Made by `python docs/activity.py`: the default model, seed and step, trial 0, nothing
driven; 5 s after a second of warm-up. CV is the mean over cells of the coefficient of
variation of their intervals; synchrony is the largest number of spikes in 2 ms per cell
that fired; bursts are counted as `BurstRate` does.

| culture | cells | EXC Hz | INH Hz | fastest cell Hz | CV | synchrony | bursts per s |
|---|---|---|---|---|---|---|---|
"""


def row(name: str) -> str:
    """Simulate a culture and return its line of the table."""
    env = Env(name).init().record_spikes()
    env.run(WARM_UP)
    run = env.run(DURATION)
    rates = PopulationFiringRates(duration=DURATION)(run, env)["rates_hz"]
    fastest = PerUnitFiringRate(duration=DURATION)(run, env)["max_rate_hz"]
    variation = ISICV(duration=DURATION)(run, env)["isi_cv"]
    peak = PeakSynchrony(duration=DURATION)(run, env)["max_synchronous_peak"]
    bursts = BurstRate(duration=DURATION)(run, env)["burst_rate_hz"]
    cells = env.system.num_cells
    env.close()
    return (
        f"| {name} | {cells:,} | {rates['EXC']:.2f} | {rates['INH']:.2f} "
        f"| {fastest:.1f} | {variation:.2f} | {peak:.2f} | {bursts:.1f} |\n"
    )


if __name__ == "__main__":
    PAGE.write_text(HEAD + "".join(map(row, CULTURES)))
