"""In which ways two pictures may be the same one: as a whole, or because one is the other's centre; mirrored or not."""

from itertools import product
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpu_kernels.dedup.picture_hashes import MIRRORED

View = Literal["whole", "a_centre_90", "a_centre_80", "b_centre_90", "b_centre_80"]
"""What of the pictures is alike: the whole of both, or the centre of one (a share of each side) and the whole of the
other, which was cropped."""

SIDES: dict[View, tuple[int, int]] = {
    "whole": (0, 0),
    "a_centre_90": (1, 0),
    "a_centre_80": (2, 0),
    "b_centre_90": (0, 1),
    "b_centre_80": (0, 2),
}
"""Of each view the indices into `picture_hashes.VIEWS` on both sides."""

SWAPPED: dict[View, View] = {
    "whole": "whole",
    "a_centre_90": "b_centre_90",
    "a_centre_80": "b_centre_80",
    "b_centre_90": "a_centre_90",
    "b_centre_80": "a_centre_80",
}
"""Of each view the one that it is with a and b exchanged."""


class Join(NamedTuple):
    """One way: a view, and whether one picture is the other's mirror image. The same ways as seen from either side."""

    view: View
    mirrored: bool

    def hashes(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """What to compare of the hashes of two tracks, uint8 [n, 3, 32] and [m, 3, 32]: uint8 [n, 32] and [m, 32]."""
        own, other = SIDES[self.view]
        return a[:, own], b[:, other] ^ MIRRORED if self.mirrored else b[:, other]


JOINS = tuple(Join(view, mirrored) for mirrored, view in product((False, True), SIDES))
