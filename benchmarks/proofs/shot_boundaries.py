"""What the second opinion makes of the network's calls: in films with every kind of transition, and at true cuts."""

# pyright: basic

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
from made_transitions import THUMBNAIL, TRANSITIONS, TRAPS, Event, made_film, shots_of

from gpu_kernels.shots.evidence import EvidenceStream
from gpu_kernels.shots.splitting import ClipsConfig
from gpu_kernels.shots.transitions import ShotNetwork, ShotSignalsConfig, TransitionStream, load_network
from gpu_kernels.shots.verdicts import PARTING, Boundary, ShotBoundariesConfig, judged
from proofs.proof import Material, Proof, packaged_footage

FITTED_ON = {
    "01_dog",
    "03_blocks",
    "05_default_juggle",
    "bottle-detection",
    "crystal",
    "frog",
    "one-by-one-person-detection",
    "rabbit",
}
"""Footage that the weights were fitted on, with other seeds; nothing of it is measured here."""

CUTS = {
    "bikes": [30, 76, 137, 187, 242],
    "googlework_short": [
        *(17, 36, 54, 73, 93, 111, 130, 149, 167, 186, 204, 222, 291, 432, 540, 609, 710, 769, 819, 949)
    ],
    "nasa_13013": [202],
    "sintel_30s": [286, 356, 523, 573, 610],
}
"""First frames of shots, by eye, of real films."""
GRADUAL = {
    "nasa_13013": [(126, 148)],
    "sintel_30s": [(66, 86), (156, 254), (452, 502), (614, 652), (704, 719)],
}


FIGURES = {
    "made films": ("made_films_missed_more", "made_films_false_share"),
    "real films": ("real_films_missed_more", "real_films_false_share"),
}
"""What is said of each kind of film: transitions that only the network finds, and false calls, of the network's own."""


def prove(material: Material) -> Proof:
    """Transitions that are found and calls that are false, by the network alone and with the second opinion."""
    proof = Proof(("what", "of it", "network", "with it"))
    network = load_network(ShotSignalsConfig())
    assert network is not None
    packaged = {path.stem for path in packaged_footage()}
    footage = {path.stem: path for path in material.footage}.values()  # packaged ones may be in a folder, too
    single = [path for path in footage if path.stem not in {*FITTED_ON, *CUTS} - {"bikes"}]
    total: Counter[str] = Counter()
    for group in (True, False):
        paths = [p for p in single if (p.stem in packaged) == group and p.stem != "carphone_distorted"]
        if paths:
            shots = [shot for path in paths for shot in shots_of(path)]
            film, events = made_film(shots, material.seed + 10, 36)
            total += _compared(proof, film, events, network)
    for kind in (*TRANSITIONS, *TRAPS):
        word = "found" if kind in TRANSITIONS else "called a transition"
        cells = (total[f"{kind} {who}"] for who in ("truth", "network", "both"))
        proof.rows.append((f"made: {kind.replace('_', ' ')}, {word}", *cells))
    real: Counter[str] = Counter()
    for path in footage:
        if path.stem in CUTS:
            events = [Event("cut", cut - 1, cut + 1) for cut in CUTS[path.stem]]
            events += [Event("dissolve", start, end + 1) for start, end in GRADUAL.get(path.stem, [])]
            real += _compared(proof, np.stack([*_thumbnails(path)]), events, network)
    for name, counts in (("made films", total), ("real films", real)):
        proof.rows.append((f"**{name}**: transitions found", *(counts[each] for each in ("all", "network", "both"))))
        false = (counts["network false"], counts["both false"])
        proof.rows.append((f"**{name}**: false calls", "", *false))
        missed_more, false_share = FIGURES[name]
        proof.figures |= {missed_more: counts["network"] - counts["both"], false_share: false[1] / max(1, false[0])}
    return proof


def _thumbnails(path: Path) -> Iterator[np.ndarray]:
    with av.open(str(path)) as source:
        for frame in source.decode(video=0):
            yield cv2.resize(frame.to_ndarray(format="rgb24"), THUMBNAIL[::-1], interpolation=cv2.INTER_AREA)


def _compared(proof: Proof, film: np.ndarray, events: Sequence[Event], network: ShotNetwork) -> Counter[str]:
    stream = TransitionStream(network)
    stream.add(film)
    curve = stream.finish()
    with proof.timed(len(film) / 25):
        evidence = EvidenceStream()
        evidence.add(film, curve)
        evidence.finish()
        threshold = ClipsConfig().transition_threshold
        found = judged(curve, *evidence.found(), threshold, ShotBoundariesConfig())
    called = [boundary for boundary in found if boundary.probability > threshold]
    kept = [boundary for boundary in found if boundary.verdict in PARTING]
    transitions = [event for event in events if event.is_transition]
    counts = Counter({"all": len(transitions)})
    for who, boundaries in (("network", called), ("both", kept)):
        for event in events:
            hit = any(_meet(boundary, event) for boundary in boundaries)
            counts[f"{event.kind} {who}"] += hit
            counts[who] += hit and event.is_transition
        counts[f"{who} false"] += sum(not any(_meet(each, event) for event in transitions) for each in boundaries)
    for event in events:
        counts[f"{event.kind} truth"] += 1
    return counts


def _meet(boundary: Boundary, event: Event) -> bool:
    """With two frames of grace."""
    return boundary.first <= event.end + 1 and boundary.end - 1 >= event.start - 2
