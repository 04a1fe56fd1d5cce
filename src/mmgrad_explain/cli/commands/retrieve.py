"""``mmgrad-explain retrieve``: search a gallery by a picture and a text, with a map on each hit."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgrad_explain.cli.known_names import SCORES
from mmgrad_explain.cli.output_files import OutputFile, name_after, print_beside
from mmgrad_explain.cli.printing import Table, show
from mmgrad_explain.cli.streams import write_json
from mmgrad_explain.cli.typed_values import check_name, decode_text
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from mmgrad_explain.gallery.gallery import Gallery
    from mmgrad_explain.gallery.results import Retrieval, RetrievalMaps
    from mmgrad_explain.gallery.session import Session

_DETAILS = """\
Lists the pictures of a gallery (mmgrad-explain index) that are most similar to IMAGE changed as TEXT says, by the
cosine of their embeddings, and draws a contact sheet: IMAGE with its map, and each hit with its similarity and its map.
Pictures with the same content are one hit. IMAGE itself is left out if it is in the gallery, unless --keep-reference.

Maps are of the model's default score, on IMAGE and on each hit: they show where a hit has what TEXT names, not why it
was found. --score similarity shows where the match comes from; in models that were not trained for such maps, as the
bundled ones, these maps cover mostly background. A map shows what the score depends on, through one layer and to first
order, not that the hit is right. --check finds out how far each map can be trusted (see: mmgrad-explain overlay
--help).

A search can have several steps. --session FILE keeps queries and hits in FILE, and the next command can use a hit as
its picture:
  mmgrad-explain retrieve query.jpg "make it red" --gallery mine.db --session s.json
  mmgrad-explain retrieve --reference-hit 3 "make it blue" --session s.json

The search uses the model of the gallery. Give --model only if that model has moved; another model is refused.

Exit codes: 0 done, 2 something you can correct (one line says what), 130 stopped by Ctrl-C. The sheet and the session
are written at the end, each whole or not at all.

