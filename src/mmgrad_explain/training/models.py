"""Build or load the composer that a run starts from, and save the trained one."""

from __future__ import annotations

import copy
import shutil
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mmgrad_explain._system.choices import check_choice
from mmgrad_explain._system.files import behind_links, put_folder, temporary_name
from mmgrad_explain._system.user_files import reading
from mmgrad_explain.composers.fusion.composer import FusionComposer
from mmgrad_explain.composers.fusion.registry import METHODS
from mmgrad_explain.composers.fusion.tower_reading import two_towers
from mmgrad_explain.composers.load import BUNDLED, load_composer
from mmgrad_explain.composers.model_capabilities import capabilities
from mmgrad_explain.composers.reference.build import build_network
from mmgrad_explain.composers.reference.composer import ReferenceComposer
from mmgrad_explain.composers.reference.config import NetworkConfig
from mmgrad_explain.composers.reference.named_parts import PLACED
from mmgrad_explain.composers.reference.processor import ReferenceProcessor
from mmgrad_explain.composers.reference.tokenizer import build_tokenizer
from mmgrad_explain.data.edits.nouns import make_noun, make_plural, split_words
from mmgrad_explain.errors import InputError, did_you_mean
from mmgrad_explain.training.lora import add_adapters, merge_adapters
from mmgrad_explain.training.trunk_weights import load_head_weights, load_trunk_weights, pretrained_pixels

PLACE_WORDS = {
    "left": ("left", "leftmost"), "right": ("right", "rightmost"), "top": ("upper", "top", "topmost"),
    "bottom": ("lower", "bottom"), "large": ("largest", "biggest"), "small": ("smallest",),
}  # fmt: skip
"""Words that say which of several things of a kind is meant, where a network names parts."""
MAYBE_PLACE_WORDS = {"large": ("larger", "bigger"), "small": ("smaller",)}
"""Words that say so or not: the smaller dog, or make the dog smaller."""

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import nn

    from mmgrad_explain.composers.base import Composer
    from mmgrad_explain.training.config import ModelOptions


def image_size_of(options: ModelOptions) -> int | None:
    """Return the side of the images of a new network, in pixels; None if ``path`` names a model."""
    return None if options.path is not None else network_sizes(options, 2).image_size


def network_sizes(options: ModelOptions, words: int, classes: Mapping[str, int] | None = None) -> NetworkConfig:
    """Return the sizes of a new reference network.

    Args:
        options: The options.
        words: Number of words in its vocabulary.
        classes: Number of classes of each label map of the sources: what ``parts: auto`` stands for.

    Raises:
        InputError: If a size is unknown.
    """
    known = [each.name for each in fields(NetworkConfig) if each.name != "vocab_size"]
    for name in options.sizes:
        if name not in known:
            raise InputError(f"unknown key 'model.sizes.{name}': {did_you_mean(name, known)}known: {', '.join(known)}")
    pixels = pretrained_pixels(options.sizes.get("backbone", NetworkConfig.backbone)) if options.is_from_timm else {}
    sizes = {**pixels, **options.sizes, "vocab_size": words}
    if sizes.get("parts") == "auto":
        sizes["parts"] = (classes or {}).get("object", 0)
    return NetworkConfig(**sizes)


def starting_composer(
    options: ModelOptions, vocabulary: Sequence[str], classes: Mapping[str, int] | None = None
) -> Composer:
    """Return the composer that a run starts from, in training mode, with frozen parts and adapters.

    Args:
        options: See :class:`~mmgrad_explain.training.config.ModelOptions`.
        vocabulary: The words of the sources, which a new network knows beside ``options.words``.
        classes: Number of classes of each label map of the sources.

    Raises:
        InputError: If there is no such model, or an option does not fit it.
    """
    composer: Composer
    if options.path is None:
        composer = _new_network(options, vocabulary, classes)
    else:
        composer = _from_path(options.path, options)
        if options.image_size is not None:
            composer = composer.resized(options.image_size)
    freeze(composer, options.freeze)
    if options.lora.rank:
        add_adapters(composer, options.lora)
    return composer.train()


def freeze(composer: Composer, names: Sequence[str]) -> None:
    """Freeze parts of a composer.

    Raises:
        InputError: If the composer has no such part, or nothing is left to train.
    """
    for part in find_parts(composer, names, "model.freeze"):
        part.requires_grad_(requires_grad=False)
    if not any(parameter.requires_grad for parameter in composer.parameters()):
        raise InputError("model.freeze: nothing is left to train")


def find_parts(composer: Composer, names: Sequence[str], option: str) -> list[nn.Module]:
    """Find the parts of a composer that an option names.

    Raises:
        InputError: If the composer has no such part.
    """
    parts = dict(composer.named_modules())
    for name in names:
        if not name or name not in parts:
            hint = did_you_mean(name, parts)
            raise InputError(f"{option}: the model has no part {name!r}: {hint}use dotted names of its modules")
    return [parts[name] for name in names]


