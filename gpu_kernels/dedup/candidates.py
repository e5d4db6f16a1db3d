"""Which pairs of clips are worth aligning: those with several moments that are alike, or one that is nearly the same.

Five moments a second of each clip (`probes`) are looked up among those of the others, in every way that two pictures
may be the same one (`picture_views.JOINS`). A pair of clips is a candidate where enough moments of both have a near one
in the other; of two that move quickly, and of which one was sampled a frame later, few have. That is a property of the
two clips alone: neither their order nor what else is there changes it.
"""

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.dedup.moving_parts import plain
from gpu_kernels.dedup.picture_track import PictureTrack

PROBE_STRIDE = 2
"""Of a track's samples every second one: two clips then have moments within a tenth of a second of each other."""
_NEARLY_THE_SAME = 16
"""Bits of 256: by so many a second encoding changes a picture, and no two pictures of different films are so near."""


def probes(track: PictureTrack) -> NDArray[np.int64]:
    """Which samples of a clip's track are looked up, and found: every second one that shows something."""
    every = np.arange(0, len(track), PROBE_STRIDE)
    return every[~plain(track.greys[every])]


def probed(track: PictureTrack) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """What is looked up of a clip, and found: of frames, and of what its windows show.

    Returns:
        int64 [n] samples of the track, some of them twice, and their hashes, uint8 [n, 3, 32].
    """
    every = probes(track)
    samples, hashes = [every], [track.hashes[every]]
    if track.window is not None:
        own = probes(track.window)
        samples.append(np.searchsorted(track.times_ns, track.window.times_ns[own]))
        hashes.append(track.window.hashes[own])
    return np.concatenate(samples), np.concatenate(hashes)


def candidate_pairs(
    clips_a: NDArray[np.int64],
    samples_a: NDArray[np.int64],
    clips_b: NDArray[np.int64],
    samples_b: NDArray[np.int64],
    bits: NDArray[np.int64],
    least_samples: int,
) -> NDArray[np.int64]:
    """Pairs of clips with at least so many moments each that are near one of the other, or one that is nearly the same.

    Args:
        clips_a, samples_a, clips_b, samples_b: int64 [k], of each near pair of moments, found in any view and from
            either side, maybe more than once: the numbers of the clips, and what tells each moment of a clip from its
            others (a time, or an index).
        bits: int64 [k], of 256, by which their hashes differ.

    Returns:
        int64 [p, 2]: numbers of two clips, the smaller one first; sorted, each pair once.
    """
    other = clips_a != clips_b
    swapped = (clips_a > clips_b)[other]
    one, two = clips_a[other], clips_b[other]
    at_one, at_two = samples_a[other], samples_b[other]
    pairs = np.stack([np.where(swapped, two, one), np.where(swapped, one, two)], 1)
    first, second = np.where(swapped, at_two, at_one), np.where(swapped, at_one, at_two)
    unique, which = np.unique(pairs, axis=0, return_inverse=True)
    which = which.reshape(-1)
    enough = np.minimum(*(_moments(which, at, len(unique)) for at in (first, second))) >= least_samples
    enough[which[bits[other] <= _NEARLY_THE_SAME]] = True
    return unique[enough]


def _moments(which: NDArray[np.int64], samples: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """How many different moments each of `count` pairs has, int64 [count]."""
    distinct = np.unique(np.stack([which, samples], 1), axis=0)
    return np.bincount(distinct[:, 0], minlength=count)
