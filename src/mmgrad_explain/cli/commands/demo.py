"""``mmgrad-explain demo``: serve the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

_DETAILS = """\
Serves a page for the browser: give a picture and a sentence, and see where a model looks because of it. Sliders change
the map's opacity and threshold immediately. Several sentences get maps side by side. The page also searches a gallery,
with a map on every hit, and a hit can be the next picture. Downloads: PNG, JSON, and Python that makes the same maps.

The page is served at 127.0.0.1: only users of this machine can reach it. From another machine, use a tunnel:
  ssh -L 7860:127.0.0.1:7860 MACHINE
--host 0.0.0.0 opens it to everybody who can reach this machine, without a password; the command says so.

Uploaded pictures are kept in a temporary folder for an hour at most, and no file outside it is served. Models are
loaded once and shared; requests wait in a queue. The page needs no network.

A local gallery serves one process at a time: stop indexing it before the page opens it.

Examples:
  mmgrad-explain demo
  mmgrad-explain demo --gallery mine.db --open
  mmgrad-explain demo --model openai/clip-vit-base-patch32 --model ./my-model --device cuda
  mmgrad-explain demo --host 0.0.0.0 --port 8080 --max-upload-mb 5 --max-pixels 4000000
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "demo", help="serve a page to try everything in the browser", details=_DETAILS,
        description="Serve a page for the browser, on this machine only unless asked otherwise.",
    )  # fmt: skip
    add = parser.add_argument
    add("--model", action="append", default=[], metavar="NAME",
        help="bundled name, model folder or hub id to offer, may be repeated; the page starts with the first, and the "
        "examples fit it if it is bundled")  # fmt: skip
    add("--gallery", metavar="PLACE", help="NAME.db or http://host:port to search (default: example pictures)")
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default: %(default)s)")
    add("--port", type=int, metavar="N", help="(default: the first free one from 7860 on)")
    add("--open", action="store_true", help="open the page in a browser")
    add("--device", help="cpu, cuda, cuda:N or mps (default: cpu)")
    add("--max-upload-mb", type=float, default=20, metavar="MB", help="largest file (default: %(default)s)")
    add("--max-pixels", type=int, default=25_000_000, metavar="N", help="largest picture (default: %(default)s)")
    add("--max-waiting", type=int, default=20, metavar="N", help="requests that may wait (default: %(default)s)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    from mmgrad_explain.web.limits import Limits
    from mmgrad_explain.web.server import serve

    limits = Limits(options.max_upload_mb, options.max_pixels, waiting=options.max_waiting)
    serve(
        limits, models=options.model, gallery=options.gallery, host=options.host, port=options.port,
        device=options.device, open_browser=options.open,
    )  # fmt: skip
    return 0
