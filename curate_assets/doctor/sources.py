"""The source videos: one of every bucket, folder or server that manifests name is looked at."""

from itertools import islice

from curate_assets.doctor.check import Check, Deployment, Finding, failed, ok, warning
from curate_resources.sources.manifests import Manifests, place_of
from curate_resources.storage import object_stores
from curate_resources.storage.root import is_local, local_path

_MOST_SHARDS, _MOST_PLACES = 500, 50


def reachable(deployment: Deployment) -> Finding:
    """One stat per place; what is in the shards beyond the first few hundred is not looked at."""
    manifests = Manifests(deployment.storage)
    shards = manifests.shards()
    places: dict[str, str] = {}
    for shard in shards[:_MOST_SHARDS]:
        for entry in manifests.load(shard).entries:
            file = entry.files[0].uri if entry.files else entry.uri
            places.setdefault(_place(file), file)
    gone: list[str] = []
    refused: list[str] = []
    for uri in islice(places.values(), _MOST_PLACES):
        try:
            if is_local(uri):
                open(local_path(uri), "rb").close()
            else:
                object_stores.stat(uri)
        except FileNotFoundError:
            gone.append(place_of(uri))
        except OSError as error:
            refused.append(str(error))
    if refused:
        return failed(
            "; ".join(refused),
            "check credentials and endpoint (`curate docs storage`); add a presigned URL again, signed anew",
        )
    if gone:
        return warning(f"gone: {', '.join(gone)}", "put these files back, or add their folder where it is now")
    if not places:
        return ok("there are no videos yet")
    looked = min(len(places), _MOST_PLACES)
    rest = "" if looked == len(places) and len(shards) <= _MOST_SHARDS else ", of more that were not looked at"
    return ok(f"a file in each of {looked} places can be read{rest}")


def _place(uri: str) -> str:
    """A bucket, a server, or a folder of this machine."""
    if is_local(uri):
        return local_path(uri).rpartition("/")[0]
    return "/".join(uri.split("/", 3)[:3])


CHECKS = (
    Check(
        "sources",
        reachable,
        "check the credentials for the bucket that is named: `curate docs storage`",
        needs=("root",),
        seconds=120,
    ),
)
