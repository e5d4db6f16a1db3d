import numpy as np
import pytest

from gpu_kernels.errors import UserError
from gpu_kernels.sound.track import TrackCutter, TrackPiece, flac, samples_of

RATE = 16_000
SECOND = 1_000_000_000


def cut(samples: np.ndarray, step: int, start_ns: int = 0) -> list[TrackPiece]:
    cutter = TrackCutter()
    pieces: list[TrackPiece] = []
    for at in range(0, len(samples), step):
        pieces += cutter.add(start_ns + at * SECOND // RATE, samples[at : at + step])
    return pieces + cutter.finish()


def test_a_piece_ends_where_it_is_quietest_however_the_sound_comes_in() -> None:
    samples = np.random.default_rng(0).integers(-9000, 9000, 70 * RATE).astype(np.int16)
    for begin in (23.4, 25.1, 49.0):  # pauses of 0.3 s: of two in one piece, the quieter one counts
        samples[int(begin * RATE) : int((begin + 0.3) * RATE)] //= 100 if begin == 25.1 else 20
    pieces = cut(samples, RATE, start_ns=5 * SECOND)
    ends = [piece.end_ns / SECOND - 5 for piece in pieces]
    assert ends == pytest.approx([25.25, 49.15, 70], abs=0.06)
    np.testing.assert_array_equal(np.concatenate([piece.samples for piece in pieces]), samples)
    assert pieces[0].start_ns == 5 * SECOND and pieces[1].start_ns == pieces[0].end_ns
    for other in (cut(samples, 1600, 5 * SECOND), cut(samples, 40 * RATE, 5 * SECOND)):
        assert [piece.end_ns for piece in other] == [piece.end_ns for piece in pieces]


def test_a_short_gap_is_silence_a_long_one_parts_and_what_comes_twice_stays_as_it_was() -> None:
    cutter, ones = TrackCutter(), np.ones(RATE, np.int16)
    assert cutter.add(0, ones) == [] and cutter.add(2 * SECOND, 2 * ones) == []
    assert cutter.add(2 * SECOND + SECOND // 2, 3 * ones) == []
    (piece,) = cutter.add(9 * SECOND, 4 * ones)
    assert piece.start_ns == 0 and piece.end_ns == 3 * SECOND + SECOND // 2
    np.testing.assert_array_equal(piece.samples[:: RATE // 2], [1, 1, 0, 0, 2, 2, 3])
    (last,) = cutter.finish()
    assert (last.start_ns, last.end_ns) == (9 * SECOND, 10 * SECOND) and cutter.finish() == []


def test_a_file_has_the_very_samples_and_a_damaged_one_is_named() -> None:
    samples = np.random.default_rng(1).integers(-32768, 32768, 50_001).astype(np.int16)
    file = flac(samples)
    assert file[:4] == b"fLaC" and flac(samples) == file
    np.testing.assert_array_equal(samples_of(file, "x"), samples)
    changed = bytes([*file[:50_000], file[50_000] ^ 16, *file[50_001:]])
    for damaged in (b"fLaC nothing", b"", file[:-10], changed):
        with pytest.raises(UserError, match=r"media/x\.flac is damaged .*--select speech_tracks"):
            samples_of(damaged, "media/x.flac")
