"""Find the things that a modifier text speaks of: *sleeves* in "is solid black with no sleeves".

A rule without a parser, for English: words that are known to name things (garments and their parts, the classes of
COCO, what photographs show), and else the last word of what follows an article, a number, "with", "no" or "has". Words
for colours, sizes, comparisons and the picture itself name nothing. A text may name nothing: "is darker".
"""

from __future__ import annotations

import re

from mmgrad_explain.composers.content_words import ACTIONS, FILLERS, LOOKS
from mmgrad_explain.data.edits.nouns import make_singular


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


GARMENTS = _words("""
    dress gown skirt shirt t-shirt tshirt tee blouse top tank cami camisole tunic polo sweater sweatshirt hoodie
    cardigan jacket coat vest blazer suit jumper jumpsuit romper pants trousers jeans shorts leggings tights shoe boot
    sandal sneaker pump heel loafer clog flats flip-flop slipper moccasin wedge stiletto oxford mule scarf hat cap bag
    purse glasses sunglasses watch bracelet necklace earring pullover sock
    glove tie robe kimono bra corset bikini swimsuit poncho shawl costume uniform outfit
""")
"""Garments and what is worn with them, in the singular."""

PARTS = _words("""
    sleeve collar neck neckline v-neck hem hemline waist waistline waistband belt button zipper zip pocket strap
    strings string lace laces ribbon bow buckle hood cuff shoulder back chest bust bodice skirt ruffle pleat fringe
    sash lapel lining trim logo graphic graphics lettering letters letter writing words text print stripe
    stripes flower flowers floral dots dot heart face sole toe toes ankle wedge platform tongue fastener
    bead beads sequin sequins gem jewel stud studs slit cutout cutouts opening tassel fur
""")
"""Parts of garments, and what is on them."""

CLASSES = _words("""
    person bicycle car motorcycle airplane bus train truck boat hydrant bench bird cat dog horse sheep cow elephant
    bear zebra giraffe backpack umbrella handbag suitcase frisbee skis snowboard ball kite bat glove skateboard
    surfboard racket bottle glass cup fork knife spoon bowl banana apple sandwich broccoli carrot pizza donut
    cake chair couch sofa plant bed table toilet tv television laptop mouse remote keyboard phone microwave oven
    toaster sink refrigerator fridge book clock vase scissors toothbrush man woman child boy girl baby people animal
    puppy kitten hand head hair leg arm eye mouth nose tail ear fur wing feather collar leash grass tree water sky
    snow sand beach sea ocean floor wall window door house building road street field forest mountain room background
    cage blanket pillow food fruit vegetable plate box basket curtain rug carpet lamp screen monitor pen pencil paper
    flower rock fence
""")
"""Classes of COCO, and other things that photographs show."""

_FORMS = {
    "sleeveless": "sleeves", "sleeved": "sleeves", "collared": "collar", "collarless": "collar", "hooded": "hood",
    "strapless": "straps", "strappy": "straps", "strapped": "straps", "belted": "belt", "buttoned": "buttons",
    "backless": "back", "heeled": "heels", "zippered": "zipper", "ruffled": "ruffles", "pleated": "pleats",
    "pocketed": "pockets", "necked": "neck", "laced": "laces", "fringed": "fringe", "toed": "toe", "buckled": "buckle",
    "tanktop": "top", "turtleneck": "neck", "halter": "straps",
}  # fmt: skip
"""Words that speak of a part without naming it."""

