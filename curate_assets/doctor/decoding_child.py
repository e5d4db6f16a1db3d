"""How far the child process that opens media is shut off on this machine."""

from curate_assets.doctor.check import Check, Deployment, Finding, ok, warning
from curate_assets.doctor.installation import left_to_workers
from gpu_kernels.sandbox import DecodingLimits
from gpu_kernels.sandbox.trial import WAYS, open_ways

_START = "look at the messages above; `python -m gpu_kernels.sandbox.fork_server 0` starts the process by hand"
_FILES = {"read other files", "read other processes' variables"}
"""What Landlock alone closes."""

_LANDLOCK = "run Linux 6.12 or later with Landlock (`cat /sys/kernel/security/lsm` names it)"
_FILTERS = "run Linux with seccomp filters on x86-64 or AArch64, in a container that permits them"


def shut_off(deployment: Deployment) -> Finding:
    """A child tries what a file that takes over a decoder might try: versions of kernels do not tell as much."""
    if left_to_workers("av", deployment):
        return ok("no decoder is installed here: the pods of the cluster open files")
    found = open_ways(DecodingLimits())
    if not found:
        return ok(f"a child tried {len(WAYS)} ways to other files, processes and networks; all are closed")
    remedies = [_LANDLOCK] * bool(_FILES & {*found}) + [_FILTERS] * bool({*found} - _FILES)
    return warning(
        f"a file that takes over a decoder can {', '.join(found)}",
        f"{', and '.join(remedies)}; until then, give workers no credentials that such a file must not have",
    )


CHECKS = (Check("decoding child", shut_off, _START),)
