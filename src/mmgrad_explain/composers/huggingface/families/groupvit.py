"""GroupViT (Xu et al., arXiv 2202.11094); its patches are all present until they are put into groups."""

from mmgrad_explain.composers.family_files import always
from mmgrad_explain.composers.huggingface.family import ContrastiveCheckpoint, ContrastiveFamily

FAMILIES = {
    "groupvit": ContrastiveFamily(
        "GroupViT",
        "GroupViTModel",
        always("model.vision_model.encoder.stages.0.downsample.norm_x"),
        ContrastiveCheckpoint("nvidia/groupvit-gcc-yfcc"),
    ),
}