_ADJECTIVES = _words("""
    solid plain sleek shiny matte bold simple casual formal fancy sexy sexier modern vintage classic elegant floral
    feminine masculine loose tight fitted fitting flowing flowy sheer see-through transparent revealing conservative
    patterned printed colorful colored coloured multicolored multi-colored multi multiple single double full half
    quarter three-quarter cap medium mid maxi mini knee high low deep open closed front real fake first second third
    other same similar different opposite better clear blurry additional extra many few several less more whole entire
    cute pretty fluffy furry fuzzy wooden metal metallic leather denim cotton silk satin velvet wool woolen knit
    plastic paper cartoon animated white-ish reddish dressy sporty athletic textured round square rounded pointed
    pointy curved flat straight thick thin shallow wide wild adult young older younger sitting standing lying laying
    walking running facing looking wearing holding less-revealing long-sleeved short-sleeved sleeveless longsleeve
    shortsleeve zip-up button-up button-down buttoned strapless asymmetrical empty live alone together inside outside
    indoors outdoors visible identical main left-most exact tan burgundy maroon cream khaki olive lavender peach coral
    aqua mustard rose neon pastel nude ivory charcoal fuchsia mint lime rust bronze copper leopard zebra-striped
    camouflage camo paisley plaid checkered gingham argyle tribal nautical graphic cropped crop flared ruffled pleated
    belted tailored slim lacy lacey wordy busy fun chic whimsical scary trendy summery classy professional edgy preppy
    sassy witty nerdy beachy breezy airy gritty geeky sloppy outdoorsy boho tropical animal-like animalistic
    adolescent monochrome monochromatic minimal complex mature everyday premium subtle reverse abstract stylistic
    nostalgic gothic goth ethnic traditional political sarcastic comical inspirational overall rainbow indoor outdoor
    blousy billowy halter halterneck multi-color multicolor v-necked regular western mexican american
""")
_ABSTRACT = _words("""
    color colour colors colours shade tone hue style look length size shape type kind fit cut design pattern patterns
    fabric material texture photo picture image photograph angle view shot position pose direction version way bit lot
    number amount detail details detailing accent accents theme scheme quality light lighting focus scene setting
    environment scenery place location time day night year half rest end part parts piece middle center centre left
    right edge row line group pair set species breed brand model kind sort variety front camera distance closeup
    close-up foreground perspective appearance contrast brightness weather season coverage skin variation
    side sides area addition match shine close combination mixture difference product body otherwise twice base means
    something anything nothing everything someone others ones one two three four five six target series case cases
    thing things item items object objects bottom upside downward upwards forward forwards backwards sideways ashore
    effect zoom space surface layout see comes come feel wear written worn taken kept built throughout once action
    culture count multitude outline wrap name mix comparison form forms movement purpose mode segment portion posture
    profile highlight highlights shade humor language fight exposure waste sentence log shadow sunlight reflection
    structure interior decoration decor vegetation crowd stack pile array multipack couple pair pairs slice slices
""")
_OPENERS = _words("""
    a an the no any some with without has have having of on one two three four five six seven eight nine ten its his
    her their another add remove show shows wearing holding wears include includes featuring and in
""")
_ENDERS = _words("""
    and or but with without in on at of to from into by for as than that which who while where when instead is are was
    has have be it they them not like near next over under behind beside between above below against around across
    through toward towards facing looking standing sitting lying laying walking running wearing holding being down up
    out off only also so very much
""")
_SHADES = _words("sky baby forest sea ocean grass sand snow apple banana wood floral")  # before a colour
_AFTER_ATTRIBUTES = _words("print prints printed pattern patterned colored coloured color colour")
_LONGEST = 5  # words of a noun phrase that are read
_TOKEN = re.compile(r"[a-z]+(?:-[a-z]+)*|\d+|[.,;:!?]")
_KNOWN = GARMENTS | PARTS | CLASSES
_NAMELESS = FILLERS | LOOKS | ACTIONS | _ADJECTIVES | _ABSTRACT


def find_things(text: str) -> tuple[str, ...]:
    """Find the words for the things that a text speaks of, each once, in the order of the text.

    Args:
        text: A modifier text, in English.

    Returns:
        Nouns as the text has them, in lower case ("sleeves"); empty where it names nothing.
    """
    words = _TOKEN.findall(
        text.lower().replace("'s", " ").replace("tee shirt", "t-shirt").replace("t shirt", "t-shirt")
    )
    found: dict[int, str] = {}
    for place, word in enumerate(words):
        if word in _FORMS:
            found[place] = _FORMS[word]
        elif is_known_thing(word) and not _is_attribute(words, place):
            found[place] = word
    for place, word in enumerate(words):
        if word in _OPENERS:
            found |= _read_phrase(words, place + 1, found)
    things: dict[str, str] = {}
    for place in sorted(found):
        things.setdefault(make_singular(found[place]), found[place])
    return tuple(things.values())


def may_be_thing(noun: str) -> bool:
    """Return whether a noun, as a parser finds it, names a thing, and not a look, a part of the image or its making."""
    word = noun.lower()
    return is_known_thing(word) or not (word in _NAMELESS or make_singular(word) in _NAMELESS or len(word) < 3)


def is_known_thing(word: str) -> bool:
    """Return whether a word, in the singular or the plural, is in one of the lists of things."""
    return word in _KNOWN or make_singular(word) in _KNOWN


def _is_attribute(words: list[str], place: int) -> bool:
    """Return whether a word only says which thing is meant: "tank" in "tank top", "sky" in "sky blue", "on top of"."""
    after = words[place + 1 : place + 3]
    if words[place] == "top" and after[:1] == ["of"]:
        return True
    if not after or not after[0][0].isalpha():
        return False
    if after[0] in LOOKS:
        return words[place] in _SHADES or is_known_thing(after[-1])
    return is_known_thing(after[0]) or after[0] in _AFTER_ATTRIBUTES


def _read_phrase(words: list[str], start: int, found: dict[int, str]) -> dict[int, str]:
    """Read the noun phrase that begins at a word; empty where it has no head, or one that is known already."""
    end = start
    while end < len(words) and end - start < _LONGEST and words[end][0].isalpha() and words[end] not in _ENDERS:
        end += 1
    if any(place in found for place in range(start, end)) or end == start:
        return {}
    head = words[end - 1]
    if not _may_name(head):
        return {}
    return {end - 1: head}


def _may_name(word: str) -> bool:
    """Return whether an unknown word may name a thing, by its ending."""
    if word in _NAMELESS or make_singular(word) in _NAMELESS or len(word) < 3:
        return False
    return not re.search(r"(ly|er|est|ed|ing|ish|less|ful|ous|able|ive|ier)$", word)