Examples:
  mmgrad-explain retrieve query.jpg "make it red" --gallery mine.db -k 10
  mmgrad-explain retrieve query.jpg "make it red" --gallery mine.db --out hits.png --overwrite
  mmgrad-explain retrieve query.jpg "make it red" --gallery http://host:19530 --no-sheet --json
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "retrieve", help="search a gallery by a picture and a text", details=_DETAILS,
        description="Search a gallery by a picture and a text that says what should change, with a map on each hit.",
        usage="%(prog)s [OPTIONS] IMAGE TEXT\n       %(prog)s [OPTIONS] --session FILE --reference-hit N TEXT",
    )  # fmt: skip
    add = parser.add_argument
    add(
        "query", nargs="+", metavar="IMAGE TEXT", help="a picture and what should change; with --reference-hit the text"
    )
    add("--gallery", metavar="PLACE", help="NAME.db, or http://host:port of a Milvus server (default: the session's)")
    add("--collection", metavar="NAME", help="the gallery's name there (default: mmgrad_gallery, or the session's)")
    add("--model", help="bundled name, folder or hub id (default: the gallery's)")
    add("-k", type=int, default=10, metavar="N", help="how many hits (default: %(default)s)")
    add("--keep-reference", action="store_true", help="also list IMAGE itself where it is in the gallery")
    add("--reference-hit", type=int, metavar="N", help="use hit N of the session's last search as the picture")
    add("--session", metavar="FILE", type=Path, help="keep queries and hits in FILE (JSON), or continue a session")
    add("--layer", action="append", metavar="NAME", help="layer to explain, may be repeated")
    add("--score", metavar="NAME", help="the number that the maps explain (default: the model's)")
    add("--check", action="store_true", help="find out how far each map can be trusted; one that fails is marked")
    add("--calibration", metavar="FILE", help="layer and method of the maps, by a file of `mmgrad-explain calibrate`")
    add("--out", "-o", metavar="FILE", type=Path, help="the contact sheet (default: IMAGE_TEXT.png here)")
    add("--overwrite", action="store_true", help="replace a contact sheet that exists")
    add("--no-sheet", action="store_true", help="only list the hits, without maps and contact sheet")
    add("--device", help="cpu, cuda, cuda:N or mps (default: cpu)")
    add("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Retrieve; all options are checked before the model is loaded."""
    from mmgrad_explain._system.files import check_writable
    from mmgrad_explain.gallery.session import Session
    from mmgrad_explain.gallery.store import COLLECTION
    from mmgrad_explain.images.saving import safe_save

    check_name("--score", options.score, SCORES)
    continues = options.reference_hit is not None
    if len(options.query) != (1 if continues else 2):
        wanted = "the text alone, with --reference-hit" if continues else "a picture and a text"
        raise InputError(f"give {wanted}; got {len(options.query)} arguments: put quotes around the text")
    if continues and options.session is None:
        raise InputError("--reference-hit needs --session FILE: the session that has the hit")
    text = decode_text(options.query[-1])
    session = Session.load(options.session) if continues or _exists(options.session) else None
    place = options.gallery or (session and session.place())
    if not place:
        raise InputError("--gallery is missing: name NAME.db, or http://host:port of a Milvus server")
    reference = options.query[0] if session is None or not continues else session.hit(options.reference_hit).path
    sheet = None if options.no_sheet else _plan_sheet(options, reference, text)
    if sheet is not None:
        sheet.check()
    if options.session is not None:
        check_writable(options.session, overwrite=True)

    from mmgrad_explain.gallery.gallery import Gallery  # torch is needed from here on

    collection = options.collection or (session.collection if session else COLLECTION)
    with Gallery(place, options.model, collection=collection, device=options.device) as gallery:
        _calibrate(gallery, options.calibration)
        if session is None:
            session = Session(gallery.address, gallery.collection, gallery.about["fingerprint"])
        else:
            session.check(gallery.address, gallery.collection, gallery.about["fingerprint"])
        found = gallery.retrieve(reference, text, options.k, keep_reference=options.keep_reference)
        if continues:
            session.check_unchanged(options.reference_hit, found.reference)
        maps = None if sheet is None else gallery.explain(found, layer=options.layer, score=options.score)
        if maps is not None and options.check:
            maps.check(progress=True)
        report = _report(gallery, reference, found, maps)
    written = None if maps is None or sheet is None else sheet.write(partial(safe_save, maps.sheet()))
    if options.session is not None:
        _remember(session, reference, found, options)
    report |= {"sheet": written and str(written), "session": options.session and str(options.session)}
    with print_beside([written, options.session]):
        if options.json:
            write_json(report)
        else:
            show(*_parts(report))
    return 0


def _calibrate(gallery: Gallery, file: str | None) -> None:
    """Have the maps made as a calibration says, if one was named."""
    if file is not None:
        from mmgrad_explain.attention.calibration.result import Calibration

        gallery.composer.calibration = Calibration.load(file, gallery.composer)


def _exists(path: Path | None) -> bool:
    return path is not None and path.exists()


def _plan_sheet(options: argparse.Namespace, reference: str, text: str) -> OutputFile:
    path = options.out or Path(f"{Path(reference).stem}_{name_after(text, 'hits')}.png")
    return OutputFile.planned(path, options)


def _remember(session: Session, reference: str, found: Retrieval, options: argparse.Namespace) -> None:
    from mmgrad_explain.gallery.session import SessionHit, SessionTurn

    hits = tuple(SessionHit(hit.rank, hit.path, hit.score, hit.digest) for hit in found.hits)
    session.turns.append(SessionTurn(str(Path(reference).absolute()), found.text, hits, options.reference_hit))
    session.save(options.session)


def _report(gallery: Gallery, reference: str, found: Retrieval, maps: RetrievalMaps | None) -> dict[str, Any]:
    hits = []
    for hit in found.hits:
        region, check, notes = None, None, list[str]()
        if maps is not None and hit.rank in maps.hits:
            explanation, index = maps.hits[hit.rank]
            region = explanation.brightest_region(index, target=True)
            check = explanation.check_of(index, target=True)
            notes = [note.text for note in maps.notes_of(hit.rank)]
        said = {
            "brightest_region": None if region is None else region.to_dict(),
            "check": None if check is None else check.to_dict(),
            "notes": notes,
        }
        hits.append({**asdict(hit), **said})
    return {
        "gallery": gallery.address,
        "collection": gallery.collection,
        "model": gallery.about,
        "reference": reference,
        "text": found.text,
        "hits": hits,
        "notes": [note.text for note in (found if maps is None else maps).notes],
    }


def _parts(report: dict[str, Any]) -> Iterator[str | Table]:
    yield f"{report['reference']}, {report['text']!r}, in {report['gallery']} by {report['model']['name']}"
    rows, plain = [], []
    for hit in report["hits"]:
        path = hit["path"] + ("" if hit["state"] == "there" else f" ({hit['state']})")
        copies = [f"the same: {copy}" for copy in hit["copies"]]
        plain += [f"{hit['rank']:4d}  {hit['score']:+.4f}  {path}", *(f"{'':15}{copy}" for copy in copies)]
        rows.append((str(hit["rank"]), f"{hit['score']:+.4f}", "\n".join([path, *copies])))
    if rows:
        yield Table(("hit", "score", "picture"), rows, "\n".join(plain), numbers=(0, 1), marked=(0,))
    yield from (f"note: {note}" for note in report["notes"])
    for hit in report["hits"]:
        yield from (f"note: hit {hit['rank']}, {Path(hit['path']).name}: {note}" for note in hit["notes"])
        if hit["check"] is not None:
            yield f"check: hit {hit['rank']}, {Path(hit['path']).name}: {hit['check']['in_words']}"
    yield from (f"{name}: {report[name]}" for name in ("sheet", "session") if report[name] is not None)
