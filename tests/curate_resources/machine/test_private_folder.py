"""What lies under a known name where everybody can write is used only if it is this user's alone."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate_resources.machine.private_folder import private_folder
from curate_resources.sources.known_files import KnownFiles
from curate_resources.storage.scratch import Scratch


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CURATE_STORAGE", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_made_for_this_user_alone_and_found_again(temporary: Path) -> None:
    folder = private_folder("scratch")
    assert folder == Scratch.of_this_machine().folder == temporary / f"curate-{os.getuid()}" / "scratch"
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    assert private_folder("scratch") == folder


def link_elsewhere(place: Path) -> None:
    (place.parent / "elsewhere").mkdir(mode=0o700)
    place.symlink_to("elsewhere")


def of_another_user(place: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    place.mkdir(mode=0o700)
    os.chown(place, 12345, 12345)


def open_to_others(place: Path) -> None:
    place.mkdir()
    place.chmod(0o770)


@pytest.mark.parametrize(
    ("prepare", "remedy"), [(link_elsewhere, "remove it"), (of_another_user, "TMPDIR"), (open_to_others, "chmod 700")]
)
@pytest.mark.parametrize("use", [Scratch.of_this_machine, lambda: KnownFiles("root").unknown([])])
def test_what_another_may_have_prepared_is_refused(
    temporary: Path, prepare: Callable[[Path], None], remedy: str, use: Callable[[], Any]
) -> None:
    place = temporary / f"curate-{os.getuid()}"
    prepare(place)
    with pytest.raises(PermissionError, match=remedy) as refused:
        use()
    assert str(place) in str(refused.value)
