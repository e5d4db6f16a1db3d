"""Listing a bucket of S3 that has a key which object stores' common client cannot hold: it gives up at the first."""

from collections.abc import Iterator
from typing import Any

from curate_resources.storage.profiles import aws_client, store_options
from curate_resources.storage.store_errors import store_error


def s3_pages(uri: str, bucket: str, prefix: str, after: str | None, delimiter: str = "") -> Iterator[dict[str, Any]]:
    """Pages as S3 answers them, of the keys that begin with `prefix` and come after `after`.

    Raises:
        StorageUnavailable: it cannot be listed.
    """
    import botocore.exceptions

    options = store_options(uri)
    client = aws_client("s3", uri, options.get("aws_endpoint"), signed=options.get("aws_skip_signature") != "true")
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix, Delimiter=delimiter, **({"StartAfter": after} if after else {})
    )
    try:
        yield from pages
    except botocore.exceptions.ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        raise store_error(uri, error, denied=status == 403) from error
    except botocore.exceptions.BotoCoreError as error:
        raise store_error(uri, error) from error
