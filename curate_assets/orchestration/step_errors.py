"""How errors end a step of Dagster's: as one sentence, as a traceback, or as a request to try again later."""

import logging
import traceback
from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from curate_assets.orchestration.resource import Curation
from curate_resources.launchers.transient_errors import passes
from curate_resources.pipeline.operating_errors import operating_error
from curate_resources.storage.root import possible_root

_LOGGER = logging.getLogger("curate")

RETRIES = 3
FIRST_PAUSE_SECONDS = 30
"""Each pause is twice the one before. Stores and clusters have been asked for minutes by then."""


@contextmanager
def told_errors(context: dg.AssetExecutionContext) -> Generator[None, None, None]:
    """Make the sentence of an operating error the step's error; its traceback goes to the logs. Where the fault passes
    by itself, Dagster tries the step again. A bug stays as it is, with its traceback.

    Raises:
        dagster.Failure: with the sentence.
        dagster.RetryRequested: caused by the same, if the fault passes. What was committed is kept by then.
    """
    curation: Curation = context.resources.curation
    try:
        yield
    except Exception as error:
        root = possible_root(curation.given_root)
        known = operating_error(error, root)
        transient = root is not None and passes(error, root)
        if known is None and not transient:
            raise
        where = "".join(traceback.format_exception(error))
        context.log.debug(where)
        _LOGGER.info("%s", where)
        failure = dg.Failure(str(known or error))
        if not transient:
            raise failure from None
        pause = FIRST_PAUSE_SECONDS * 2**context.retry_number
        raise dg.RetryRequested(RETRIES, pause) from failure
