"""The attention that is found in models: what it depends on, which block it belongs to, whose tokens it reads."""

import pytest
import timm
import torch
import torchvision
import transformers

from mmgrad_explain.attention.attention_layers.sites import find_attention_sites
from mmgrad_explain.attention.running.undisturbed import undisturbed

SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = {**SIZES, "vocab_size": 40, "max_position_embeddings": 10, "pad_token_id": 0, "bos_token_id": 38}
VISION = {**SIZES, "image_size": 32, "patch_size": 8}


def sites_of(model, score, *args, **kwargs):
    with undisturbed(model, (args, kwargs)):
        return find_attention_sites(model, args, kwargs, score)


def sources(site):
    flags = (site.queries_from_image, site.queries_from_text, site.keys_from_image, site.keys_from_text)
    asks, reads = (("i" if one else "") + ("t" if other else "") for one, other in (flags[:2], flags[2:]))
    return asks, reads


def test_the_blocks_of_a_vision_transformer_read_their_own_tokens(zoo):
    model = zoo.build(zoo.ViT)
    sites = sites_of(model, zoo.class_score(), zoo.pictures())
    assert [site.block for site in sites] == [site.tokens_of for site in sites] == [f"blocks.{n}" for n in range(3)]
    assert all(site.is_self and site.of_image_alone and site.reached for site in sites)
    assert (sites[0].heads, sites[0].queries, sites[0].keys) == (2, 7, 7)


def test_blocks_whose_names_have_no_number_are_found_by_their_attention(zoo):
    model = zoo.build(torchvision.models.VisionTransformer, 32, 8, 2, 2, 16, 32, num_classes=5)
    sites = sites_of(model, zoo.class_score(), zoo.pictures(1, (32, 32)))
    names = [f"encoder.layers.encoder_layer_{number}" for number in range(2)]
    assert [site.tokens_of for site in sites] == names


def test_towers_of_image_and_text_are_told_apart(zoo):
    x, ids = zoo.pictures(2, (32, 32)), torch.tensor([[1, 2, 19], [3, 4, 19]])
    sites = sites_of(zoo.clip(), "image-text", pixel_values=x, input_ids=ids)
    by_tower = {site.block.partition(".")[0]: site for site in sites}
    assert sources(by_tower["text_model"]) == ("t", "t")
    assert by_tower["text_model"].reads_no_image
    assert by_tower["text_model"].tokens_of is None
    assert sources(by_tower["vision_model"]) == ("i", "i")


def test_a_text_that_reads_an_image_twice_and_words_that_have_read_it_lie_nowhere(zoo):
    config = transformers.BlipConfig(
        text_config={**TEXT, "encoder_hidden_size": 16, "sep_token_id": 39}, vision_config=VISION,
        projection_dim=16, image_text_hidden_size=16,
    )  # fmt: skip
    model = zoo.build(transformers.BlipForImageTextRetrieval, config)
    given = {"pixel_values": zoo.pictures(1, (32, 32)), "input_ids": torch.tensor([[38, 3, 4, 5, 39]])}
    sites = sites_of(model, lambda output: output.itm_score[:, 1], **given)
    text = [site for site in sites if site.block.startswith("text_encoder")]
    assert [(site.index, *sources(site)) for site in text] == [
        (0, "t", "t"), (1, "t", "i"), (0, "it", "it"), (1, "it", "i"),
    ]  # fmt: skip
    last = "vision_model.encoder.layers.1"
    assert [site.tokens_of for site in text] == [None, last, None, last]
    assert [site.block for site in text[:2]] == ["text_encoder.encoder.layer.0"] * 2


def test_a_pooler_reads_the_tokens_of_the_last_block(zoo):
    model = zoo.build(transformers.SiglipModel, transformers.SiglipConfig(text_config=TEXT, vision_config=VISION))
    given = {"pixel_values": zoo.pictures(1, (32, 32)), "input_ids": torch.arange(1, 6)[None]}
    pooler = next(site for site in sites_of(model, "image-text", **given) if site.queries == 1)
    assert pooler.block == "vision_model.head.attention"
    assert (pooler.queries, pooler.keys, sources(pooler)) == (1, 16, ("", "i"))
    assert pooler.tokens_of == "vision_model.encoder.layers.1"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("swin_tiny_patch4_window7_224", {"embed_dim": 8, "depths": (2, 2), "num_heads": (1, 2), "window_size": 4}),
        ("resnet10t", {}),
    ],
)
def test_windows_and_convolutions_have_no_attention_among_tokens_of_the_image(zoo, name, options):
    options = {"img_size": 64, **options} if "swin" in name else options
    model = zoo.build(timm.create_model, name, num_classes=4, **options)
    assert all(site.tokens_of is None for site in sites_of(model, zoo.class_score(), zoo.pictures(1, (64, 64))))


def test_tokens_that_are_merged_are_not_those_that_a_block_returns(zoo):
    class Merging(torch.nn.Module):
        """A block that returns every second token."""

        def __init__(self):
            super().__init__()
            self.inner = zoo.Block()

        def forward(self, x):
            return self.inner(x)[:, ::2]

    model = zoo.build(zoo.ViT, depth=1, prefix=0, pool="mean", size=(32, 32))
    model.blocks.append(Merging())
    sites = sites_of(model, zoo.class_score(), zoo.pictures(1, (32, 32)))
    assert [site.tokens_of for site in sites] == ["blocks.0", "blocks.0"]


def test_attention_that_runs_without_gradients_is_left_out(zoo):
    class Frozen(torch.nn.Module):
        """The first block is frozen by ``torch.no_grad``."""

        def __init__(self):
            super().__init__()
            self.vit = zoo.ViT()

        def forward(self, x):
            blocks, self.vit.blocks = self.vit.blocks, self.vit.blocks[1:]
            try:
                with torch.no_grad():
                    x = blocks[0](self.vit.embed(x).flatten(2).transpose(1, 2))
                for block in self.vit.blocks:
                    x = block(x)
                return self.vit.head(x.mean(1))
            finally:
                self.vit.blocks = blocks

    sites = sites_of(zoo.build(Frozen), zoo.class_score(), zoo.pictures())
    assert [site.block for site in sites] == ["vit.blocks.1", "vit.blocks.2"]


def test_a_place_that_is_only_guessed_from_the_number_of_tokens_is_checked(zoo):
    class Reading(torch.nn.Module):
        """Two words, 16 patches and 4 words in one sequence: as many tokens as a grid with 6 in front has."""

        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Conv2d(3, 8, 8, stride=8)
            self.words = torch.nn.Embedding(20, 8)
            self.layers = torch.nn.ModuleList(zoo.Block() for _ in range(2))

        def forward(self, image, ids):
            x = self.embed(image).flatten(2).transpose(1, 2)
            x = torch.cat([self.words(ids[:, :2]), x, self.words(ids[:, 2:])], 1)
            for layer in self.layers:
                x = layer(x)
            return x[:, -1].sum(-1)

    sites = sites_of(zoo.build(Reading), None, zoo.pictures(2, (32, 32)), zoo.ids(2, 6))
    assert [site.tokens_of for site in sites] == [None, None]
