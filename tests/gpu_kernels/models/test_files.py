"""Which weights are read: by their format, not by their name."""

import pickle
import struct
from pathlib import Path

import pytest

from gpu_kernels.errors import NotThere, UserError
from gpu_kernels.models.files import check_files, chosen_files, folder_revision

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
