"""Clusters of MPI ranks: started, known, asked and ended.

Nothing is imported here, so that a process which only needs one part (the lease, a
worker) loads only that.
"""

__all__: list[str] = []
