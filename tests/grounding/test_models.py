"""The loss on the maps of whole models: a few steps on one batch, with several kinds of models."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmgrad_explain.attention import MMGrad
from mmgrad_explain.grounding import FORMS, AttentionGroundingLoss


def pictures(size, batch=4):
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


def masks(size, batch=4):
    """A square in another corner for each sample."""
    drawn = torch.zeros(batch, size, size)
    half = size // 2
    for index in range(batch):
        top, left = (index % 2) * half, (index // 2 % 2) * half
        drawn[index, top : top + half, left : left + half] = 1
    return drawn


class Lesson:
    """Trains ``model`` on maps of its layer and keeps what happened."""

    def __init__(self, model, layer, score, *, size, steps=12, rate=1e-2, form="dice", autocast=False):
        self.before = copy.deepcopy(dict(model.named_parameters()))
        self.model = model
        trainable = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(trainable, lr=rate)
        mmgrad = MMGrad(model, layer)
        loss_of = AttentionGroundingLoss(form)
        self.losses, self.maps = [], []
        for step in range(steps):
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast), mmgrad.capture() as seen:
                value = score(model)
            maps = mmgrad.attend(value, seen, create_graph=True, relu=False)
            loss = loss_of(maps, masks(size))
            optimizer.zero_grad()
            loss.backward()
            if step == 0:
                self.reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
                self.finite = all(p.grad is None or bool(p.grad.isfinite().all()) for p in trainable)
            optimizer.step()
            self.losses.append(float(loss.detach()))
            self.maps.append(maps.detach())

    def check(self, *, before, after):
        """It learned, every trainable part took part, and nothing else moved."""
        assert self.finite
        assert self.losses[-1] < 0.9 * self.losses[0], self.losses
        for part in (*before, *after):
            assert any(part in name for name in self.reached), f"no gradient in {part}"
        for name, parameter in self.model.named_parameters():
            same = torch.equal(parameter, self.before[name])
            assert same or parameter.requires_grad, f"{name} is frozen and moved"
            assert not (same and name in self.reached), f"{name} has a gradient and did not move"


class TestReference:
    @pytest.fixture
    def network(self, tiny_config):
        from mmgrad_explain.composers.reference.build import build_network

        return build_network(tiny_config)

    @staticmethod
    def score(network):
        ids = torch.randint(2, 60, (4, 5), generator=torch.Generator().manual_seed(2))
        shift = network(pictures(32), ids, torch.ones_like(ids)).shift
        return (shift * shift.detach()).sum(-1)

    @pytest.mark.parametrize("form", FORMS)
    def test_every_form(self, network, form):
        lesson = Lesson(network, "features", self.score, size=32, form=form, rate=1e-3)
        lesson.check(before=["visual", "neck"], after=["text", "shift"])

    def test_under_autocast(self, network):
        lesson = Lesson(network, "features", self.score, size=32, rate=1e-3, autocast=True)
        lesson.check(before=["visual", "neck"], after=["text", "shift"])

    def test_a_frozen_backbone(self, network):
        network.visual.requires_grad_(False)
        Lesson(network, "features", self.score, size=32, rate=1e-3).check(before=["neck"], after=["text", "shift"])

    def test_autocast_hardly_changes_the_gradient(self, network):
        """The loss is computed in float32; what bfloat16 changes is the model's own arithmetic."""
        gradients = []
        for autocast in (False, True):
            twin = copy.deepcopy(network)
            mmgrad = MMGrad(twin, "features")
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast), mmgrad.capture() as seen:
                value = self.score(twin)
            maps = mmgrad.attend(value, seen, create_graph=True, relu=False)
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                loss = AttentionGroundingLoss()(maps, masks(32))
            loss.backward()
            gradients.append(torch.cat([p.grad.flatten() for p in twin.shift.parameters() if p.grad is not None]))
        assert F.cosine_similarity(*gradients, dim=0) > 0.95


