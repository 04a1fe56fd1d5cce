"""Gemma 3 (arXiv 2503.19786): one square of patches an image, which the projector averages."""

from mmgrad_explain.composers.family_files import always
from mmgrad_explain.composers.generative.family import GenerativeCheckpoint, GenerativeFamily
from mmgrad_explain.composers.generative.one_square import place_in_square, square_layout

FAMILIES = {
    "gemma3": GenerativeFamily(
        "Gemma 3",
        "Gemma3ForConditionalGeneration",
        always("model.multi_modal_projector"),
        square_layout,
        place_in_square,
        "<start_of_turn>user\n<start_of_image>{question}<end_of_turn>\n<start_of_turn>model\n",
        GenerativeCheckpoint(
            "google/gemma-3-4b-it",
            "Gemma3ImageProcessor",
            {"size": {"height": 896, "width": 896}},
            {"vision_config": {"model_type": "siglip_vision_model", "image_size": 896, "patch_size": 14}},
        ),
        types={"token_type_ids": 0},
    ),
}
