"""PaliGemma (arXiv 2407.07726) and PaliGemma 2 (arXiv 2412.03555): one square of patches an image."""

from importlib.metadata import version
from typing import Any

from mmgrad_explain.composers.family_files import always
from mmgrad_explain.composers.generative.family import GenerativeCheckpoint, GenerativeFamily
from mmgrad_explain.composers.generative.one_square import place_in_square, square_layout


def _logit_cap(config: Any) -> float | None:
    """Return the bound of PaliGemma 2's logits, which transformers applies from version 5 on."""
    cap = getattr(config.get_text_config(), "final_logit_softcapping", None)
    return None if cap is None or int(version("transformers").partition(".")[0]) < 5 else float(cap)


FAMILIES = {
    "paligemma": GenerativeFamily(
        "PaliGemma, PaliGemma 2",
        "PaliGemmaForConditionalGeneration",
        always("model.multi_modal_projector"),
        square_layout,
        place_in_square,
        "<image>{question}",
        GenerativeCheckpoint(
            "google/paligemma2-3b-mix-448",
            "SiglipImageProcessor",
            {"size": {"height": 448, "width": 448}},
            {"vision_config": {"model_type": "siglip_vision_model", "image_size": 448, "patch_size": 14}},
        ),
        types={"token_type_ids": 1},
        prompt_type=0,
        labels=True,
        logit_cap=_logit_cap,
    ),
}
