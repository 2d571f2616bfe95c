"""What a cluster needs of this machine, checked before anything starts."""

from livn_ipp.cluster.mpi import matching_mpiexec

__all__ = ["require"]


def require(ranks: int) -> None:
    """Refuse to start ranks on a machine that lacks something."""
    matching_mpiexec()
