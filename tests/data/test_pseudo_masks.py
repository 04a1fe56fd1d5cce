"""Masks without annotators: differences of features, referring segmentation."""

from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from PIL import Image

from mmgrad_explain.data.pseudo_masks import PseudoMasks, ReferringSegmenter, difference_masks
from mmgrad_explain.errors import InputError
from mmgrad_explain.grounding import AttentionGroundingLoss


class TestDifference:
    @pytest.fixture
    def pair(self):
        """Features of two images that differ in a block of cells, a little noise aside."""
        torch.manual_seed(0)
        reference = torch.randn(3, 16, 8, 8)
        target = reference + 0.05 * torch.randn(3, 16, 8, 8)
        target[:, :, 2:4, 5:7] = torch.randn(3, 16, 2, 2)
        return reference, target

    @pytest.fixture
    def block(self):
        block = torch.zeros(3, 8, 8)
        block[:, 2:4, 5:7] = 1
        return block

    @pytest.mark.parametrize("threshold", ["otsu", 0.3])
    def test_it_is_where_the_change_is(self, pair, block, threshold):
        made = difference_masks(*pair, threshold=threshold)
        assert torch.equal(made.masks, block)
        assert made.supervised.tolist() == [True] * 3
        assert made.reasons == (None,) * 3
        assert made.summarize() == "3 of 3 samples have a mask"

    def test_soft(self, pair, block):
        made = difference_masks(*pair, threshold=None)
        assert made.masks.dtype == torch.float32
        assert ((made.masks >= 0) & (made.masks <= 1)).all()
        assert (made.masks[block == 1] > 0.4).all()
        assert (made.masks[block == 0] < 0.1).all()

    def test_the_scale_of_features_does_not_count(self, pair):
        reference, target = pair
        other = difference_masks(100 * reference, (0.01 * target).double())
        assert torch.equal(other.masks, difference_masks(*pair).masks)

    def test_components(self, pair, block):
        reference, target = pair
        target[:, :, 7, 0] = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
        assert difference_masks(reference, target).masks[:, 7, 0].all()
        made = difference_masks(reference, target, components=1)
        assert torch.equal(made.masks, block)
        soft = difference_masks(reference, target, components=1, threshold=None)
        assert torch.equal(soft.masks > 0, block > 0)
        assert difference_masks(reference, target, components=2).masks[:, 7, 0].all()

    def test_pictures_that_do_not_differ(self, pair):
        reference, target = pair
        target[1] = reference[1]
        target[2] = torch.randn_like(target[2])
        made = difference_masks(reference, target)
        assert made.supervised.tolist() == [True, False, False]
        assert made.masks[1:].sum() == 0
        hardly, nearly = made.reasons[1:]
        assert hardly == "the features hardly differ (cosine distance below 0.02)"
        assert nearly == "the features differ nearly everywhere"
        assert made.summarize().startswith("1 of 3 samples have a mask; 1 without: ")

    def test_a_change_of_most_of_the_picture(self):
        reference = torch.ones(2, 4, 4, 4)
        target = reference.clone()
        target[0, 0, 0] = target[1, 0, :3] = -2.0
        assert difference_masks(reference, target, threshold=0.9).reasons == (
            None,
            "the features differ nearly everywhere",
        )

    @pytest.mark.parametrize(
        ("shapes", "options", "message"),
        [
            (
                ((1, 2, 3, 3), (1, 2, 4, 4)),
                {},
                r"must both be \(B, K, h, w\) with two cells or more, got \(1, 2, 3, 3\) and",
            ),
            (((2, 3, 3), (2, 3, 3)), {}, "features of reference and target must both be"),
            (((1, 2, 1, 1), (1, 2, 1, 1)), {}, "two cells or more"),
            (
                ((1, 2, 3, 3),) * 2,
                {"threshold": "mean"},
                "threshold must be 'otsu', a number between 0 and 1, or None, got",
            ),
            (((1, 2, 3, 3),) * 2, {"threshold": 1.5}, "threshold must be 'otsu'"),
            (((1, 2, 3, 3),) * 2, {"components": 0}, "components must be at least 1, or None, got 0"),
        ],
    )
    def test_wrong_ones(self, shapes, options, message):
        with pytest.raises(InputError, match=message):
            difference_masks(*map(torch.rand, shapes), **options)

    def test_not_finite(self):
        features = torch.rand(1, 2, 3, 3)
        with pytest.raises(InputError, match="features are not finite: check the encoder"):
            difference_masks(features, features * torch.nan)


@pytest.fixture(scope="module")
def clipseg(tmp_path_factory, write_clipseg):
    folder = tmp_path_factory.mktemp("clipseg")
    write_clipseg(folder)
    return folder


@pytest.fixture(scope="module")
def segmenter(clipseg):
    return ReferringSegmenter.from_pretrained(clipseg, device="cpu")


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)) for h, w in ((40, 60), (50, 30), (32, 32))]


PHRASES = ["the red dress", "a bag", "shoes"]


