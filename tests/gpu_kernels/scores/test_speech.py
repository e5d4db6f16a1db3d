import importlib.util
import struct
from pathlib import Path

import pytest
from pydantic import ValidationError

from gpu_kernels.errors import NotThere
from gpu_kernels.models.registry import SILERO_VAD, WHISPER_TINY_EN
from gpu_kernels.scores.measurement import NO_MODEL
from gpu_kernels.scores.speech import SpeechConfig


def test_the_models_pin_the_rows_and_are_not_asked_for_while_it_is_off(tmp_path: Path) -> None:
    assert SpeechConfig().identity() == NO_MODEL and SpeechConfig().models() == ()
    names, revisions = SpeechConfig(enabled=True).identity()
    assert names == "whisper_tiny_en+silero_vad"
    assert revisions == f"{WHISPER_TINY_EN.revision}+{SILERO_VAD.revision}"
    (tmp_path / "model.bin").write_bytes(struct.pack("<IH", 6, 12) + b"WhisperSpec\0")
    own = SpeechConfig(enabled=True, model=str(tmp_path), voice_detector="none")
    assert own.identity()[0] == tmp_path.name and len(own.identity()[1]) == 16
    with pytest.raises(NotThere, match=r"has no tokenizer\.json"):
        own.folder()
    with pytest.raises(ValidationError, match="needs `revision`"):
        SpeechConfig(model="owner/whisper")
    with pytest.raises(ValidationError, match="whisper_tiny_en knows English only"):
        SpeechConfig(language="fr")


def test_a_missing_package_is_an_error_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NotThere, match=r"pip install 'curate-graph\[speech\]'"):
        SpeechConfig(enabled=True).identity()
