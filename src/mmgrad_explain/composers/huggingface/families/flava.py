"""FLAVA (Singh et al., arXiv 2112.04482): its contrastive part."""

from mmgrad_explain.composers.family_files import last_block_input
from mmgrad_explain.composers.huggingface.family import ContrastiveCheckpoint, ContrastiveFamily

FAMILIES = {
    "flava": ContrastiveFamily(
        "FLAVA, its contrastive part",
        "FlavaModel",
        last_block_input("image_model", "encoder.layer", "layernorm_before"),
        ContrastiveCheckpoint("facebook/flava-full"),
    ),
}
