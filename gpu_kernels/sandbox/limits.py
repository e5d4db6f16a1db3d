"""What a child that opens media may use, and what it means when it fails."""

import resource

from pydantic import Field

from gpu_kernels.strict import StrictModel


class DecodingLimits(StrictModel):
    """What a child process that opens media may use."""

    memory_mib: int = Field(default=6144, ge=1)
    """Address space of the child, in MiB; decoding 8K video takes about two GiB."""
    cpu_seconds: int = Field(default=21_600, ge=1)
    """CPU seconds for one file."""
    stall_seconds: int = Field(default=120, ge=1)
    """Seconds without any message after which the child is ended."""
    wait_seconds: int = Field(default=86_400, ge=1)
    """Seconds that a child is waited for in all, for one file. More than `cpu_seconds`, because it shares the CPUs with
    others: this ends a child that always says something, and computes nothing."""
    output_mib: int = Field(default=16_384, ge=1)
    """MiB that a child may send for one file, against files that unpack without end."""
    max_pixels: int = Field(default=8192 * 8192, ge=1)
    """Pixels of one frame, above which a file is refused before decoding."""


class MediaError(Exception):
    """A file that cannot be opened or decoded; the message names the reason."""


class DecoderCrashed(MediaError):
    """The child process died: it was killed by a limit or by a fault in a decoder."""


def limit_resources(limits: DecodingLimits) -> None:
    """Hold this process to `limits`, for good; it writes no byte to any file."""
    memory = limits.memory_mib << 20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
