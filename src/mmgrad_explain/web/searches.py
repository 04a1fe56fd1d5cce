"""Searches in a gallery that go on: a hit becomes the next picture, and one can go back. No Gradio here."""

from __future__ import annotations

import html
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mmgrad_explain._system.redaction import HIDDEN, redact_address
from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.sides import call_of
from mmgrad_explain.gallery.gallery import Gallery
from mmgrad_explain.gallery.store import is_remote
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.notes import texts_of
from mmgrad_explain.web import snippet
from mmgrad_explain.web.answers import record
from mmgrad_explain.web.examples import kind_for, write_pictures
from mmgrad_explain.web.models import find_abilities
from mmgrad_explain.web.viewer import payload, tile

if TYPE_CHECKING:
    from PIL import Image

    from mmgrad_explain.gallery.results import Hit, Retrieval, RetrievalMaps
    from mmgrad_explain.web.models import Abilities, Models

NEXT = "Use as the next reference"
"""The button of a hit."""


@dataclass(frozen=True)
class Turn:
    """One question and what was found.

    Attributes:
        text: What should change.
        reference: The hit of the turn before that was asked with; None of a picture of one's own.
        name: What the picture is called.
        content: Its file, of a picture of one's own.
        hits: What was found.
    """

    text: str
    reference: Hit | None
    name: str
    content: bytes = b""
    hits: tuple[Hit, ...] = ()

    @property
    def rank(self) -> int | None:
        """Of the hit that was asked with."""
        return None if self.reference is None else self.reference.rank


@dataclass(frozen=True)
class Walk:
    """A visitor's search; each step gives a new one.

    Attributes:
        turns: What was asked so far.
        chosen: The hit of the last turn that is the next reference.
    """

    turns: tuple[Turn, ...] = ()
    chosen: Hit | None = None

    @property
    def reference(self) -> Hit | None:
        """The hit to ask with next; None where it is a picture of one's own."""
        return self.chosen or (self.turns[-1].reference if self.turns else None)

    @property
    def before(self) -> tuple[Turn, ...]:
        """The turns that the next one follows: asking again with the same picture takes the last one's place."""
        return self.turns if self.chosen is not None else self.turns[:-1]

    def hit(self, rank: Any) -> Hit:
        """Find a hit of the last turn, to be the next reference.

        Raises:
            InputError: There is no such hit.
        """
        for hit in self.turns[-1].hits if self.turns else ():
            if hit.rank == rank and hit.state == "there":
                return hit
        raise InputError(f"there is no hit {rank} to go on with: search again")

    def back(self) -> Walk:
        """Take back the choice of a hit, or the last turn.

        Raises:
            InputError: There is nothing to go back to.
        """
        if self.chosen is not None:
            return replace(self, chosen=None)
        if len(self.turns) < 2:
            raise InputError("there is no search before this one")
        return Walk(self.turns[:-1])

    def as_html(self) -> str:
        """Give the turns as a list, for the page; nothing where there are none."""
        items = [
            f"<li>{html.escape(_start(turn.reference, turn.name))}: {_quoted(turn.text)}</li>" for turn in self.turns
        ]
        if self.chosen is not None:
            items.append(f"<li>{html.escape(_start(self.chosen, Path(self.chosen.path).name))}: <em>and now?</em></li>")
        return f'<ol class="mmgrad-walk" aria-label="The search so far">{"".join(items)}</ol>' if items else ""