class Tirg(nn.Module):
    """A ResNet, a bag of words, a gate and a residual: the composer of Vo et al., arXiv 1812.07119, on its grid."""

    def __init__(self, width=64):
        super().__init__()
        import timm

        channels = (16, 32, 48, width)
        self.visual = timm.create_model("resnet18", channels=channels, num_classes=0, global_pool="")
        self.words = nn.EmbeddingBag(20, width)
        self.gate = nn.Sequential(nn.Conv2d(2 * width, width, 1), nn.Sigmoid())
        self.residual = nn.Sequential(nn.Conv2d(2 * width, width, 1), nn.GELU(), nn.Conv2d(width, width, 1))

    def forward(self, image, ids):
        grid = self.visual(image)
        text = self.words(ids)[:, :, None, None].expand(-1, -1, *grid.shape[2:])
        both = torch.cat([grid, text], 1)
        return (self.gate(both) * grid + self.residual(both)).mean((2, 3))


def test_a_tirg_resnet():
    model = Tirg().eval()
    target = torch.randn(4, 64)
    ids = torch.arange(16).view(4, 4)

    def score(model):
        return F.cosine_similarity(model(pictures(128), ids), target)

    lesson = Lesson(model, "visual.layer4", score, size=128, rate=3e-3)
    assert lesson.maps[0].shape == (4, 4, 4)
    lesson.check(before=["visual.conv1", "visual.layer3"], after=["words", "gate", "residual"])


class Combiner(nn.Module):
    """A CLIP whose two embeddings are mixed by a small network (the design of CLIP4Cir, Baldrati et al. 2022)."""

    def __init__(self, clip, width):
        super().__init__()
        self.clip = clip
        self.joint = nn.Sequential(nn.Linear(2 * width, 2 * width), nn.GELU())
        self.share = nn.Sequential(nn.Linear(2 * width, 1), nn.Sigmoid())
        self.added = nn.Linear(2 * width, width)

    def forward(self, pixel_values, input_ids):
        output = self.clip(input_ids=input_ids, pixel_values=pixel_values)
        image, text = output.image_embeds, output.text_embeds
        joint = self.joint(torch.cat([image, text], -1))
        share = self.share(joint)
        return F.normalize(self.added(joint) + share * text + (1 - share) * image, dim=-1)


def test_a_clip_with_a_combiner_and_lora():
    from peft import LoraConfig, inject_adapter_in_model
    from transformers import CLIPConfig, CLIPModel

    width = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**width, "vocab_size": 40, "max_position_embeddings": 8, "eos_token_id": 39, "bos_token_id": 38},
        vision_config={**width, "image_size": 64, "patch_size": 16},
        projection_dim=32,
    )
    clip = CLIPModel(config).requires_grad_(False)
    for projection in (clip.visual_projection, clip.text_projection):
        nn.init.orthogonal_(projection.weight)
    model = Combiner(clip, 32).eval()
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "fc1"], init_lora_weights="gaussian")
    inject_adapter_in_model(lora, model.clip)
    trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert any("lora" in name for name in trainable)
    assert not any(name.startswith("clip.") and "lora" not in name for name in trainable)
    ids = torch.arange(16).view(4, 4)
    ids = torch.cat([ids, torch.full((4, 1), 39)], 1)
    target = F.normalize(torch.randn(4, 32), dim=-1)

    def score(model):
        return (model(pictures(64), ids) * target).sum(-1)

    layer = "clip.vision_model.encoder.layers.1.layer_norm1"
    lesson = Lesson(model, layer, score, size=64, steps=25, rate=2e-2)
    assert lesson.maps[0].shape == (4, 4, 4)
    early, late = "vision_model.encoder.layers.0", "vision_model.encoder.layers.1"
    lesson.check(before=[early], after=[late, "text_model", "joint", "share", "added"])


def test_a_vit():
    import timm

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            sizes = {"img_size": 64, "patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 0}
            self.visual = timm.create_model("vit_tiny_patch16_224", **sizes)
            self.words = nn.EmbeddingBag(20, 32)

        def forward(self, image, ids):
            return (self.visual(image) * self.words(ids)).sum(-1)

    model = Model().eval()
    model.visual.patch_embed.requires_grad_(False)
    ids = torch.arange(16).view(4, 4)
    lesson = Lesson(model, "visual.blocks.1.norm1", lambda m: m(pictures(64), ids), size=64)
    assert lesson.maps[0].shape == (4, 4, 4)
    lesson.check(before=["visual.blocks.0", "visual.pos_embed"], after=["visual.blocks.1", "words"])