class TestReferring:
    def test_the_models_own_probabilities(self, segmenter, pictures):
        made = segmenter(pictures, PHRASES, least=0.0)
        assert isinstance(made, PseudoMasks)
        assert made.masks.shape == (3, 32, 32)
        for index, (picture, phrase) in enumerate(zip(pictures, PHRASES, strict=True)):
            inputs = segmenter.processor(text=[phrase], images=[picture], return_tensors="pt")
            with torch.no_grad():
                expected = segmenter.model(**inputs).logits.sigmoid().reshape(32, 32)
            torch.testing.assert_close(made.masks[index], expected)
        assert made.supervised.all()

    def test_batches_do_not_matter(self, segmenter, pictures):
        together, apart = (segmenter(pictures, PHRASES, least=0.0, batch=batch).masks for batch in (8, 1))
        torch.testing.assert_close(together, apart)

    def test_a_threshold(self, segmenter, pictures):
        soft = segmenter(pictures, PHRASES, least=0.0).masks
        cut = float(soft.median())
        assert torch.equal(segmenter(pictures, PHRASES, least=0.0, threshold=cut).masks, (soft >= cut).float())

    def test_nothing_above_the_threshold(self, segmenter, pictures):
        class Undecided(torch.nn.Linear):
            def forward(self, pixel_values, **others):
                return SimpleNamespace(logits=torch.zeros(len(pixel_values), 8, 8))

        made = ReferringSegmenter(Undecided(1, 1), segmenter.processor)(pictures, PHRASES, threshold=0.9)
        assert made.reasons == ("nothing is marked",) * 3
        assert not made.supervised.any()

    def test_what_is_not_found(self, segmenter, pictures):
        peaks = segmenter(pictures, PHRASES, least=0.0).masks.amax((1, 2))
        least = float(peaks.sort().values[:2].mean())
        made = segmenter(pictures, PHRASES, least=least)
        assert made.supervised.tolist() == (peaks >= least).tolist()
        assert int(made.supervised.sum()) == 2
        assert made.masks[~made.supervised].sum() == 0
        assert made.summarize() == f"2 of 3 samples have a mask; 1 without: nothing is marked with at least {least:g}"

    def test_the_loss_takes_them(self, segmenter, pictures):
        made = segmenter(pictures, PHRASES, least=0.0)
        maps = torch.rand(3, 4, 4, requires_grad=True)
        AttentionGroundingLoss()(maps, made.masks, supervised=made.supervised).backward()
        assert maps.grad.isfinite().all()

    @pytest.mark.parametrize(
        ("phrases", "options", "message"),
        [
            (["one"], {}, "give one phrase for each image, got 3 images and 1 phrases"),
            (["a", " ", "b"], {}, "phrases: number 1 is empty; say what to mark, such as 'the red dress'"),
            (PHRASES, {"threshold": 1.0}, "threshold must be a number between 0 and 1, or None, got 1.0"),
        ],
    )
    def test_wrong_ones(self, segmenter, pictures, phrases, options, message):
        with pytest.raises(InputError, match=message):
            segmenter(pictures, phrases, **options)


class TestLoading:
    def test_a_model_of_another_kind(self, tiny_folder):
        with pytest.raises(
            InputError, match="is a 'mmgrad_reference' model; referring segmentation takes a 'clipseg' model"
        ):
            ReferringSegmenter.from_pretrained(tiny_folder)

    def test_a_folder_without_weights(self, clipseg, tmp_path):
        (tmp_path / "config.json").write_text((clipseg / "config.json").read_text())
        with pytest.raises(InputError, match="holds no usable CLIPSeg: "):
            ReferringSegmenter.from_pretrained(tmp_path)

    @pytest.mark.parametrize("name", ["clipseg", "./nowhere/else", "a/b/c"])
    def test_no_such_folder(self, name):
        with pytest.raises(
            InputError, match=rf"no model '{name}': give a folder, or a hub id owner/name such as CIDAS"
        ):
            ReferringSegmenter.from_pretrained(name)

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (LocalEntryNotFoundError("x"), "the model hub cannot be reached for 'owner/name'.*give a local folder"),
            (HFValidationError("bad name\nmore"), "'owner/name' cannot be fetched from the model hub: bad name$"),
            (OSError("disk full"), "'owner/name' cannot be fetched from the model hub: disk full"),
        ],
    )
    def test_the_hub_fails(self, monkeypatch, error, message):
        def fail(*args, **kwargs):
            raise error

        monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
        with pytest.raises(InputError, match=message):
            ReferringSegmenter.from_pretrained("owner/name")

    def test_the_hub_gives_it(self, monkeypatch, clipseg, pictures):
        monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *args, **kwargs: str(clipseg))
        segmenter = ReferringSegmenter.from_pretrained("owner/name")
        assert not segmenter.model.training
        assert segmenter(pictures[:1], ["bag"], least=0.0).masks.shape == (1, 32, 32)
