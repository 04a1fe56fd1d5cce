"""Models that look at a place beside their trunk: the layer found by itself is no gate, no head and no stage alone.

Each answers for one colour of three, and says so exactly: the map of red must peak on the red square.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mmgrad_explain import MMGrad
from mmgrad_explain.errors import InputError

SQUARES = {0: (12, 12), 2: (48, 48)}  # colour to the centre of its square, in pixels


def scene(batch=1):
    """A small red and a large blue square on a dark ground."""
    x = 0.02 * torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    x[:, 0, 8:16, 8:16] += 1
    x[:, 2, 40:56, 40:56] += 1
    return x.repeat(batch, 1, 1, 1)


def identity(layer):
    """Have a convolution hand on each colour as it is."""
    nn.init.dirac_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def total(layer):
    """Have a convolution give the sum of the colours."""
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Base(nn.Module):
    """Cells of 8 x 8 pixels; ``answer`` reads a colour from the mean over the places."""

    def __init__(self):
        super().__init__()
        self.cells, self.relu = nn.AvgPool2d(8), nn.ReLU()
        self.build()

    def build(self):
        """Make what else there is."""

    def features(self, x):
        return self.relu(self.cells(x))

    @staticmethod
    def answer(grid, colour):
        return grid.mean((2, 3)).gather(1, colour)[:, 0]


class Gate(Base):
    def build(self):
        self.gate = total(nn.Conv2d(3, 1, 1))

    def forward(self, x, colour):
        f = self.features(x)
        return self.answer(f * self.gate(f), colour)


class DeepGate(Base):
    """Its hidden channels are several, and run last."""

    def build(self):
        self.gate = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Tanh(), total(nn.Conv2d(8, 1, 1)), nn.Sigmoid())

    def forward(self, x, colour):
        f = self.features(x)
        return self.answer(f * self.gate(f), colour)


class HeadsOfGates(Base):
    """A gate for each channel, which are mixed."""

    def build(self):
        self.gates = total(nn.Conv2d(3, 3, 1))

    def forward(self, x, colour):
        f = self.features(x)
        return self.answer(f * torch.sigmoid(self.gates(f)), colour)


class AttentionPooling(Base):
    def build(self):
        self.logits = total(nn.Conv2d(3, 1, 1))

    def forward(self, x, colour):
        f = self.features(x)
        weights = self.logits(f).flatten(2).softmax(2)
        return (f.flatten(2) * weights).sum(2).gather(1, colour)[:, 0]


class Objectness(Base):
    """The head says whether there is anything; another what it is."""

    def build(self):
        self.classes, self.objectness = identity(nn.Conv2d(3, 3, 1)), total(nn.Conv2d(3, 1, 1))

    def forward(self, x, colour):
        f = self.features(x)
        return self.answer(self.classes(f) * torch.sigmoid(self.objectness(f)), colour)


class Excitation(Base):
    """Squeeze and excitation, by hand."""

    def build(self):
        self.squeeze, self.excite = nn.AdaptiveAvgPool2d(1), identity(nn.Conv2d(3, 3, 1))

    def forward(self, x, colour):
        f = self.features(x)
        return self.answer(f * torch.sigmoid(self.excite(self.squeeze(f))), colour)


class Temperature(Base):
    def build(self):
        self.temperature = nn.Sequential(total(nn.Conv2d(3, 1, 1)), nn.Softplus())

    def forward(self, x, colour):
        f = self.features(x)
        return self.answer(f / (0.1 + self.temperature(f)), colour)


class Saliency(Base):
    """A mask that is made of the picture, not of the features."""

    def build(self):
        self.mask = nn.Sequential(nn.AvgPool2d(8), total(nn.Conv2d(3, 1, 1)), nn.Sigmoid())

    def forward(self, x, colour):
        return self.answer(self.features(x) * self.mask(x), colour)


class Auxiliary(Base):
    """A head for training, whose part of the output is not asked for; it comes as the second of two."""

    def build(self):
        self.head = identity(nn.Conv2d(3, 3, 1))
        self.both = _Both()

    def forward(self, x, colour):
        main, aux = self.both(self.head(self.features(x)))
        return {"logits": self.answer(main, colour), "aux_loss": self.answer(aux, colour).mean()}


class _Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.main, self.aux = identity(nn.Conv2d(3, 3, 1)), total(nn.Conv2d(3, 3, 1))

    def forward(self, x):
        return self.main(x), self.aux(x)


class Decoder(Base):
    """Small features, made large again: the last grid is four times as fine."""

    def build(self):
        self.up, self.smooth = nn.Upsample(scale_factor=4), nn.Conv2d(3, 3, 3, padding=1)
        identity(self.smooth)

    def forward(self, x, colour):
        return self.answer(self.smooth(self.up(self.features(x))), colour)


class Detector(Base):
    """Two anchors a cell: class logits of each, in one layer, and boxes, which the score does not use."""

    def build(self):
        self.logits, self.boxes = nn.Conv2d(3, 6, 1), nn.Conv2d(3, 8, 1)
        nn.init.zeros_(self.logits.bias)
        with torch.no_grad():
            self.logits.weight.copy_(torch.eye(3).repeat(2, 1)[:, :, None, None])

    def forward(self, x, colour):
        f = self.features(x)
        logits = self.logits(f).unflatten(1, (2, 3))
        return {"score": self.answer(logits.amax(1), colour), "boxes": self.boxes(f)}


class Plain(Base):
    def build(self):
        self.head = identity(nn.Conv2d(3, 3, 1))

    def forward(self, x, colour):
        return self.answer(self.head(self.features(x)), colour)


PLACED = (
    Gate, DeepGate, HeadsOfGates, AttentionPooling, Objectness, Excitation, Temperature, Saliency, Auxiliary, Decoder,
    Detector, Plain,
)  # fmt: skip
CHOSEN = {
    "Objectness": "classes",
    "HeadsOfGates": "relu",
    "Auxiliary": "both",
    "Decoder": "smooth",
    "Detector": "logits",
    "Plain": "head",
}


@pytest.fixture(params=PLACED, ids=lambda kind: kind.__name__)
def model(request):
    torch.manual_seed(0)
    return request.param().eval()


@pytest.mark.parametrize("colour", SQUARES)
def test_the_map_peaks_on_the_colour_that_is_asked_for(model, colour):
    mmgrad = MMGrad(model)
    y, x = mmgrad(scene(), torch.tensor([[colour]])).peak()
    expected = SQUARES[colour]
    assert abs(y - expected[0]) <= 8
    assert abs(x - expected[1]) <= 8
    assert mmgrad.layer_names == (CHOSEN.get(type(model).__name__, "relu"),)


def test_one_channel_is_taken_where_there_is_nothing_else():
    model = nn.Sequential(nn.Conv2d(3, 1, 8, 8), nn.Flatten(), nn.Linear(64, 1)).eval()
    assert MMGrad(model)(scene()).layer_names == ("0",)


RED = torch.tensor([[0]])


class TestTwoWays:
    class Two(Base):
        """Two networks on the picture, of which neither carries all."""

        share = 1.0

        def build(self):
            self.other = nn.Sequential(nn.AvgPool2d(16), identity(nn.Conv2d(3, 3, 1)))

        def forward(self, x, colour):
            return self.answer(self.features(x), colour) + self.share * self.answer(self.other(x), colour)

    def test_are_refused(self):
        with pytest.raises(InputError, match=r"meant: 'relu' 8 x 8 \(50%\), 'other' 4 x 4 \(50%\); name one"):
            MMGrad(self.Two())(scene(), RED)

    def test_unless_one_is_next_to_nothing(self):
        class Uneven(self.Two):
            share = 0.05

        assert MMGrad(Uneven())(scene(), RED).layer_names == ("relu",)


class TestOtherBatches:
    class Frames(Base):
        """Pictures in groups: each frame is a sample to the layers."""

        def forward(self, frames, colour):
            grid = self.features(frames.flatten(0, 1))
            return self.answer(grid.unflatten(0, frames.shape[:2]).mean(1), colour)

    @pytest.mark.parametrize("count", [2, 5])
    def test_frames_tiles_and_bags(self, count):
        frames = scene(2 * count).unflatten(0, (2, count))
        message = rf"layer 'relu' saw a batch of {2 * count}, {count} for each.*or give layout= a callable"
        with pytest.raises(InputError, match=message):
            MMGrad(self.Frames())(frames, torch.tensor([[0], [2]]))

    class Loop(Base):
        def forward(self, x, colour):
            pairs = zip(x.split(1), colour.split(1), strict=True)
            return torch.cat([self.answer(self.features(one), which) for one, which in pairs])

    @pytest.mark.parametrize("layer", [None, "relu"])
    def test_a_forward_that_loops(self, layer):
        message = "ran 3 times, with one sample each: the forward loops over its samples, so explain them one at a time"
        with pytest.raises(InputError, match=message):
            MMGrad(self.Loop(), layer)(scene(3), torch.tensor([[0], [2], [0]]))
        assert MMGrad(self.Loop(), layer)(scene(), RED).peak()[0] <= 16


def test_a_class_token_is_read_at_the_last_blocks_norm(zoo):
    """Most of the score goes round its patches, by the token itself: all that is taken from patches passes it."""
    model = zoo.build(zoo.ViT, size=(32, 40))
    found = MMGrad(model, score=zoo.class_score(), method="gradcam")(zoo.pictures(size=(32, 40)))
    assert found.layer_names == ("blocks.2.norm1",)


class ClassTokenAndPatches(nn.Module):
    """A class token gathers the patches; a dense head on the patches has a share of its own in the score."""

    def __init__(self, share):
        super().__init__()
        self.share = share
        self.stem, self.token = nn.Conv2d(3, 8, 8, 8), nn.Parameter(torch.zeros(1, 1, 8))
        self.attention = nn.MultiheadAttention(8, 1, batch_first=True)
        self.norm, self.head, self.dense = nn.LayerNorm(8), nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x, colour):
        tokens = torch.cat([self.token.expand(len(x), -1, -1), self.stem(x).flatten(2).mT], 1)
        tokens = self.norm(tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0])
        logits = self.head(tokens[:, 0]) + self.share * self.dense(tokens[:, 1:]).mean(1)
        return logits.gather(1, colour)[:, 0]


def test_a_dense_head_beside_a_class_token():
    torch.manual_seed(0)
    choices = r"several layers .*'dense' 8 x 8 \(-?\d%\); all of it passes 'stem' 8 x 8 before"
    with pytest.raises(InputError, match=choices):
        MMGrad(ClassTokenAndPatches(0.05).eval())(scene(), RED)
    torch.manual_seed(0)
    mmgrad = MMGrad(ClassTokenAndPatches(50).eval())
    mmgrad(scene(), RED)
    assert mmgrad.layer_names == ("dense",), "nearly all of the score passes it"


def test_bytes_through_a_gate():
    class Bytes(Gate):
        def forward(self, x, colour):
            return super().forward(x.float() / 255, colour)

    torch.manual_seed(0)
    made = MMGrad(Bytes().eval())((scene() * 255).clamp(max=255).to(torch.uint8), RED)
    assert made.layer_names == ("relu",)
    assert abs(made.peak()[0] - 12) <= 4


def test_clip_and_two_texts(zoo):
    """The map of a random CLIP is another for another text."""
    clip = zoo.clip()
    x, ids = zoo.pictures(1, (32, 32)).expand(2, -1, -1, -1), zoo.ids(2)
    ids[:, -1] = 19
    made = MMGrad(clip, method="layercam")(input_ids=ids, pixel_values=x)
    assert made.layer_names == ("vision_model.encoder.layers.1.layer_norm1",)
    one, other = (functional.normalize(signed.flatten(), dim=0) for signed in made.signed[made.layer_names[0]][0])
    assert abs(float(one @ other)) < 0.999
