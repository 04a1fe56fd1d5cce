"""What a model may tell about itself, and attributes of the same names that mean something else."""

from types import SimpleNamespace

from torch import nn

from mmgrad_explain.attention import model_hints


class Telling(nn.Module):
    target_layer, default_score, processor = "body", "shift", SimpleNamespace(encode_images=list, encode_texts=list)

    def layout_for(self, layer):
        """Leave it to be inferred."""

    def answer_layers(self):
        """Tell the language model."""
        return model_hints.AnswerLayers("text", ("text.0",))

    def answer_positions(self, output):
        """Give nothing."""

    def encode_image(self, pixels):
        """Give nothing."""

    encode_text = compose = encode_image


class Other(nn.Module):
    target_layer, default_score, processor = nn.Identity(), 0.5, SimpleNamespace(encode_images=list)
    encode_image, encode_text, compose = print, None, print
    answer_layers, answer_positions = "text", ("text",)


def test_a_model_that_tells():
    model = Telling()
    assert model_hints.ask_target_layer(model) == "body"
    assert model_hints.ask_default_score(model) == "shift"
    assert model_hints.ask_layout_for(model) == model.layout_for
    assert model_hints.ask_answer_layers(model).hidden == "text"
    assert model_hints.ask_answer_positions(model) == model.answer_positions
    assert model_hints.ask_text_stages(model) is model
    assert model_hints.ask_encode_text(model) == model.encode_text
    assert model_hints.ask_processor(model) is model.processor


def test_a_model_that_means_something_else():
    model = Other()
    asked = (
        "target_layer", "default_score", "layout_for", "answer_layers", "answer_positions", "text_stages",
        "encode_text", "processor",
    )  # fmt: skip
    assert [getattr(model_hints, f"ask_{name}")(model) for name in asked] == [None] * 8
