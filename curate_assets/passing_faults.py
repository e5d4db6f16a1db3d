"""Transient errors (curate_resources.faults): ask Dagster to retry the step later; other errors fail it at once."""

from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from curate_assets.resource import Curation
from curate_resources.faults import passes

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
