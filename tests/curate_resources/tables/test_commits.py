"""Commits that fail by something that passes are tried again, and others are not."""

import pytest

from curate_resources.tables.commits import committed

CONFLICT, BROKEN = OSError("Retryable commit conflict for version 3"), OSError("error sending request")
REFUSED, MISSING = OSError("AccessDenied"), FileNotFoundError("no such table")


class Commit:
    """Fails as it is told, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


@pytest.mark.parametrize(("errors", "local"), [((CONFLICT, CONFLICT), True), ((CONFLICT, BROKEN, CONFLICT), False)])
def test_what_passes_is_tried_again(errors, local):
    commit = Commit(*errors)
    assert committed(commit, local) == "done"
    assert commit.calls == len(errors) + 1


@pytest.mark.parametrize(
    ("error", "local"), [(BROKEN, True), (REFUSED, False), (MISSING, False), (ValueError("conflict"), False)]
)
def test_what_stays_wrong_is_told_at_once(error, local):
    commit = Commit(error)
    with pytest.raises(type(error)) as raised:
        committed(commit, local)
    assert raised.value is error and commit.calls == 1
