"""Search the page's gallery, and pack what the page shows. This module does not import Gradio."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mmgrad_explain._system.redaction import HIDDEN, redact_address
from mmgrad_explain.errors import InputError
from mmgrad_explain.explanation.sides import call_of
from mmgrad_explain.gallery.gallery import Gallery
from mmgrad_explain.gallery.store import is_remote
from mmgrad_explain.images.reading import open_image
from mmgrad_explain.notes import texts_of
from mmgrad_explain.web.code_snippets import search_snippet
from mmgrad_explain.web.examples import choose_kind, write_example_images
from mmgrad_explain.web.models import find_abilities
from mmgrad_explain.web.records import explanation_record
from mmgrad_explain.web.search_history import SearchHistory, SearchStep
from mmgrad_explain.web.viewer import pack_map, pack_payload

if TYPE_CHECKING:
    from PIL import Image

    from mmgrad_explain.gallery.results import Hit, Retrieval, RetrievalMaps
    from mmgrad_explain.web.models import Abilities, Models

NEXT = "Use as the next reference"
"""Label of a hit's button."""


class GallerySearch:
    """Searches in the gallery of a page, which is opened when it is first used.

    Args:
        models: The page's models, with their lock and the example gallery's model.
        address: Address of the gallery; None makes one of example images, which lasts as long as the page.
        pixels: Most pixels of a hit's image.
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
        """Return the gallery; it is opened at the first call.

        Raises:
            InputError: It cannot be opened, for example because another process has it.
        """
        with self._models.lock:
            if self._gallery is None:
                self._gallery = (
                    self._make_example_gallery() if self._address is None else self._open_gallery(self._address)
                )
            return self._gallery

    def abilities(self) -> Abilities:
        """Find out what the gallery's model can do.

        Raises:
            InputError: As :meth:`gallery`. The example gallery is not made for this.
        """
        if self._address is None:
            return self._models.abilities(self._models.example_model)
        gallery = self.gallery()
        with self._models.lock:
            return find_abilities(gallery.composer)

    @property
    def example_kind(self) -> str:
        """The kind of examples whose words the gallery's model knows."""
        return self._models.example_kind if self._address is None else choose_kind(self.gallery().composer)

    def search(
        self,
        history: SearchHistory,
        text: str,
        k: int,
        layer: str | None = None,
        score: str | None = None,
        *,
        content: bytes = b"",
        name: str = "",
    ) -> tuple[SearchHistory, dict[str, Any]]:
        """Search, and pack what the page shows.

        Args:
            history: The search so far, with its next reference.
            text: What should change.
            k: How many hits.
            layer: Dotted name of the layer of the maps; the model's default when None.
            score: Name of the score of the hits' maps; the model's default when None.
            content: The file of the reference, where the history has none.
            name: Its name.

        Returns:
            The history with this step, and a payload of :mod:`~mmgrad_explain.web.viewer`: the tile of the query, then
            those of the hits.

        Raises:
            InputError: As ``Gallery.retrieve`` and ``Gallery.explain``.
        """
        gallery = self.gallery()
        hit = history.reference
        with self._models.lock:
            found = gallery.retrieve(content if hit is None else hit.path, text, k)
            maps = gallery.explain(found, layer=layer, score=score)
        step = SearchStep(
            text, hit, name if hit is None else Path(hit.path).name, content if hit is None else b"", found.hits
        )
        after = SearchHistory((*history.before, step))
        asked = {"k": k, "layer": layer, "score": score}
        return after, self._pack(after, found, maps, asked)

    def repeat(
        self, history: SearchHistory, k: int, layer: str | None = None, score: str | None = None
    ) -> dict[str, Any]:
        """Repeat the last step of a search; returns the payload."""
        last, before = history.steps[-1], replace(history, chosen=None)
        return self.search(before, last.text, k, layer, score, content=last.content, name=last.name)[1]

    def read_hit(self, hit: Hit) -> Image.Image:
        """Read the image of a hit.

        Raises:
            InputError: Its file is gone, or too large.
        """
        try:
            return open_image(hit.path, max_pixels=self._pixels)
        except InputError as error:
            raise InputError(f"hit {hit.rank} cannot be read any more: index its folder again") from error

    def read_reference(self, step: SearchStep) -> Image.Image:
        """Read the reference of a step.

        Raises:
            InputError: As :meth:`read_hit`.
        """
        return open_image(step.content) if step.reference is None else self.read_hit(step.reference)

    def _make_example_gallery(self) -> Gallery:
        folder = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="mmgrad-gallery-")))
        composer = self._models.composer(self._models.example_model)
        gallery = self._open.enter_context(Gallery(folder / "examples.db", composer, create=True))
        write_example_images(folder / "pictures", self.example_kind)
        gallery.index([folder / "pictures"])
        return gallery

    def _open_gallery(self, address: str) -> Gallery:
        device = None if self._models.device is None else str(self._models.device)
        return self._open.enter_context(Gallery(address, device=device))

    def _pack(
        self, history: SearchHistory, found: Retrieval, maps: RetrievalMaps, asked: dict[str, Any]
    ) -> dict[str, Any]:
        first = pack_map(maps.query, title=f"You asked: {found.text}")
        first["notes"] = list(dict.fromkeys([*texts_of(found.notes), *first["notes"]]))
        tiles = [first]
        hits = []
        for hit in found.hits:
            name = Path(hit.path).name
            shown: dict[str, Any] = {"rank": hit.rank, "file": name, "score": hit.score, "state": hit.state}
            shown["notes"] = texts_of(maps.notes_of(hit.rank))
            if hit.rank in maps.hits:
                explanation, index = maps.hits[hit.rank]
                title = f"{hit.rank}. {name}"
                caption = f"ranked by similarity = {hit.score:.4f}; map of {explanation.score_name}"
                action = (NEXT, hit.rank)
                tiles.append(pack_map(explanation, index, target=True, title=title, caption=caption, action=action))
                grid = explanation.calls[call_of(explanation, target=True)][index]
                shown |= {"map_of": explanation.score_name, "grid": grid.tolist()}
            hits.append(shown)
        turns = [{"picture": step.name, "hit": step.rank, "text": step.text} for step in history.steps]
        data = explanation_record({"turns": turns, **asked, "gallery": self._shown_address()}, maps.query)
        data |= {"hits": hits, "notes": texts_of(maps.notes)}
        begin = history.steps[0]
        code = search_snippet(
            (self.read_reference(begin), begin.name),
            [(step.rank, step.text) for step in history.steps],
            gallery=self._shown_address(),
            examples=(self._models.example_model, self.example_kind),
            **asked,
        )
        return pack_payload(tiles, data=data, snippet=code)

    def _shown_address(self) -> str | None:
        """Return the gallery's address as visitors may see it: without folders, user or password."""
        if self._address is None:
            return None
        if not is_remote(self._address):
            return Path(self._address).name
        return redact_address(self._address).replace(f"{HIDDEN}@", "")
