"""Maps from kept matrices, of some images of a batch; tests/training/test_feature_cache.py trains with them."""

import torch

from mmgrad_explain.attention.methods.named import ensure_method
from mmgrad_explain.training.config import ModelOptions
from mmgrad_explain.training.kept_maps import KeptMaps, MapStore
from mmgrad_explain.training.models import starting_composer


def test_matrices_of_the_chosen_images_are_kept_and_make_their_maps(clip_folder, tmp_path):
    composer = starting_composer(ModelOptions(path=str(clip_folder), combiner_width=16, freeze=("clip",)), ())
    pixels = torch.randn(3, 3, 32, 32)
    methods = [ensure_method(name) for name in ("gradcam", "hirescam")]
    asked = []

    def start(images):
        asked.append(len(images))
        return composer.encode_image(images).detach(), composer.embed

    kept = KeptMaps(MapStore(composer, tmp_path, methods, start, "float32"), ["a0", "b0", "c0"], pixels, [0, 1, 2])
    embedding = composer.embed(composer.encode_image(pixels)).detach()[[2, 0]].requires_grad_()
    score = (embedding.square() * torch.arange(16)).sum(-1)
    maps = kept.take(torch.tensor([2, 0])).attend(score, [embedding])
    assert asked == [2]
    assert maps.shape == (2, 2, 4, 4)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2

    with kept.store._mmgrad.capture() as seen:
        whole = composer.embed(composer.encode_image(pixels))[[2, 0]]
    whole_score = (whole.square() * torch.arange(16)).sum(-1)
    gradient = torch.autograd.grad(whole_score.sum(), seen.activations)[0][[2, 0], 1:]
    activation = seen.activations[0].detach()[[2, 0], 1:]
    torch.testing.assert_close(
        maps[1].flatten(1).detach(),
        (gradient * activation).sum(-1),
        rtol=1e-4,
        atol=1e-5 * float(maps.detach().abs().max()),
    )
    assert kept.take(torch.tensor([1, 0])).take(torch.tensor([1])).rows == [0]
    one = embedding[:1].detach().requires_grad_()
    again = kept.take(torch.tensor([2])).attend((one.square() * torch.arange(16)).sum(-1), [one])
    torch.testing.assert_close(again[:, 0], maps[:, 0])
    assert asked == [2]
