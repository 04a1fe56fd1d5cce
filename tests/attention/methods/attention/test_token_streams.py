"""Tokens that are followed through cross-attention, poolers, two streams and joint sequences, against the paper."""

import importlib.util
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmgrad_explain import MMGrad, load_composer
from mmgrad_explain.attention.attention_layers.sites import AttentionSite
from mmgrad_explain.attention.methods.attention.token_streams import select_streams
from mmgrad_explain.attention.scores.named import ensure_score
from mmgrad_explain.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::mmgrad_explain.errors.MMGradWarning")


def _load(file):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TESTS = Path(__file__).parents[3]
plain = _load(Path(__file__).with_name("plain_relevancy.py"))
small = _load(TESTS / "composers" / "huggingface" / "small_models.py")
answering = _load(TESTS / "composers" / "generative" / "small_models.py")
small_llava = _load(TESTS / "composers" / "generative" / "small_llava.py")
EYE = lambda n: torch.eye(n, dtype=torch.float64)  # noqa: E731


@pytest.fixture(scope="module")
def composers(tmp_path_factory):
    """Kind to a small random model, made when it is first asked for."""
    made = {}

    def get(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            small.save_model(kind, folder)
            made[kind] = load_composer(folder)
        return made[kind]

    return get


@pytest.fixture(scope="module")
def images():
    draw = torch.Generator().manual_seed(6)
    return [Image.fromarray((torch.rand(32, 32, 3, generator=draw) * 255).byte().numpy()) for _ in range(2)]


def attention(composer, tensors, score):
    """Equation 5 for each attention of a call that the score depends on, [(B, N, M)]."""
    doubled = {name: x.double() if x.is_floating_point() else x for name, x in tensors.items()}
    score = ensure_score(score)
    seen = [(a, g) for a, g in plain.watch(composer, score, lambda one: one(**doubled)) if g is not None]
    return [torch.stack([plain.bar(*pair) for pair in zip(a, g, strict=True)]) for a, g in seen]


def row_maps(row, prefix):
    return row[:, prefix : prefix + 16].unflatten(1, (4, 4))


def assert_equal(found, wanted):
    torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=1e-5 * float(wanted.max()))


def maps_and_attention(composer, images, score):
    batch = composer.preprocess(images, small.TEXTS)
    found = MMGrad(composer, score=score, method="relevancy")(**batch.tensors)
    return found.maps, attention(composer, batch.tensors, score)


def each(*stacks):
    """The samples of several batches of matrices, one after the other."""
    return zip(*stacks, strict=True)


def test_the_probe_of_siglips_pooler_reads_the_tower(composers, images):
    found, seen = maps_and_attention(composers("siglip"), images, "image-text")
    first, second, pooler = (one for one in seen if one.shape[-1] == 16)
    rows = [(p @ plain.normalised((EYE(16) + b) @ (EYE(16) + a)))[0] for a, b, p in each(first, second, pooler)]
    assert_equal(found, row_maps(torch.stack(rows), 0))


def test_blips_text_reads_the_image_by_cross_attention(composers, images):
    found, seen = maps_and_attention(composers("blip"), images, "match")
    first, second, *text = seen
    rows = []
    for a, b, *layers in each(first, second, *text):
        ii = (EYE(17) + b) @ (EYE(17) + a)
        tt, ti = EYE(len(layers[0])), torch.zeros(len(layers[0]), 17, dtype=torch.float64)
        for own, cross in zip(layers[::2], layers[1::2], strict=True):
            tt, ti = tt + own @ tt, ti + own @ ti
            ti = ti + plain.normalised(tt).T @ cross @ plain.normalised(ii)
        rows.append(ti[0])
    assert_equal(found, row_maps(torch.stack(rows), 1))


def test_the_queries_of_blip_2_are_the_first_tokens_of_a_stream_with_the_words(composers, images):
    found, seen = maps_and_attention(composers("blip-2"), images, "match")
    rows = []
    for a, b, own, cross, last in each(*seen):
        ii = (EYE(17) + b) @ (EYE(17) + a)
        tt = EYE(len(own)) + own
        ti = plain.normalised(tt).T[:, :3] @ cross @ plain.normalised(ii)
        rows.append((ti + last @ ti)[:3].mean(0))
    assert_equal(found, row_maps(torch.stack(rows), 1))


def test_words_and_patches_of_vilt_are_one_sequence_with_its_patches_back_in_order(composers, images):
    found, seen = maps_and_attention(composers("vilt"), images, "match")
    rows = torch.stack([((EYE(len(a)) + b) @ (EYE(len(a)) + a))[0] for a, b in each(*seen)])
    assert_equal(found, row_maps(rows, rows.shape[1] - 16))


def test_the_two_streams_of_bridgetower_read_each_other_above_two_towers(composers, images):
    """Towers have 3 layers; cross layers begin after the second, read its tokens, and take in those of the third."""
    found, seen = maps_and_attention(composers("bridgetower"), images, "match")
    rows = []
    for t0, t1, i0, i1, ct, cti, ci, _, t2, i2, dt, dti, di, dit in each(*seen):
        tower_t, tower_i = EYE(len(t0)) + t0, EYE(17) + i0
        tt, ii = tower_t + t1 @ tower_t, tower_i + i1 @ tower_i
        of_t2, of_i2 = t2 @ tt, i2 @ ii
        tt1, ii1 = tt + ct @ tt, ii + ci @ ii
        ti = plain.normalised(tt1).T @ cti @ plain.normalised(ii)
        before_tt, before_ii, before_ti = tt1 + of_t2, ii1 + of_i2, ti
        tt2, ti2 = before_tt + dt @ before_tt, before_ti + dt @ before_ti
        ii2 = before_ii + di @ before_ii
        ti3 = ti2 + plain.normalised(tt2).T @ dti @ plain.normalised(before_ii)
        ii3 = ii2 + dit @ before_ti
        rows.append(ti3[0] + ii3[0])
    assert_equal(found, row_maps(torch.stack(rows), 1))


