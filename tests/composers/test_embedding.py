"""Embeddings of images and queries, and what tells one model from another."""

from types import SimpleNamespace

import torch
from PIL import Image
from torch.nn import functional as F

from mmgrad_explain.composers.base import Composer
from mmgrad_explain.composers.embedding import embed_images, embed_query, fingerprint, identify, prepare_batches

BLACK = Image.new("RGB", (60, 40))


def test_an_image_is_embedded_as_a_target_is(tiny, picture):
    tiny.train()
    tensors = tiny.preprocess([picture, BLACK], ["make it red"] * 2, [BLACK, picture]).tensors
    with torch.no_grad():
        target = F.normalize(tiny.eval()(**tensors).target, dim=-1)
    tiny.train()
    torch.testing.assert_close(embed_images(tiny, [BLACK, picture]), target)
    assert all(module.training for module in tiny.modules())


def test_a_query_is_the_composed_embedding(tiny, picture):
    with torch.no_grad():
        output = tiny(**tiny.preprocess([picture], ["make it zzz"]).tensors)
    vector, notes = embed_query(tiny, picture, "make it zzz")
    torch.testing.assert_close(vector, F.normalize(output.embedding, dim=-1)[0])
    assert [note.kind for note in notes if note.kind == "unknown-words"] == ["unknown-words"]


def test_the_identity_hangs_on_weights_and_settings(tiny):
    first = identify(tiny)
    assert (first.name, first.dim, first.layer, first.score) == (
        tiny.name, tiny.embed_dim, "network.features", "shift"
    )  # fmt: skip
    assert fingerprint(tiny) == first.fingerprint
    tiny.processor = type(tiny.processor)(tiny.processor.tokenizer, **{
        name: value for name, value in vars(tiny.processor).items() if name != "tokenizer"
    })  # fmt: skip
    assert fingerprint(tiny) == first.fingerprint
    tiny.processor.fill += 1
    changed = fingerprint(tiny)
    assert changed != first.fingerprint
    with torch.no_grad():
        next(tiny.parameters()).view(-1)[0] += 1
    assert fingerprint(tiny) != changed


class Sizes(Composer):
    """Tells which images come together."""

    def __init__(self, **settings):
        super().__init__()
        self.processor = SimpleNamespace(**settings)

    def preprocess(self, images, texts, targets=None):
        return [image.size for image in images]


def test_images_of_several_shapes_are_prepared_one_by_one_where_shapes_are_kept():
    several = [BLACK, Image.new("RGB", (8, 8))]
    assert list(prepare_batches(Sizes(), [BLACK, BLACK], ["a"] * 2)) == [[(60, 40), (60, 40)]]
    assert list(prepare_batches(Sizes(), several, ["a"] * 2)) == [[(60, 40)], [(8, 8)]]
    assert list(prepare_batches(Sizes(keeps_shapes=True), several, ["a"] * 2)) == [[(60, 40)], [(8, 8)]]
    assert list(prepare_batches(Sizes(image_size=32), several, ["a"] * 2)) == [[(60, 40), (8, 8)]]
