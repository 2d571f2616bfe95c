"""The simulation: NEURON on the ranks of one subworld."""
