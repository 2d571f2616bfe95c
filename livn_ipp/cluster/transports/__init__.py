"""How parcels reach workers: over ipyparallel, over MPI, or inside this process."""
