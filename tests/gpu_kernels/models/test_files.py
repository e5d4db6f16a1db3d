"""Which weights are read: by their format, not by their name; and whole ones alone."""

import json
import pickle
import struct
from pathlib import Path

import pytest

from gpu_kernels.errors import NotThere, UserError
from gpu_kernels.models.files import check_files, check_undamaged, chosen_files, folder_revision

_WHISPER = struct.pack("<IH", 6, 12) + b"WhisperSpec\0" + bytes(64)


def test_weights_of_ctranslate2_are_read_and_a_pickle_of_their_name_is_not(tmp_path: Path) -> None:
    names = ["README.md", "config.json", "model.bin", "tokenizer.json", "vocabulary.txt"]
    assert chosen_files("whisper", names) == names[1:]
    assert "model.bin" not in chosen_files("clip", [*names, "model.safetensors"])
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.bin").write_bytes(_WHISPER)
    check_files("whisper", tmp_path, ["config.json", "model.bin"])
    revision = folder_revision(tmp_path)
    (tmp_path / "model.bin").write_bytes(_WHISPER + b"\1")
    assert len(revision) == 16 and folder_revision(tmp_path) != revision
    for content in (pickle.dumps([1]), b"PK\3\4" + bytes(64), b""):
        (tmp_path / "model.bin").write_bytes(content)
        with pytest.raises(UserError, match=r"model\.bin of model whisper is not in CTranslate2's format"):
            check_files("whisper", tmp_path, ["model.bin"])
        with pytest.raises(NotThere, match=r"no \.safetensors weights"):
            folder_revision(tmp_path)


def test_files_that_were_cut_off_are_told(tmp_path: Path) -> None:
    header = json.dumps({"__metadata__": {}, "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    whole = len(header).to_bytes(8, "little") + header + bytes(8)
    (tmp_path / "config.json").write_text("{}")
    for content in (whole[:-1], whole[:20], b"", b"xx"):
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(UserError, match=r"model\.safetensors of model m is damaged or was not copied to its end"):
            check_undamaged("m", tmp_path)
    (tmp_path / "model.safetensors").write_bytes(whole)
    check_undamaged("m", tmp_path)
    (tmp_path / "config.json").write_text('{"a": ')
    with pytest.raises(UserError, match=r"config\.json of model m is damaged"):
        check_undamaged("m", tmp_path)
