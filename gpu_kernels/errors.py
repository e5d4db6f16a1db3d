"""Errors that are no bugs. Their message is all that a user needs: what is wrong, and what to do about it.

Whatever else is raised is a bug of ours, and is shown as one.
"""


class CurateError(Exception):
    """One sentence that names the thing and the remedy."""


class UserError(CurateError):
    """The call, a setting, a query or an input is wrong: the same call gives the same error again."""


class NotThere(UserError, FileNotFoundError):
    """A file, folder, object, table or model that was named is not there."""


class OperatingError(CurateError):
    """The call is right, but a disk, a store, a server or a cluster does not do its part."""
