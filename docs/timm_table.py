"""Write the table of timm's architectures in docs/towers.md, or check that it is what the code says.

Each row is run: the model is built with random weights, the layer is found by asking it, and a cell that is marked on
the picture is looked for in that layer's output. One model of each file of timm is taken, the smallest that is quick.

Usage: ``python docs/timm_table.py [--check]`` (some minutes)
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import page_table
import timm
import torch
from torch import nn

from mmgrad_explain.attention import describe_layout
from mmgrad_explain.composers.towers import GridLayer, find_grid_layer
from mmgrad_explain.errors import InputError

PAGE = Path(__file__).parent / "towers.md"

# What is built, and what is changed in it so that it is quick: pictures of 224 pixels or fewer blocks.
_FEW = {"img_size": 224, "depth": 4}
_AS_THEY_ARE = """
    beit_base_patch16_224 botnet26t_256 bat_resnext26ts cait_xxs24_224 coat_tiny convmixer_768_32 coat_lite_tiny
    convit_tiny convnext_atto cpubone_b0_bfrobust crossvit_9_240 csatv2 cs3darknet_focus_s cspnext_tiny davit_tiny
    deit_tiny_distilled_patch16_224 deit3_small_patch16_224 densenet121 dla34 dpn48b edgenext_xx_small
    efficientformer_l1 efficientformerv2_s0 efficientnet_b0 efficientvim_m1 efficientvit_b0 efficientvit_m0
    eva02_tiny_patch14_224 vit_small_patch16_dinov3 fasternet_t0 fastvit_t8 fastvit_mci0 focalnet_tiny_srf
    gcvit_xxtiny ghostnet_050 hardcorenas_a hgnetv2_b0 hiera_tiny_224 sam2_hiera_tiny hrnet_w18_small iformer_s
    inception_next_atto inception_v3 inception_v4 inception_resnet_v2 lcnetv2_small levit_128s lowformer_b0
    mambaout_femto coatnet_nano_rw_224 maxvit_nano_rw_256 poolformer_s12 mixer_s32_224 gmlp_ti16_224 resmlp_12_224
    mobilenetv3_small_050 mobilenetv4_conv_small mobilevit_xxs mvitv2_tiny naflexvit_base_patch16_gap
    naflexvit_base_patch16_map nest_tiny nextvit_small dm_nfnet_f0 pit_ti_224 pvt_v2_b0 rdnet_tiny regnetx_002
    repghostnet_050 repvit_m0_9 res2net50_14w_8s resnest14d resnet10t resnetv2_18 rexnet_100 selecsls42
    legacy_seresnet18 sequencer2d_s shvit_s1 skresnet18 starnet_s050 swiftformer_xs swin_tiny_patch4_window7_224
    swinv2_tiny_window8_256 swinv2_cr_tiny_224 tiny_vit_5m_224 tnt_s_patch16_224 tresnet_m twins_pcpvt_small
    twins_svt_small vgg11 visformer_tiny vit_tiny_patch16_224 vit_base_patch16_siglip_224
    vit_base_patch16_siglip_gap_224 vit_base_r26_s32_224 vit_relpos_small_patch16_224 samvit_base_patch16_224
    vitamin_small_224 volo_d1_224 ese_vovnet19b_slim_dw legacy_xception xception41 xcit_nano_12_p16_224
    nasnetalarge pnasnet5large
"""
MODELS: dict[str, dict[str, Any]] = {name: {} for name in _AS_THEY_ARE.split()}
MODELS |= {
    "deepseek_vit_412m": _FEW,
    "gemma4_vit_167m": _FEW,
    "qwen3_vit_88m": _FEW,
    "vit_small_patch14_reg4_dinov2": {"img_size": 224},
}


def row(name: str, options: dict[str, Any]) -> list[str]:
    """One model's cells."""
    torch.manual_seed(0)
    changed = ", ".join(f"{key}={value}" for key, value in options.items())
    title = f"`{name}`" + (f" ({changed})" if changed else "")
    model = lively(timm.create_model(name, num_classes=0, **options)).eval()
    side = options.get("img_size")
    size = (side, side) if side else tuple(model.pretrained_cfg["input_size"][1:])
    try:
        layer, _ = find_grid_layer(model, size)
    except InputError as error:
        return [title, f"{size[0]}", "refused", "", "", str(error)]
    where = describe_layout(layer.layout)
    seen = is_found_again(model, layer, size)
    if not seen:  # with the weights that timm begins with?
        seen = is_found_again(timm.create_model(name, num_classes=0, **options).eval(), layer, size)
    found = "yes" if seen else "not to be seen"
    return [title, f"{size[0]}", f"`{layer.name}`", f"{layer.grid[0]} x {layer.grid[1]}", where, found]


def lively(model: nn.Module) -> nn.Module:
    """Random weights that let everything through: in a new model many are near zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            for name, value in module.named_parameters(recurse=False):
                if value.ndim > 1:
                    value.normal_(0, value[0].numel() ** -0.5, generator=generator)
                elif name == "weight" and "norm" in type(module).__name__.lower():
                    value.fill_(1)
    return model


def is_found_again(model: nn.Module, layer: GridLayer, size: tuple[int, int]) -> bool:
    """Whether what changes most at the layer is the cell that was changed on the picture, or one beside it.

    Two cells off the middle; the mean over three pictures of noise.
    """
    outputs: list[Any] = []
    handle = model.get_submodule(layer.name).register_forward_hook(lambda _m, _i, output: outputs.append(output))
    generator = torch.Generator().manual_seed(0)
    cells = [(layer.grid[0] // 4, layer.grid[1] // 2), (layer.grid[0] - 2, 1)]
    apart = torch.zeros(len(cells), *layer.grid)
    high, wide = (side / cells for side, cells in zip(size, layer.grid, strict=True))
    with torch.no_grad():
        for _ in range(3):
            pixels = torch.randn(1, 3, *size, generator=generator).repeat(1 + len(cells), 1, 1, 1)
            for index, (y, x) in enumerate(cells, start=1):
                pixels[index, :, round(y * high) : round((y + 1) * high), round(x * wide) : round((x + 1) * wide)] += 2
            model(pixels)
            grid = layer.read(outputs[-1][0] if isinstance(outputs[-1], tuple) else outputs[-1])
            change = (grid[1:] - grid[:1]).square().sum(1)
            apart += change / change.amax((1, 2), keepdim=True)
    handle.remove()
    peaks = [divmod(int(one.argmax()), layer.grid[1]) for one in apart]
    return all(max(abs(y - to[0]), abs(x - to[1])) <= 1 for (y, x), to in zip(peaks, cells, strict=True))


def table() -> str:
    """The whole table."""
    head = ["model", "pixels", "layer", "grid", "layout", "a marked cell is found again"]
    rows = []
    for name, options in sorted(MODELS.items()):
        rows.append(row(name, options))
        sys.stderr.write(f"{' | '.join(rows[-1])}\n")
    return page_table.markdown(head, rows)


def main(arguments: list[str]) -> int:
    """Write or check."""
    warnings.simplefilter("ignore")
    return page_table.main(PAGE, "timm_table.py", table, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
