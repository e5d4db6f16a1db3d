"""Faults that pass: a store or a cluster that does not answer. The step is tried again later, by Dagster.

Everything else ends the step at once: what is wrong with a configuration, an input or the code stays wrong.
"""

from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from curate_assets.resource import Curation
from curate_resources.jobs import ClusterRefuses, ClusterUnreachable
from curate_resources.storage import is_local
from curate_resources.stored_object import StorageRefuses, StorageUnavailable

RETRIES = 3
FIRST_PAUSE_SECONDS = 30
"""Each pause is twice the one before. Stores and clusters have been asked for minutes by then."""


@contextmanager
def tried_again(context: dg.AssetExecutionContext) -> Generator[None, None, None]:
    """Ask Dagster to try the step again when it ends by a fault that passes. What was committed is kept by then.

    Raises:
        dagster.RetryRequested: caused by the fault.
    """
    curation: Curation = context.resources.curation
    try:
        yield
    except Exception as error:
        if not passes(error, curation.storage.root):
            raise
        pause = FIRST_PAUSE_SECONDS * 2**context.retry_number
        raise dg.RetryRequested(RETRIES, pause) from error


def passes(error: Exception, root: str) -> bool:
    """Whether an error may be gone later."""
    if isinstance(error, (StorageRefuses, ClusterRefuses)):
        return False
    if isinstance(error, (StorageUnavailable, ClusterUnreachable)):
        return True
    return type(error) is OSError and not is_local(root)  # which is all that Lance says of a bucket's faults
