"""Which credentials and endpoint belong to which bucket, from one strict YAML file outside of any root.

    profiles:
      studio:
        uris: ["s3://studio-*"]
        endpoint: https://objects.studio.example
        region: eu-central-1
        access_key_id: ${STUDIO_KEY}
        secret_access_key: ${STUDIO_SECRET}
    scratch:
      gib: 200

Input and output may so lie in different accounts. What no profile matches is reached as the environment says
(`AWS_ACCESS_KEY_ID` and so on, a machine's role). `${NAME}` stands for an environment variable, so that the file need
not hold a secret.
"""

import os
import re
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, model_validator

from curate_resources.suggestions import did_you_mean, wrong_settings
from gpu_kernels.errors import UserError
from gpu_kernels.strict import StrictModel

VARIABLE = "CURATE_STORAGE"
"""Names the file; without it, `~/.config/curate/storage.yaml` if that is there."""

_REGION = re.compile(r"[./]([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.")
_REFERENCE = re.compile(r"\$\{(\w+)\}")


class StorageProfile(StrictModel):
    """How some buckets are reached."""

    uris: list[str] = Field(min_length=1)
    """The URIs that it is for, such as `s3://raw-*`; of several that match, the longest pattern counts."""
    endpoint: str | None = None
    """URL of the server; where not said, the provider's own. `http://` only for servers on a network of one's own."""
    region: str | None = None
    """AWS region."""
    access_key_id: str | None = None
    """With `secret_access_key`, the keys of an S3 API."""
    secret_access_key: str | None = None
    session_token: str | None = None
    aws_profile: str | None = None
    """Keys from AWS's own shared configuration files, by the name of the profile there."""
    anonymous: bool = False
    """Requests are not signed: for public buckets."""
    options: dict[str, str] = Field(default_factory=dict)
    """Further options by the names of Rust's object_store, such as `google_service_account`,
    `azure_storage_account_name` or `aws_virtual_hosted_style_request`."""

    @model_validator(mode="after")
    def _one_kind_of_credentials(self) -> "StorageProfile":
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key go together")
        if sum((self.access_key_id is not None, self.aws_profile is not None, self.anonymous)) > 1:
            raise ValueError("give one of access_key_id, aws_profile and anonymous")
        return self


class ScratchSettings(StrictModel):
    """Where source files that are not on this machine are fetched to."""

    folder: str | None = None
    """A folder on a fast local disk, in which they get one of their own; by default one of this user in the system's
    folder for temporary files."""
    gib: float = Field(default=50.0, gt=0)
    """How many GiB of them at a time, for all processes of a machine together."""


class StorageSettings(StrictModel):
    """The whole file."""

    profiles: dict[str, StorageProfile] = Field(default_factory=dict)
    scratch: ScratchSettings = ScratchSettings()


class StorageSettingsError(UserError):
    """The file is not valid; the message names every key."""


