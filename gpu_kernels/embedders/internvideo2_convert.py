"""Makes a folder of InternVideo2's published checkpoint, which is a pickle and is not read otherwise:

    python -m gpu_kernels.embedders.internvideo2_convert InternVideo2-stage2_1b-224p-f4.pt bert-large-uncased FOLDER

Tensors alone are read of the pickle; nothing in it is run.
"""

import shutil
import sys
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from gpu_kernels.errors import NotThere, UserError


def convert(checkpoint: Path, bert: Path, folder: Path) -> None:
    """Write `model.safetensors` with the checkpoint's weights by their names, and BERT's `vocab.txt`.

    Args:
        checkpoint: what `torch.save` wrote: weights by name, or these under "model" or "module".
        bert: a folder with the `vocab.txt` of google-bert/bert-large-uncased.

    Raises:
        NotThere: a file is not there.
        UserError: the checkpoint holds something else than tensors.
    """
    import torch
    from safetensors.torch import save_file

    for needed in (checkpoint, bert / "vocab.txt"):
        if not needed.is_file():
            raise NotThere(f"there is no {needed}")
    try:
        with torch.serialization.safe_globals([set]):
            loaded: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise UserError(f"{checkpoint} cannot be read as tensors alone: {error}") from error
    state = next((loaded[key] for key in ("model", "module") if key in loaded), loaded)
    if wrong := [name for name, each in state.items() if not isinstance(each, torch.Tensor)]:
        raise UserError(f"{checkpoint} has something else than tensors: {wrong[0]}")
    folder.mkdir(parents=True, exist_ok=True)
    # Copies: tensors that share memory cannot be stored as safetensors.
    save_file({name: each.contiguous().clone() for name, each in state.items()}, folder / "model.safetensors")
    shutil.copyfile(bert / "vocab.txt", folder / "vocab.txt")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    convert(*map(Path, sys.argv[1:]))