def save_composer(composer: Composer, folder: Path) -> None:
    """Save a copy of a composer, with its adapters merged, as a model folder that ``load_composer`` reads.

    The folder is written whole or not at all. It replaces an older one; other files in that one are kept. Of a composer
    without ``save_pretrained`` the weights alone are written.
    """
    composer = merge_adapters(copy.deepcopy(composer).cpu()).eval()
    with _whole_folder(folder) as temporary:
        capabilities(composer).save(temporary)


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    folder = behind_links(folder)
    temporary = folder.with_name(temporary_name())
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for path in folder.iterdir() if folder.exists() else ():
            if not (temporary / path.name).exists():
                copy = shutil.copytree if path.is_dir() else shutil.copy2
                copy(path, temporary / path.name)
        put_folder(temporary, folder)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _new_network(
    options: ModelOptions, vocabulary: Sequence[str], classes: Mapping[str, int] | None
) -> ReferenceComposer:
    if options.image_size is not None:
        raise InputError(
            "model.image_size is for a model that exists: name it by model.path, or give a new network "
            "model.sizes.image_size"
        )
    meanings = _meanings(options.part_words)
    vocabulary = tuple(dict.fromkeys((*vocabulary, *options.words, *meanings)))
    if not vocabulary:
        raise InputError("sources: a new network needs to know the words of their texts, and there are none")
    tokenizer = build_tokenizer(vocabulary)
    sizes = network_sizes(options, tokenizer.get_vocab_size(), classes)
    with reading("model.sizes do not fit together"):
        network = build_network(sizes)
        with torch.no_grad():  # some sizes fail only when the network runs
            words = torch.ones(1, 1, dtype=torch.long)
            network(torch.zeros(1, 3, sizes.image_size, sizes.image_size), words, words)
    if options.backbone_weights is not None:
        load_trunk_weights(network.visual, sizes, options.backbone_weights)
    if options.segmenter_weights is not None:
        if network.segmenter is None:
            raise InputError("model.segmenter_weights: say how many classes they tell, by model.sizes.segmenter")
        load_head_weights(network.segmenter, options.segmenter_weights)
    if network.names is not None:
        if len(options.part_words) != sizes.parts - 1:
            raise InputError(
                f"model.part_words: name the {sizes.parts - 1} parts of model.sizes.parts besides the background, in "
                f"the order of their labels; there are {len(options.part_words)}"
            )
        known = tokenizer.get_vocab()
        network.names.part.teach({known[word]: [part] for word, part in meanings.items()})
        for table, others in ((PLACE_WORDS, ()), (MAYBE_PLACE_WORDS, (0,))):
            places = {word: PLACED.index(place) for place, words in table.items() for word in words}
            network.names.place.teach(
                {known[word]: [place, *others] for word, place in places.items() if word in known}
            )
    elif options.part_words:
        raise InputError("model.part_words: the network has no parts to name: set model.sizes.named_parts")
    processor = ReferenceProcessor(tokenizer, sizes.image_size, sizes.max_words, sizes.mean, sizes.std)
    composer = ReferenceComposer(network, processor)
    composer.backbone = ("network.visual",) if options.backbone_weights is not None else ()
    return composer


def _meanings(part_words: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return the part that each word means: the last words of all names, and of their plurals.

    Raises:
        InputError: If a word means two parts.
    """
    found: dict[str, int] = {}
    for part, (name, others) in enumerate(part_words.items(), 1):
        nouns = [make_noun(one) for one in (name, *others)]
        for word in (split_words(noun)[-1] for noun in (*nouns, *map(make_plural, nouns))):
            if found.setdefault(word, part) != part:
                raise InputError(f"model.part_words: {word!r} means two parts, {name!r} being one of them")
    return found


def _from_path(path: str, options: ModelOptions) -> Composer:
    """Load a saved composer, or a CLIP model with a new combiner, or put a way to compose on two towers.

    Raises:
        InputError: If there is no such model or way, or an option does not fit it.
    """
    folder = Path(path).expanduser()
    own = options.composer_options or options.pad_ratio is not None
    plain = options.composer is None or (options.composer == "combiner" and not own)
    if plain and path not in BUNDLED and (folder.is_dir() or not folder.exists()):
        from mmgrad_explain.composers.clip.composer import ClipComposer, is_clip

        if is_clip(path):
            return ClipComposer.from_clip(path, width=options.combiner_width, fit=options.fit)
    if options.shapes_combiner:
        raise InputError(
            f"model.combiner_width and model.fit are for a new combiner on CLIP, and {path} is no CLIP model"
        )
    return _composing(load_composer(path), options)


def _composing(towers: Composer, options: ModelOptions) -> Composer:
    """Put the way to compose that the options name on two towers."""
    name = options.composer
    if name is None:
        return towers
    check_choice("model.composer", name, ("sum", *METHODS, "sprc"))
    if name == "sprc":
        from mmgrad_explain.composers.sprc.composer import SprcComposer

        return SprcComposer.from_tower(towers, pad_ratio=options.pad_ratio)
    if name == "sum":
        return two_towers(towers)
    return FusionComposer.from_tower(towers, name, pad_ratio=options.pad_ratio, **options.composer_options)
