"""Which errors a user can mend, and the exit code that says so. Imported when there is an error, since it needs all."""

from curate_assets.backfills import NoDaemon, UnknownBackfill
from curate_assets.config import ConfigError
from curate_assets.query import QueryError
from curate_assets.runs import UnknownAsset
from curate_cli.command import FAILED, USAGE
from curate_resources.jobs import ClusterUnreachable, JobFailed
from curate_resources.manifests import ManifestError
from curate_resources.plan import LostUnits, MissingInput
from curate_resources.pools import PlanDoesNotFit
from curate_resources.stored_object import StorageUnavailable
from curate_resources.warm_cluster import ClusterDidNotStart

_USAGE_ERRORS = (
    ConfigError,
    ManifestError,
    MissingInput,
    QueryError,
    UnknownAsset,
    UnknownBackfill,
    FileNotFoundError,
    ValueError,
)

_FAILURES = (
    LostUnits,
    JobFailed,
    ClusterUnreachable,
    PlanDoesNotFit,
    ClusterDidNotStart,
    StorageUnavailable,
    NoDaemon,
)


def exit_code_of(error: Exception) -> int | None:
    """The exit code of an error that a user can mend; None: it is none of these."""
    if isinstance(error, _USAGE_ERRORS):
        return USAGE
    return FAILED if isinstance(error, _FAILURES) else None
