"""LLaVA-1.5 (Liu et al., arXiv 2310.03744): one square of patches an image."""

from mmgrad_explain.composers.family_files import always
from mmgrad_explain.composers.generative.family import GenerativeCheckpoint, GenerativeFamily
from mmgrad_explain.composers.generative.one_square import place_in_square, square_layout

FAMILIES = {
    "llava": GenerativeFamily(
        "LLaVA-1.5",
        "LlavaForConditionalGeneration",
        always("model.multi_modal_projector"),
        square_layout,
        place_in_square,
        "USER: <image>\n{question} ASSISTANT:",
        GenerativeCheckpoint(
            "llava-hf/llava-1.5-7b-hf",
            "CLIPImageProcessor",
            {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}},
            {"vision_config": {"model_type": "clip_vision_model", "image_size": 336, "patch_size": 14}},
        ),
    ),
}
