"""The machine: its MPI, memory and batch job, and the processes that run on it."""
