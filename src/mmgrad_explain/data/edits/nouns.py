"""Nouns: made of class names, plurals, articles."""

from __future__ import annotations

import re

_IRREGULAR = {
    "person": "people", "man": "men", "woman": "women", "child": "children", "foot": "feet", "tooth": "teeth",
    "mouse": "mice", "goose": "geese", "knife": "knives", "leaf": "leaves", "shelf": "shelves", "scarf": "scarves",
    "sheep": "sheep", "fish": "fish", "deer": "deer", "skis": "skis", "aircraft": "aircraft",
}  # fmt: skip
_PLURALS = {*_IRREGULAR.values(), "police", "cattle"}
_SINGULAR_ENDINGS = ("ss", "us", "is", "gas", "lens", "canvas", "atlas")
_TURNED = re.compile(r"^(floor|wall)-(\w+)$")  # "wall-brick" is a brick wall


_UNCOUNTED = {
    "hair", "skin", "grass", "sand", "snow", "water", "dirt", "gravel", "mud", "ice", "fog", "food", "rice", "broccoli",
    "cheese", "bread", "fruit", "furniture", "luggage", "clothing", "footwear", "swimwear", "underwear", "eyewear",
    "jewelry", "paper", "cardboard", "plastic", "wood", "metal", "stone", "moss", "straw", "hay",
}  # fmt: skip


def is_plural(noun: str) -> bool:
    """Return whether a noun has the form of a plural: shoes, pants, glasses; not dress, bus or grass."""
    last = split_words(noun)[-1:]
    return bool(last) and (last[0] in _PLURALS or (last[0].endswith("s") and not last[0].endswith(_SINGULAR_ENDINGS)))


def is_uncounted(noun: str) -> bool:
    """Return whether a singular takes no "a": hair and grass, not dress."""
    last = split_words(noun)[-1:]
    return bool(last) and last[0] in _UNCOUNTED


def make_plural(noun: str) -> str:
    """Return a noun's plural: dog to dogs, bus to buses, person to people; a plural stays as it is."""
    head, _, last = noun.rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif is_plural(last):
        pass
    elif re.search(r"(s|x|z|ch|sh)$", last):
        last += "es"
    elif re.search(r"[^aeiou]y$", last):
        last = last[:-1] + "ies"
    else:
        last += "s"
    return f"{head} {last}".strip()


_ALWAYS_PLURAL = {
    "pants", "trousers", "jeans", "shorts", "tights", "leggings", "panties", "glasses", "sunglasses", "shades",
    "clothes",
}  # fmt: skip


def make_singular(noun: str) -> str:
    """Return a noun's singular: boots to boot, people to person; a noun without one, such as pants, stays as it is."""
    head, _, last = noun.rpartition(" ")
    singular = {many: one for one, many in _IRREGULAR.items()}
    if last in singular:
        last = singular[last]
    elif last in _ALWAYS_PLURAL or not is_plural(last):
        pass
    elif re.search(r"(ss|x|z|ch|sh)es$", last):
        last = last[:-2]
    else:
        last = last[:-3] + "y" if last.endswith("ies") else last[:-1]
    return f"{head} {last}".strip()


def make_noun(class_name: str) -> str:
    """Make the noun that people say of a class name: sky for ``sky-other-merged``, brick wall for ``wall-brick``."""
    name = _TURNED.sub(r"\2 \1", re.sub(r"-(other|merged|stuff)\b", "", class_name.strip().lower()))
    return " ".join(re.sub(r"[_\s]+", " ", name).split())


def split_words(text: str) -> list[str]:
    """Split a text as a word-level tokenizer does: lower case, without punctuation."""
    return re.sub(r"[^\w\s]+", " ", text.lower()).split()