def test_the_positions_that_predict_an_answer_read_the_image_tokens_of_a_language_model(tmp_path, images):
    small_llava.model().save_pretrained(tmp_path)
    small_llava.processor().save_pretrained(tmp_path)
    composer = load_composer(tmp_path)
    batch = composer.preprocess(images, small_llava.QUESTIONS, answers=["red green", "blue"])
    found = MMGrad(composer, method="relevancy")(**batch.tensors).maps
    joined = [one for one in attention(composer, batch.tensors, composer.default_score) if one.shape[-1] > 17]
    for sample, (a, b) in enumerate(each(*joined)):
        total = (EYE(len(a)) + b) @ (EYE(len(a)) + a)
        labels = batch.tensors["labels"][sample]
        read = len(a) - len(labels) + (labels[1:] != -100).nonzero()[:, 0]
        places = (batch.tensors["input_ids"][sample] == 4).nonzero()[:, 0]
        assert_equal(found[sample], total[read].mean(0)[places].unflatten(0, (4, 4)))


@pytest.mark.parametrize("kind", ["gemma3", "idefics3", "paligemma", "qwen2_5_vl"])
def test_models_that_tile_pack_or_window_their_images_are_read_where_they_answer(kind):
    model = answering.Answering(kind)
    tensors, _ = answering.prepared(kind, answering.picture(kind), model.model)
    found = MMGrad(model, method="relevancy")(**tensors)
    ((layer, (maps,)),) = found.signed.items()
    length = tensors["input_ids"].shape[1]
    joined = [one for one in attention(model, tensors, lambda output: output) if one.shape[-1] == length]
    total = EYE(length)
    for (one,) in joined:
        total = total + one @ total
    row = total[-len(answering.ANSWER) - 1 : -1].mean(0)
    layout = model.layout_for(layer, **tensors)
    assert_equal(maps, layout.fold(layout.read(row[None, :, None])[:, 0]))


@pytest.mark.parametrize("kind", ["clip", "blip", "vilt"])
def test_many_texts_are_what_each_is_alone(composers, images, kind):
    composer, score = composers(kind), "match" if kind in small.MATCHING else "image-text"
    mmgrad = MMGrad(composer, score=score, method="relevancy")
    together = mmgrad.texts(images[0], small.TEXTS)
    for index, text in enumerate(small.TEXTS):
        alone = mmgrad(**composer.preprocess(images[:1], [text]).tensors)
        torch.testing.assert_close(together.maps[index], alone.maps[0], atol=1e-5, rtol=1e-3)


# -------------------------------------------------------------------------------------------------- what is selected


def site(block, queries, keys, asks, read, *, tokens_of=None, reached=True):
    flags = ("i" in asks, "t" in asks, "i" in read, "t" in read)
    return AttentionSite(block, 0, 0, 2, queries, keys, *flags, reached, tokens_of)


def test_a_text_of_its_own_is_left_out():
    image, text = site("v", 17, 17, "i", "i", tokens_of="v"), site("t", 5, 5, "t", "t")
    assert select_streams([text, image], "m") == [image]


def test_a_text_that_reads_the_image_is_followed():
    sites = [site("v", 17, 17, "i", "i", tokens_of="v"), site("t", 5, 5, "t", "t"), site("t", 5, 17, "t", "i")]
    assert select_streams(sites, "m") == sites


def test_a_tower_before_a_joint_sequence_is_left_out():
    tower, joint = site("v", 17, 17, "i", "i", tokens_of="v"), site("l", 26, 26, "it", "it", tokens_of="l")
    assert select_streams([tower, joint], "m") == [joint]
    same = site("v", 26, 26, "i", "i", tokens_of="v")
    assert select_streams([same, joint], "m") == [same, joint]


def test_no_attention_on_an_image_is_refused():
    with pytest.raises(InputError, match="none was seen"):
        select_streams([], "m")
    with pytest.raises(InputError, match="none of it is among tokens"):
        select_streams([site("w", 16, 16, "i", "i")], "m")


# ----------------------------------------------------------------------------------------------- a score of two streams


class Reader(torch.nn.Module):
    """A text that reads an image's tokens; the score reads a token of the image's tower and one of the text."""

    def __init__(self, zoo):
        super().__init__()
        self.embed = torch.nn.Conv2d(3, 8, 8, stride=8)
        self.blocks = torch.nn.ModuleList(zoo.Block() for _ in range(2))
        self.words = torch.nn.Embedding(20, 8)
        self.cross = torch.nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, image, ids):
        x = self.embed(image).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        text = self.words(ids)
        text = text + self.cross(text, x, x)[0]
        return (x[:, 4] * text[:, 1]).sum(-1)


def test_tokens_that_are_read_directly_are_told_from_tokens_that_are_read_by_the_text(zoo):
    model, x, ids = zoo.build(Reader, zoo), zoo.pictures(2), zoo.ids(2)
    found = MMGrad(model, method="relevancy")(x, ids).maps
    seen = plain.watch(model, lambda out: out, lambda one: one(x.double(), ids))
    rows = []
    for sample in range(2):
        a, b, cross = (plain.bar(p[sample], g[sample]) for p, g in seen)
        ii = (EYE(6) + b) @ (EYE(6) + a)
        rows.append(ii[4] + (cross @ plain.normalised(ii))[1])
    assert_equal(found, torch.stack(rows).unflatten(1, (2, 3)))
