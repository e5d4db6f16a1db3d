"""Which errors pass by themselves: of a store or a cluster that does not answer, and of processes that died."""

from curate_resources.launchers.jobs import ClusterRefuses, ClusterUnreachable, JobLost
from curate_resources.pipeline.run import LostUnits
from curate_resources.storage.root import is_local
from curate_resources.storage.store_errors import refusal
from curate_resources.storage.stored_object import StorageRefuses, StorageUnavailable


def passes(error: Exception, root: str) -> bool:
    """Whether an error of a run over a root may be gone when the run is made again. What is wrong with a
    configuration, an input or the code stays wrong."""
    if isinstance(error, (StorageRefuses, ClusterRefuses)):
        return False
    if isinstance(error, (StorageUnavailable, ClusterUnreachable, JobLost, LostUnits)):
        return True
    # Which is all that Lance says of a bucket's faults.
    return type(error) is OSError and not is_local(root) and refusal(str(error)) is None
