"""What a check is, and going through checks: one that raises or hangs is a failed line and stops no other."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from curate_assets.graph.platform import ConfigError, PlatformConfig
from curate_assets.settings.presets import ShardSettings
from curate_assets.settings.resolve import presets, resolve_config
from curate_resources.storage.root import Storage
from gpu_kernels.errors import CurateError

Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Deployment:
    """What is looked at: a root, with this machine. `network`: whether hubs and model servers may be asked."""

    storage: Storage
    network: bool = False

    @property
    def config(self) -> PlatformConfig:
        """The configuration of the root; ConfigError if it is not valid."""
        return resolve_config(self.storage)

    @property
    def configs(self) -> list[PlatformConfig]:
        """The configuration of the root, and what every preset that is there and valid makes of it."""
        settings, found = ShardSettings.read(self.storage), [self.config]
        for name in presets(self.storage):
            with suppress(ConfigError):  # which is a line of its own
                found.append(settings.preset(name))
        return found


@dataclass(frozen=True)
class Finding:
    """How something stands, and what to do about it where it is not ok."""

    status: Status
    found: str
    remedy: str = ""


def ok(found: str) -> Finding:
    """All well."""
    return Finding("ok", found)


def warning(found: str, remedy: str) -> Finding:
    """Something works less well than it could, or only part of it does."""
    return Finding("warning", found, remedy)


def failed(found: str, remedy: str) -> Finding:
    """Runs will fail."""
    return Finding("failed", found, remedy)


@dataclass(frozen=True)
class Check:
    """One thing to look at.

    Attributes:
        remedy: what to do when looking at it raises or takes too long.
        needs: names of earlier checks; it is left out when one of these failed, since it could only fail likewise.
        seconds: how long it may take.
    """

    name: str
    examine: Callable[[Deployment], Finding]
    remedy: str
    needs: tuple[str, ...] = ()
    seconds: float = 60


@dataclass(frozen=True)
class Line:
    """What one check found."""

    name: str
    finding: Finding
    seconds: float = field(compare=False)


def examined(checks: Sequence[Check], deployment: Deployment) -> Iterator[Line]:
    """Go through checks in order; each line comes as soon as it is known."""
    without_answer: set[str] = set()
    for check in checks:
        began = time.monotonic()
        missing = [name for name in check.needs if name in without_answer]
        if missing:
            finding = warning(f"not looked at, because of {missing[0]}", f"see {missing[0]}")
        else:
            finding = _within_limit(check, deployment)
        if missing or finding.status == "failed":
            without_answer.add(check.name)
        yield Line(check.name, finding, time.monotonic() - began)


def _within_limit(check: Check, deployment: Deployment) -> Finding:
    # A thread that hangs cannot be ended; being a daemon, it ends with the process.
    answers: queue.Queue[Finding] = queue.Queue()
    threading.Thread(target=lambda: answers.put(_examined(check, deployment)), daemon=True).start()
    try:
        return answers.get(timeout=check.seconds)
    except queue.Empty:
        return failed(f"no answer within {check.seconds:g} s", check.remedy)


def _examined(check: Check, deployment: Deployment) -> Finding:
    try:
        return check.examine(deployment)
    except Exception as error:
        said = str(error) if isinstance(error, CurateError) else f"{type(error).__name__}: {error}"
        return failed(said, check.remedy)
