"""ALIGN (Jia et al., arXiv 2102.05918): a convolutional vision tower and BERT."""

from mmgrad_explain.composers.family_files import always
from mmgrad_explain.composers.huggingface.family import ContrastiveCheckpoint, ContrastiveFamily

FAMILIES = {
    "align": ContrastiveFamily(
        "ALIGN",
        "AlignModel",
        always("model.vision_model.encoder"),
        ContrastiveCheckpoint("kakaobrain/align-base", {"vision_config": {"image_size": 289, "hidden_dim": 640}}),
    ),
}