def storage_settings() -> StorageSettings:
    """The settings that hold in this process.

    Raises:
        StorageSettingsError: the file is not there, no YAML, has an unknown key, or names a variable that is not set.
    """
    named = os.environ.get(VARIABLE)
    path = Path(named) if named else Path.home() / ".config" / "curate" / "storage.yaml"
    if not path.is_file():
        if named:
            raise StorageSettingsError(f"{VARIABLE} names {named}, which is not there")
        return StorageSettings()
    return _read(str(path), path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _read(path: str, modified: int) -> StorageSettings:
    try:
        return StorageSettings.model_validate(_expanded(yaml.safe_load(Path(path).read_bytes()) or {}, path))
    except yaml.YAMLError as error:
        raise StorageSettingsError(f"{path} is not valid YAML: {error}") from error
    except ValidationError as error:
        lines = "\n  ".join(wrong_settings(error, StorageSettings, with_values=False))
        raise StorageSettingsError(f"{path} is not valid:\n  {lines}") from error


def _expanded(value: Any, path: str) -> Any:
    if isinstance(value, dict):
        return {key: _expanded(each, path) for key, each in value.items()}
    if isinstance(value, list):
        return [_expanded(each, path) for each in value]
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        try:
            return os.environ[match[1]]
        except KeyError:
            raise StorageSettingsError(f"{path} refers to ${{{match[1]}}}, and no such variable is set") from None

    return _REFERENCE.sub(variable, value)


def store_options(uri: str) -> dict[str, str]:
    """How the store of a URI is opened: options by the names that Rust's object_store knows, as Lance takes them."""
    scheme = uri.partition("://")[0]
    name = _profile_for(uri)
    if name is None:
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return _said(_endpoint(endpoint)) if scheme == "s3" else {}
    return _options(name, scheme)


def aws_client(service: str, account: str, endpoint: str | None, signed: bool = True) -> Any:
    """A client of AWS's own library, for what is not an object.

    Args:
        account: a URI whose credentials are used, or the name of a profile.
        endpoint: URL of the service; where not said, AWS's own.
        signed: whether its requests are.

    Raises:
        StorageSettingsError: there is no such profile.
    """
    import boto3
    import botocore
    import botocore.config

    if "://" not in account and account not in storage_settings().profiles:
        hint = did_you_mean(account, storage_settings().profiles)
        raise StorageSettingsError(f"there is no profile {account!r} in the storage settings{hint}")
    options = store_options(account) if "://" in account else _options(account, "s3")
    region = _REGION.search(endpoint or "")
    return boto3.client(
        service,  # pyright: ignore[reportArgumentType]
        endpoint_url=endpoint,
        region_name=region[1] if region else options.get("aws_region") or os.environ.get("AWS_REGION") or "us-east-1",
        aws_access_key_id=options.get("aws_access_key_id"),
        aws_secret_access_key=options.get("aws_secret_access_key"),
        aws_session_token=options.get("aws_session_token"),
        config=None if signed else botocore.config.Config(signature_version=botocore.UNSIGNED),
    )


def _options(name: str, scheme: str) -> dict[str, str]:
    profile = storage_settings().profiles[name]
    options: dict[str, str | None] = {}
    if scheme == "s3":
        options |= _endpoint(profile.endpoint) | {
            "aws_region": profile.region,
            "aws_access_key_id": profile.access_key_id,
            "aws_secret_access_key": profile.secret_access_key,
            "aws_session_token": profile.session_token,
            "aws_skip_signature": "true" if profile.anonymous else None,
        }
        if profile.aws_profile is not None:
            options |= _shared(profile.aws_profile, name)
    elif scheme == "gs" and profile.anonymous:
        options["google_skip_signature"] = "true"
    elif scheme == "az" and profile.anonymous:
        options["azure_skip_signature"] = "true"
    return _said({**options, **profile.options})


def _said(options: dict[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in options.items() if value is not None}


def _profile_for(uri: str) -> str | None:
    """The profile with the longest pattern that matches the URI or a folder above it."""
    matching = [
        (len(pattern), name)
        for name, profile in storage_settings().profiles.items()
        for pattern in (each.rstrip("/") for each in profile.uris)
        if fnmatchcase(uri, pattern) or fnmatchcase(uri, f"{pattern}/*")
    ]
    return max(matching)[1] if matching else None


def _endpoint(url: str | None) -> dict[str, str | None]:
    return {"aws_endpoint": url, "allow_http": "true" if url and url.startswith("http://") else None}


def _shared(aws_profile: str, name: str) -> dict[str, str | None]:
    import boto3
    import botocore.exceptions

    try:
        session = boto3.Session(profile_name=aws_profile)
    except botocore.exceptions.ProfileNotFound as error:
        raise StorageSettingsError(f"profiles.{name}.aws_profile: {error}") from error
    credentials = session.get_credentials()
    if credentials is None:
        raise StorageSettingsError(f"profiles.{name}.aws_profile: {aws_profile} has no credentials")
    keys = credentials.get_frozen_credentials()
    return {
        "aws_access_key_id": keys.access_key,
        "aws_secret_access_key": keys.secret_key,
        "aws_session_token": keys.token,
        **({"aws_region": session.region_name} if session.region_name else {}),
    }
