"""Tars of samples: per sample `<clip_id>.mp4` and `<clip_id>.json`, and bytes that depend on nothing else."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from typing import IO, Any


def samples_digest(samples: Iterable[tuple[str, str, dict[str, Any]]]) -> str:
    """What stands for samples, each a clip's id, the checksum of its file, and what its JSON says."""
    return hashlib.sha256(json.dumps([list(each) for each in samples], sort_keys=True).encode()).hexdigest()


class SampleTar:
    """A tar that is being written, front to back."""

    def __init__(self, file: IO[bytes]) -> None:
        self._counted = _Hashed(file)
        # Closed by `finished`, or left as it is with a file that comes to nothing.
        self._archive = tarfile.open(fileobj=self._counted, mode="w|", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        self._samples: list[tuple[str, str, dict[str, Any]]] = []

    def add(self, clip_id: str, video: IO[bytes], size: int, about: dict[str, Any]) -> None:
        """Append a sample; `about` names the checksum of the video."""
        text = json.dumps(about, sort_keys=True, ensure_ascii=False).encode()
        self._member(f"{clip_id}.mp4", video, size)
        self._member(f"{clip_id}.json", io.BytesIO(text), len(text))
        self._samples.append((clip_id, about["sha256"], about))

    def finished(self) -> dict[str, Any]:
        """Write the end; what is then known of the tar, as the record beside it says."""
        self._archive.close()
        return {
            "digest": samples_digest(self._samples),
            "sha256": self._counted.digest.hexdigest(),
            "bytes": self._counted.size,
            "samples": len(self._samples),
        }

    def _member(self, name: str, content: IO[bytes], size: int) -> None:
        member = tarfile.TarInfo(name)
        member.size = size
        self._archive.addfile(member, content)


class _Hashed(io.RawIOBase):
    """Passes bytes on and hashes them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self.size += len(data)
        return self._file.write(data)
