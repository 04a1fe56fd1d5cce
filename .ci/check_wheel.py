"""Install a wheel into an empty folder and run the main job with it, away from the checkout."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

LIMIT = 15_000_000


def main(wheel: str) -> int:
    """Check one wheel; any failure raises."""
    names = {item.filename: item.file_size for item in zipfile.ZipFile(wheel).infolist()}
    models = [f"mmgrad_explain/weights/{name}" for name in ("reference", "clothing")]
    files = ("model.safetensors", "tokenizer.json", "familiarity.safetensors", "README.md")
    needed = [f"{model}/{file}" for model in models for file in files]
    for name in (*needed, "mmgrad_explain/py.typed", "mmgrad_explain/training/configs/reference.yaml"):
        if name not in names:
            sys.exit(f"{name} is missing from {wheel}")
    weights = [name for name in needed if name.endswith("model.safetensors")]
    for name in weights:
        if names[name] >= LIMIT:
            sys.exit(f"{name} has {names[name]} bytes, the limit is {LIMIT}")
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
    print(f"{Path(wheel).name}: {size:.1f} MB unpacked, weights {of_weights:.1f} MB, main job works")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
