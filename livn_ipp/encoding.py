"""Encodings: how a call's input becomes a stimulus."""

from typing import Any

import numpy as np
from pydantic import Field

from livn_ipp.errors import ConfigError
from livn_ipp.policy import ElectrodePolicy, Policy
from livn_ipp.stimulus import Stimulus
from livn_ipp.types import Encoding

__all__ = ["ElectrodeStimulus"]


class ElectrodeStimulus(Encoding):
    """Play a pulse program on the electrodes of the environment at hand.

    The program is fitted to the array, so that it need not know the number of channels.
    It is rendered window by window while the simulation runs; a run that ends before
    the program is refused.

    Parameters
    ----------
    policy
        The program; None if each call's input is one.
    channel
        The channel to drive, as its place in ``env.io.channel_ids`` from 0; by default
        those that the program names, or else the one whose commands reach the cells
        most, all together.

    Examples
    --------
    >>> from livn_ipp.policy import BiphasicPulsePolicy
    >>> pulse = BiphasicPulsePolicy(amplitude=20, pulse_times=[10.0, 60.0])
    >>> ElectrodeStimulus(policy=pulse, channel=5).channel
    5
    """

    policy: Policy | None = None
    channel: int | None = Field(default=None, ge=0)

    def __call__(self, env: Any, t_end: Any, inputs: Any) -> Stimulus:  # noqa: ARG002
        """Fit the program to the array and hand it to the cells.

        Raises
        ------
        ConfigError
            If there is no program, or the array has no such channel.
        """
        policy = inputs if self.policy is None else self.policy
        if not isinstance(policy, Policy):
            raise ConfigError(
                f"ElectrodeStimulus plays a Policy, not {type(policy).__name__}; give "
                f"it one, ElectrodeStimulus(policy=...), or pass one as the input"
            )
        if isinstance(policy, ElectrodePolicy):
            policy = self._fitted(policy, env)
        stimulus: Stimulus = env.cell_stimulus(policy)
        return stimulus

    def _fitted(self, policy: ElectrodePolicy, env: Any) -> ElectrodePolicy:
        reach = np.asarray(env.channel_reach())  # of the whole culture, on every rank
        if self.channel is not None and self.channel >= len(reach):
            raise ConfigError(
                f"the array has {len(reach)} channels, counted from 0; it has no "
                f"channel {self.channel}"
            )
        if self.channel is not None:
            return policy.for_array(len(reach), (self.channel,))
        if policy.channels:
            return policy.for_array(len(reach))
        return policy.for_array(len(reach), (int(reach.sum(axis=1).argmax()),))
