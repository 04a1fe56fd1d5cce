"""Importing the method costs torch and nothing else."""

import subprocess
import sys

HEAVY = (
    "transformers",
    "timm",
    "captum",
    "cv2",
    "matplotlib",
    "torchvision",
    "torch._dynamo",
    "mmgrad_explain.images.overlay",
)


def test_nothing_heavy_is_imported():
    code = f"import sys, mmgrad_explain.attention; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_call_imports_nothing_heavy():
    code = f"""
import sys, torch
from torch import nn
from mmgrad_explain.attention import MMGrad
torch.set_num_threads(1)
model = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Flatten(), nn.LazyLinear(1))
x = torch.randn(1, 3, 16, 16)
model(x)
MMGrad(model, "0", weighting="layercam")(x)
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