class Searches:
    """The gallery of a page, opened when it is first used.

    Args:
        models: The page's models; the lock is theirs, and the example gallery's model too.
        address: Of the gallery; None makes one of example pictures, which lasts as long as the page.
        pixels: Most pixels of a hit's picture.
    """

    def __init__(self, models: Models, address: str | None = None, *, pixels: int) -> None:
        self._address = address
        self._models = models
        self._pixels = pixels
        self._gallery: Gallery | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._models.lock:
            self._gallery = None
            self._open.close()

    def gallery(self) -> Gallery:
        """Open the gallery, or give the one that is open.

        Raises:
            InputError: It cannot be opened, for example since another process has it.
        """
        with self._models.lock:
            if self._gallery is None:
                self._gallery = self._example_gallery() if self._address is None else self._own_gallery(self._address)
            return self._gallery

    def abilities(self) -> Abilities:
        """What the gallery's model can be asked.

        Raises:
            InputError: As :meth:`gallery`; the one of example pictures is not made for this.
        """
        if self._address is None:
            return self._models.abilities(self._models.example_model)
        gallery = self.gallery()
        with self._models.lock:
            return find_abilities(gallery.composer)

    @property
    def example_kind(self) -> str:
        """Name the set of examples (shapes or clothes) whose words the gallery's model knows."""
        return self._models.example_kind if self._address is None else kind_for(self.gallery().composer)

    def search(
        self,
        walk: Walk,
        text: str,
        k: int,
        layer: str | None = None,
        score: str | None = None,
        *,
        content: bytes = b"",
        name: str = "",
    ) -> tuple[Walk, dict[str, Any]]:
        """Search, and pack what the page shows.

        Args:
            walk: What was asked before; its reference is asked with.
            text: What should change.
            k: How many hits.
            layer: Dotted name of the layer of the maps; the model's own when None.
            score: Name of the score of the hits' maps; the model's own when None.
            content: The file of the picture to ask with, where the walk has no reference.
            name: What it is called.

        Returns:
            The walk with this turn, and a payload of :mod:`~mmgrad_explain.web.viewer`: the query's tile, then
            the hits'.

        Raises:
            InputError: As ``Gallery.retrieve`` and ``Gallery.explain``.
        """
        gallery = self.gallery()
        hit = walk.reference
        with self._models.lock:
            found = gallery.retrieve(content if hit is None else hit.path, text, k)
            maps = gallery.explain(found, layer=layer, score=score)
        turn = Turn(
            text, hit, name if hit is None else Path(hit.path).name, content if hit is None else b"", found.hits
        )
        after = Walk((*walk.before, turn))
        asked = {"k": k, "layer": layer, "score": score}
        return after, self._packed(after, found, maps, asked)

    def again(self, walk: Walk, k: int, layer: str | None = None, score: str | None = None) -> dict[str, Any]:
        """Repeat the last turn of a walk; gives what the page shows then."""
        last, before = walk.turns[-1], replace(walk, chosen=None)
        return self.search(before, last.text, k, layer, score, content=last.content, name=last.name)[1]

    def picture_of(self, hit: Hit) -> Image.Image:
        """Read a hit's picture.

        Raises:
            InputError: Its file is gone, or too large.
        """
        try:
            return open_image(hit.path, max_pixels=self._pixels)
        except InputError as error:
            raise InputError(f"hit {hit.rank} cannot be read any more: index its folder again") from error

    def reference_of(self, turn: Turn) -> Image.Image:
        """Read the picture that a turn asked with.

        Raises:
            InputError: As :meth:`picture_of`.
        """
        return open_image(turn.content) if turn.reference is None else self.picture_of(turn.reference)

    def _example_gallery(self) -> Gallery:
        folder = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="mmgrad-gallery-")))
        composer = self._models.composer(self._models.example_model)
        gallery = self._open.enter_context(Gallery(folder / "examples.db", composer, create=True))
        write_pictures(folder / "pictures", self.example_kind)
        gallery.index([folder / "pictures"])
        return gallery

    def _own_gallery(self, address: str) -> Gallery:
        device = None if self._models.device is None else str(self._models.device)
        return self._open.enter_context(Gallery(address, device=device))

    def _packed(self, walk: Walk, found: Retrieval, maps: RetrievalMaps, asked: dict[str, Any]) -> dict[str, Any]:
        first = tile(maps.query, title=f"You asked: {found.text}")
        first["notes"] = list(dict.fromkeys([*texts_of(found.notes), *first["notes"]]))
        tiles = [first]
        hits = []
        for hit in found.hits:
            name = Path(hit.path).name
            one: dict[str, Any] = {"rank": hit.rank, "file": name, "score": hit.score, "state": hit.state}
            one["notes"] = texts_of(maps.notes_of(hit.rank))
            if hit.rank in maps.hits:
                explanation, index = maps.hits[hit.rank]
                title = f"{hit.rank}. {name}"
                caption = f"ranked by similarity = {hit.score:.4f}; map of {explanation.score_name}"
                action = (NEXT, hit.rank)
                tiles.append(tile(explanation, index, target=True, title=title, caption=caption, action=action))
                grid = explanation.calls[call_of(explanation, target=True)][index]
                one |= {"map_of": explanation.score_name, "grid": grid.tolist()}
            hits.append(one)
        turns = [{"picture": turn.name, "hit": turn.rank, "text": turn.text} for turn in walk.turns]
        data = record({"turns": turns, **asked, "gallery": self._shown_address()}, maps.query)
        data |= {"hits": hits, "notes": texts_of(maps.notes)}
        begun = walk.turns[0]
        code = snippet.of_walk(
            (self.reference_of(begun), begun.name),
            [(turn.rank, turn.text) for turn in walk.turns],
            gallery=self._shown_address(),
            examples=(self._models.example_model, self.example_kind),
            **asked,
        )
        return payload(tiles, data=data, snippet=code)

    def _shown_address(self) -> str | None:
        """The gallery's address as visitors may see it: without folders, user or password."""
        if self._address is None:
            return None
        if not is_remote(self._address):
            return Path(self._address).name
        return redact_address(self._address).replace(f"{HIDDEN}@", "")


def _start(reference: Hit | None, name: str) -> str:
    return name if reference is None else f"hit {reference.rank}, {name}"


def _quoted(text: str) -> str:
    return f"<q>{html.escape(text)}</q>"
