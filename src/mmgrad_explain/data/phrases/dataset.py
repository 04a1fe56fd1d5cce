"""A data set of images, phrases and regions in memory; nothing is left out in silence."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mmgrad_explain.data.triplets import split_image_path
from mmgrad_explain.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mmgrad_explain.data.phrases.region import Region

_SHOWN = 3


@dataclass(frozen=True)
class PhraseSample:
    """A text about an image, and the region where it is right.

    Attributes:
        id: Unique in its set.
        text: What a model is asked.
        kind: What samples are grouped by: the class, the kind of entity, or the kind of edit.
        image: The image's file, as :func:`~mmgrad_explain.data.triplets.read_pixels` takes it.
        image_name: Its name, equal for samples of the same image.
        region: Where the text is right, in the pixels of the image, or of the target where ``on_target``.
        target: The target image of a triplet.
        on_target: Whether the map is judged on the target: something was added, which only the target shows.
    """

    id: str
    text: str
    kind: str
    image: Path
    image_name: str
    region: Region
    target: Path | None = None
    on_target: bool = False

    @property
    def judged_image(self) -> Path:
        """The image that the map is judged on."""
        return self.target if self.on_target and self.target is not None else self.image


@dataclass(frozen=True)
class PhraseSet:
    """A data set.

    Attributes:
        name: Its format, such as ``"refcoco"``.
        root: Its folder or file.
        description: What was read, in words: the split, the files.
        samples: In the order of the files.
        problems: What is damaged or was left out, in words, with the names of what has it.
    """

    name: str
    root: Path
    description: str
    samples: tuple[PhraseSample, ...]
    problems: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of samples, sorted."""
        return tuple(sorted({sample.kind for sample in self.samples}))

    def select(
        self, *, kinds: Sequence[str] = (), phrases: Sequence[str] = (), limit: int | None = None, seed: int = 0
    ) -> PhraseSet:
        """Choose samples; they stay in order.

        Args:
            kinds: Only samples of these kinds; all when empty.
            phrases: Only samples whose text contains one of these, in any case; all when empty.
            limit: At most so many, all of some images drawn at random, so that texts about one image stay together.
            seed: Seed of the draw.

        Raises:
            InputError: There is no such kind, no sample is left, or ``limit`` is below 1.
        """
        for kind in kinds:
            if kind not in self.kinds:
                has = ", ".join(self.kinds[:12]) + (" ..." if len(self.kinds) > 12 else "")
                raise InputError(f"kinds: there is no {kind!r}; {did_you_mean(kind, self.kinds)}there are {has}")
        lower = [phrase.lower() for phrase in phrases]
        chosen = [
            sample
            for sample in self.samples
            if (not kinds or sample.kind in kinds)
            and (not lower or any(phrase in sample.text.lower() for phrase in lower))
        ]
        if not chosen:
            raise InputError(f"no text contains {' or '.join(map(repr, phrases))}" if phrases else "no sample is left")
        if limit is not None:
            if limit < 1:
                raise InputError(f"limit must be at least 1, got {limit}")
            chosen = _draw(chosen, limit, seed)
        return replace(self, samples=tuple(chosen))

    def with_template(self, template: str) -> PhraseSet:
        """Put every text into a sentence.

        Args:
            template: With ``{}`` where the text goes, such as ``"a photo of a {}"``.

        Raises:
            InputError: It has no ``{}``, or several.
        """
        if template.count("{}") != 1:
            raise InputError(f"template: {template!r} must have {{}} once, where the text goes")
        return replace(self, samples=tuple(replace(s, text=template.replace("{}", s.text)) for s in self.samples))

    def require_images(self) -> None:
        """Check that the files of all images are there.

        Raises:
            InputError: Some are not; the message counts and names them.
        """
        wanted = dict.fromkeys(path for s in self.samples for path in (s.image, s.target if s.on_target else None))
        missing = [str(path) for path in wanted if path is not None and not _is_there(path)]
        if missing:
            names = ", ".join(missing[:_SHOWN]) + (" ..." if len(missing) > _SHOWN else "")
            raise InputError(
                f"{len(missing)} of {sum(path is not None for path in wanted)} images of {self.name} are missing: "
                f"{names}; name their folder (images=, --images), or fetch them"
            )

    def problem_lines(self) -> list[str]:
        """Write each problem as a line with its count and some names."""
        return [
            f"{len(names)} x {what}: {', '.join(names[:_SHOWN])}{' ...' if len(names) > _SHOWN else ''}"
            for what, names in self.problems.items()
        ]


def _draw(samples: Sequence[PhraseSample], limit: int, seed: int) -> list[PhraseSample]:
    """Draw images until their samples are enough; the last image may give only some of its own."""
    images = list(dict.fromkeys(sample.image_name for sample in samples))
    random.Random(seed).shuffle(images)  # noqa: S311  (no secret)
    of_image: dict[str, list[int]] = {}
    for place, sample in enumerate(samples):
        of_image.setdefault(sample.image_name, []).append(place)
    places = [place for image in images for place in of_image[image]][:limit]
    return [samples[place] for place in sorted(places)]


def _is_there(path: Path) -> bool:
    file, _ = split_image_path(str(path))
    return type(path)(file).is_file()
