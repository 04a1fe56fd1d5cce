"""Install a wheel into an empty folder and run the main job with it, away from the checkout."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

LIMIT = 15_000_000
"""Bytes of one model's folder."""
WHEEL_LIMIT = 45_000_000
"""Bytes of the wheel as it is downloaded."""
WEIGHTS = Path(__file__).parents[1] / "src" / "mmgrad_explain" / "weights"


def main(wheel: str) -> int:
    """Check one wheel; any failure raises."""
    names = {item.filename: item.file_size for item in zipfile.ZipFile(wheel).infolist()}
    models = [f"mmgrad_explain/weights/{folder.name}" for folder in sorted(WEIGHTS.iterdir()) if folder.is_dir()]
    files = ("model.safetensors", "tokenizer.json", "familiarity.safetensors", "README.md")
    needed = [f"{model}/{file}" for model in models for file in files]
    for name in (*needed, "mmgrad_explain/py.typed", "mmgrad_explain/training/configs/reference.yaml"):
        if name not in names:
            sys.exit(f"{name} is missing from {wheel}")
    weights = [name for name in needed if name.endswith("model.safetensors")]
    for model in models:
        held = sum(size for name, size in names.items() if name.startswith(f"{model}/"))
        if held >= LIMIT:
            sys.exit(f"{model} has {held} bytes, the limit is {LIMIT}")
    packed = Path(wheel).stat().st_size
    if packed >= WHEEL_LIMIT:
        sys.exit(f"{wheel} has {packed} bytes, the limit is {WHEEL_LIMIT}")
    if any(name.endswith((".jpg", ".jpeg", ".webp")) for name in names):
        sys.exit("the wheel holds photographs")
    if any(name.startswith(("tests/", "benchmarks/", "examples/")) for name in names):
        sys.exit("the wheel holds more than the package")
    query = Path("examples/query.jpg").resolve()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder + "/site", wheel], check=True
        )
        code = (
            "import mmgrad_explain, sys; from mmgrad_explain.cli.main import main; "
            "print(mmgrad_explain.__file__); sys.exit(main())"
        )
        arguments = ["overlay", str(query), "make the blue crescent red", "--out", "where.png"]
        environment = {**os.environ, "PYTHONPATH": folder + "/site"}
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        if not done.stdout.startswith(folder) or not (Path(folder) / "where.png").stat().st_size:
            sys.exit(f"the wheel did not do the main job: {done.stdout}{done.stderr}")
    size, of_weights = sum(names.values()) / 1e6, sum(names[name] for name in weights) / 1e6
    sizes = f"{packed / 1e6:.1f} MB, {size:.1f} MB unpacked, weights {of_weights:.1f} MB"
    print(f"{Path(wheel).name}: {sizes}, main job works")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
