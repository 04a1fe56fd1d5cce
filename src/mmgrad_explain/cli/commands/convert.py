"""``mmgrad-explain convert``: make a model folder of published weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain.cli.known_names import PUBLISHED
from mmgrad_explain.errors import OutputExistsError

if TYPE_CHECKING:
    import argparse

_DETAILS = """\
WEIGHTS is a file as the authors published it; it is read without running code from it. The folder that is written works
wherever a model folder does: overlay, evaluate, index, train --model. docs/how-to/published-weights.md says where
each paper's files are, what their licences say, and what is done as theirs do it.

  clip4cir   the combiner; --tower takes the fine-tuned CLIP that was published with it, or the CLIP as it was
  searle     the network phi; --tower takes its CLIP
  lincir     the same
  pic2word   the checkpoint, which holds its CLIP as well
  sprc       the checkpoint, on ViT-g or ViT-L; --tower takes a BLIP-2 for its image processor and tokenizer

Examples:
  mmgrad-explain convert clip4cir combiner.pt --tower cirr_clip_RN50x4_fullft.pt --out clip4cir/
  mmgrad-explain convert searle SEARLE_ViT-L14.pt --tower openai/clip-vit-large-patch14 --out searle/
  mmgrad-explain convert sprc sprc.pt --tower Salesforce/blip2-itm-vit-g --out sprc/
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "convert", help="make a model folder of published weights", details=_DETAILS,
        description="Make a model folder of weights of composed image retrieval that others published.",
    )  # fmt: skip
    add = parser.add_argument
    add("paper", metavar="PAPER", choices=PUBLISHED, help=", ".join(PUBLISHED))
    add("weights", metavar="WEIGHTS", help="the file as it was published")
    add("--tower", metavar="NAME", help="the model under it: a folder, a hub id, or a file with OpenAI's names")
    add("--prompt", metavar="TEXT", help="another prompt than the paper's, with $ and {text} (textual inversion)")
    add("--out", "-o", metavar="DIR", required=True, help="the model folder to write")
    add("--overwrite", action="store_true", help="replace a model that is there")
    add("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Convert; the folder is checked before anything is read."""
    out = Path(options.out).expanduser()
    if (out / "config.json").exists() and not options.overwrite:
        raise OutputExistsError(f"{out} holds a model: choose another folder, or pass --overwrite")

    from mmgrad_explain.composers.model_capabilities import capabilities
    from mmgrad_explain.composers.published.opening import open_published

    composer = open_published(options.paper, options.weights, tower=options.tower, prompt=options.prompt)
    capabilities(composer).save(out)
    if options.json:
        sys.stdout.write(json.dumps({"folder": str(out), "model": type(composer).__name__}) + "\n")
    else:
        sys.stdout.write(f'{out}\ntry: mmgrad-explain overlay query.jpg "make it red" --model {out}\n')
    return 0
