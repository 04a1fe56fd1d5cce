"""``mmgrad-explain index``: embed folders of pictures into a gallery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgrad_explain._system.progress import Bar
from mmgrad_explain.cli.printing import Table, show
from mmgrad_explain.cli.streams import write_json
from mmgrad_explain.notes import texts_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from mmgrad_explain.gallery.gallery import Gallery
    from mmgrad_explain.gallery.indexing import IndexReport

_NAMED = 5
_DETAILS = """\
Embeds every picture in the folders and stores the embeddings in a gallery: a local one by default (Milvus Lite, a
folder whose name ends in .db), or one on a Milvus server (--gallery http://host:19530). The pictures stay where they
are. Run it again after pictures were added, removed or changed: only new ones are embedded, and rows without a file are
removed. Rows of other folders are kept.

It can be stopped at any time, by Ctrl-C or kill: what is written is complete, and the next run continues from there.
Files with the same content are embedded once. Files and folders with names that begin with a dot are left out and
counted. Files that cannot be read are listed, and are not in the gallery.

A gallery belongs to one model, which is stored with it; any other is refused. Without --model a new gallery gets the
bundled model with training pictures most like these (32 of them are compared, always the same); the output says which,
and why. Pictures unlike those of all bundled models are refused: name another model. A local gallery serves one process
at a time.

Exit codes: 0 done, 1 done but some files cannot be read, 2 something you can correct (one line says what), 130 stopped
by Ctrl-C.

Examples:
  mmgrad-explain index photos/ --gallery mine.db
  mmgrad-explain index photos/ more/ --gallery mine.db --model openai/clip-vit-base-patch32 --device cuda --batch 256
  mmgrad-explain index photos/ --gallery http://host:19530 --collection photos --index hnsw --json
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "index", help="make a gallery of folders of pictures", details=_DETAILS,
        description="Embed folders of pictures into a gallery to retrieve from.",
    )  # fmt: skip
    add = parser.add_argument
    add("folders", nargs="+", metavar="FOLDER", help="pictures, in folders within folders too")
    add("--gallery", required=True, metavar="PLACE", help="NAME.db, or http://host:port of a Milvus server")
    add("--collection", metavar="NAME", help="the gallery's name there (default: mmgrad_gallery)")
    add(
        "--model",
        help="bundled name, folder or hub id (default: the gallery's; of a new one, a bundled one by the pictures)",
    )
    add("--index", default="flat", choices=("flat", "hnsw"),
        help="how a new gallery is searched: exactly, or by a graph (default: %(default)s)")  # fmt: skip
    add("--batch", type=int, default=32, metavar="N", help="pictures at once (default: %(default)s)")
    add("--device", help="cpu, cuda, cuda:N or mps (default: cpu)")
    add("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Index; each batch is complete when it is written."""
    from mmgrad_explain.gallery.gallery import Gallery
    from mmgrad_explain.gallery.image_files import check_folders
    from mmgrad_explain.gallery.store import COLLECTION

    check_folders(options.folders)
    collection = options.collection or COLLECTION
    with Gallery(
        options.gallery, options.model, create=True, index=options.index, collection=collection, device=options.device
    ) as gallery:
        try:
            with Bar() as bar:
                report = gallery.index(options.folders, batch=options.batch, progress=bar.show)
        except KeyboardInterrupt as stop:
            raise type(stop)("what was indexed is kept; the same command goes on") from None
        if options.json:
            write_json(_json(gallery, report))
        else:
            show(*_parts(gallery, report))
    return 1 if report.unreadable else 0


def _json(gallery: Gallery, report: IndexReport) -> dict[str, Any]:
    place = {"gallery": gallery.address, "collection": gallery.collection, "model": gallery.about}
    return {**place, **report.to_dict()}


def _parts(gallery: Gallery, report: IndexReport) -> Iterator[str | Table]:
    from mmgrad_explain.images.suffixes import IMAGE_SUFFIXES

    of = gallery.about
    yield f"{gallery.address}: {report.total} files, by {of['name']} ({of['dim']} numbers a picture)"
    if of.get("model_choice"):
        yield f"  model {of['name']} was chosen: {of['model_choice']}"
    yield f"  {report.added} added, {report.changed} changed, {report.removed} removed, {report.unchanged} as they were"
    if not report.total:
        yield f"note: no pictures were found; their names end in {', '.join(sorted(IMAGE_SUFFIXES))}"
    if report.others:
        yield f"  {report.others} files are no pictures by their names"
    if report.hidden:
        yield f"  {report.hidden} hidden files and folders were left out"
    for path, notes in list(report.notes.items())[:_NAMED]:
        yield f"note: {path}: {'; '.join(texts_of(notes))}"
    if len(report.notes) > _NAMED:
        yield f"note: and {len(report.notes) - _NAMED} more; --json has all of them"
    if report.unreadable:
        yield f"  {len(report.unreadable)} cannot be used:"
        named = list(report.unreadable.items())[:_NAMED]
        yield Table(("file", "why"), named, "\n".join(f"    {path}: {why}" for path, why in named), broken=(1,))
    if len(report.unreadable) > _NAMED:
        yield f"    and {len(report.unreadable) - _NAMED} more; --json has all of them"
