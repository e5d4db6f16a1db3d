"""What is curated: which files make a unit of work, and the table that has a row for each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from curate_resources.declarations.table import Table


@dataclass(frozen=True)
class Role:
    """What a file is in the folder of its unit.

    Attributes:
        pattern: of its path below that folder; `*` and `?` stand for parts of one name. It may match several files.
        needed: whether a folder without it is no unit.
    """

    pattern: str
    needed: bool = True


@dataclass(frozen=True)
class UnitFiles:
    """Which files make a unit: a file by itself, or the files of a folder that belong together, each in a role.

    Attributes:
        noun: what a unit is called, such as `video`.
        suffixes: of units that are files, in lower case.
        roles: of units that are folders, by name; then no file is a unit by itself.
    """

    noun: str
    suffixes: frozenset[str] = frozenset()
    roles: Mapping[str, Role] = field(default_factory=dict[str, Role])

    def __post_init__(self) -> None:
        if bool(self.suffixes) == bool(self.roles):
            raise ValueError(
                f"{self.noun}: a unit is a file with one of some suffixes, or a folder of files with roles"
            )

    @property
    def nouns(self) -> str:
        """More than one of them."""
        return f"{self.noun}s"

    @property
    def incomplete(self) -> str:
        """What folders are called that lack a file."""
        return f"incomplete {self.nouns}"

    @property
    def described(self) -> str:
        """What makes a unit, for people."""
        if self.suffixes:
            return f"{self.nouns} end in {' '.join(sorted(self.suffixes))}"
        needed = " ".join(role.pattern for role in self.roles.values() if role.needed)
        return f"a {self.noun} is a folder with {needed}"

    def takes(self, path: str) -> bool:
        """Whether a file is a unit, or one of a unit's."""
        if self.suffixes:
            return PurePosixPath(path).suffix.lower() in self.suffixes
        return self.part(path) is not None

    def unit_of(self, path: str) -> str:
        """The path of the unit that a file is, or is one of."""
        part = self.part(path)
        return path if part is None else part[0]

    def part(self, path: str) -> tuple[str, str] | None:
        """The folder of a file's unit, and the file's role there; None where units are files, or it is none's."""
        names = path.split("/")
        for role, each in self.roles.items():
            pattern = each.pattern.split("/")
            start = len(names) - len(pattern)
            if start >= 0 and all(map(_like, names[start:], pattern)):
                return "/".join(names[:start]), role
        return None


def _like(name: str, pattern: str) -> bool:
    """Whether a name matches a pattern of `*` and `?`; other characters stand for themselves."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


@dataclass(frozen=True)
class UnitTable:
    """The table of what is curated: one row for each entry of a shard's manifest, which is a unit of work. Its column
    `uri` says where a unit is, as the manifest does.

    Attributes:
        files: which files make a unit.
        id: the column that identifies its content; rows of other tables belong to a unit by it.
        parts: the grain of the tables whose rows progress counts, such as `clip`.
        duration: the column with how long it lasts, in nanoseconds, if it does.
        length: the column with how many values its curves have; many units are held in memory by it.
    """

    table: Table
    files: UnitFiles
    id: str
    parts: str = ""
    duration: str | None = None
    length: str | None = None

    def __post_init__(self) -> None:
        for name in (self.place, self.id, self.duration, self.length):
            if name is not None and not self.table.has(name):
                raise ValueError(f"table {self.table.name} has no column {name!r}")

    @property
    def noun(self) -> str:
        """What people call a unit."""
        return self.files.noun

    @property
    def place(self) -> str:
        """The column that says where it is."""
        return "uri"

    def column_of(self, names: list[str]) -> str:
        """The column by which rows belong to a unit, of those that a table has."""
        return self.place if self.place in names else self.id
