"""Labels of real footage against what people see in it, as far as ImageNet has a class for that."""

# pyright: basic

from proof_pictures import pictures_per_second

from gpu_kernels.scores.labels import Labeller, class_names, likeliest
from proofs.proof import Material, Proof

_DOGS = set(class_names()[151:269])
_CARS = {"cab", "minivan", "limousine", "sports car", "convertible", "beach wagon", "car mirror", "pickup", "minibus"}

SHOWN = {
    "bigbuckbunny": ("a rabbit, drawn", {"hare", "wood rabbit", "Angora"}),
    "bikes": ("traffic and bicycles", {"streetcar", "traffic light", "mountain bike", "bicycle-built-for-two"} | _CARS),
    "carphone_distorted": ("a man with a tie in a car", {"bow tie", "Windsor tie", "suit", "seat belt"} | _CARS),
    "carphone_pristine": ("a man with a tie in a car", {"bow tie", "Windsor tie", "suit", "seat belt"} | _CARS),
    "01_dog": ("a dog", _DOGS),
    "02_cups": ("cups and a ball", {"cup", "ping-pong ball", "beer glass", "goblet"}),
    "04_coffee": ("coffee is poured", {"coffeepot", "teapot", "cup", "coffee mug", "espresso", "espresso maker"}),
    "05_default_juggle": ("somebody with a football", {"soccer ball", "volleyball", "rugby ball"}),
    "bedroom": ("a bed", {"four-poster", "studio couch", "quilt"}),
    "bottle-detection": ("bottles", {"water bottle", "pop bottle", "wine bottle", "beer bottle", "pill bottle"}),
    "car-detection": ("a car on asphalt", _CARS),
    "frog": ("a toy frog", {"tree frog", "tailed frog", "bullfrog"}),
    "pig": ("a toy pig", {"piggy bank", "hog"}),
    "rabbit": ("a toy rabbit", {"hare", "wood rabbit", "Angora"}),
}
"""Of the films of which ImageNet has a class: what is seen, and the classes that say it."""


def prove(material: Material) -> Proof:
    """How often a class of what is shown is first, and among the first ten."""
    proof = Proof(("film", "shows", "labels that say so", "the first", "its confidence"))
    labeller = Labeller()
    first = found = looked_at = 0
    for path in material.footage:
        if path.stem not in SHOWN:
            continue
        shown, right = SHOWN[path.stem]
        pictures = list(pictures_per_second(path, 8))
        with proof.timed(len(pictures)):
            labels = likeliest([labeller(picture) for picture in pictures], 10)
        hits = [f"{label} ({place})" for place, (label, _) in enumerate(labels, 1) if label in right]
        looked_at, found, first = looked_at + 1, found + bool(hits), first + (labels[0][0] in right)
        proof.rows.append((path.stem, shown, ", ".join(hits) or "none", *labels[0]))
    proof.rows.append((f"**{looked_at} films**", "", f"of {found} among ten", f"of {first} the first", ""))
    proof.figures |= {"among_ten": found / looked_at, "first": first / looked_at}
    return proof
