"""Trying again what failed by a transient error."""

from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def with_retries(
    call: Callable[[], _T],
    transient: Callable[[BaseException], bool],
    attempts: int | None,
    pause: Callable[[int], float],
) -> _T:
    """What `call` gives, which is called again while it raises transient errors.

    Args:
        transient: whether an error may be gone when it is tried again.
        attempts: how many there are in all; None: `transient` alone decides.
        pause: seconds after the n-th attempt, from 1 on.

    Raises:
        BaseException: the last attempt's.
    """
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_never

    retrying = Retrying(
        retry=retry_if_exception(transient),
        stop=stop_never if attempts is None else stop_after_attempt(attempts),
        wait=lambda state: pause(state.attempt_number),
        reraise=True,
    )
    return retrying(call)
