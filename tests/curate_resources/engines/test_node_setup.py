"""What a stage needs on a machine is set up once for each thing that it is asked for."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from curate_resources.declarations.stage import Stage
from curate_resources.declarations.table import Column, Table
from curate_resources.engines.node_setup import prepared
from curate_resources.storage.root import Storage


@dataclass
class Config:
    model: str


fetched: list[tuple[str, str]] = []


def fetch(config: Config, storage: Storage) -> None:
    fetched.append((config.model, storage.root))


TABLE = Table("captions", "clip", ("clip",), (Column("clip", pa.string()),), "")
CAPTION = Stage("caption", "clips", (), (TABLE,), lambda config, storage: lambda work: {}, heavy=True, prepare=fetch)


def test_the_second_model_of_one_stage_is_prepared_too(tmp_path: Path):
    fetched.clear()
    root, other = Storage(str(tmp_path / "root")), Storage(str(tmp_path / "other"))
    for model in ("small", "large", "small", "large"):
        prepared(CAPTION, Config(model), root)
    assert fetched == [("small", root.root), ("large", root.root)]
    prepared(CAPTION, Config("small"), other)
    assert len(fetched) == 3


def test_what_failed_is_tried_again(tmp_path: Path):
    tries: list[str] = []

    def flaky(config: Config, storage: Storage) -> None:
        tries.append(config.model)
        if len(tries) == 1:
            raise OSError("the hub is away")

    stage = Stage("embed", "clips", (), (TABLE,), CAPTION.open, prepare=flaky)
    with pytest.raises(OSError, match="away"):
        prepared(stage, Config("clip"), Storage(str(tmp_path)))
    prepared(stage, Config("clip"), Storage(str(tmp_path)))
    assert len(tries) == 2
