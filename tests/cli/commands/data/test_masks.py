"""``mmgrad-explain data masks`` from the shell's side."""

import json

from cir_miniatures import draw_images, write_fashioniq


def test_masks_are_made_counted_and_drawn(run, tmp_path):
    root = draw_images("fashioniq", write_fashioniq(tmp_path / "iq"))
    command = ("data", "masks", "fashioniq", root, "--split", "train", "--category", "dress", "--size", "16")
    code, out, _ = run(*command, "--masks", "difference", "--masks", "segments", "--sheet", tmp_path / "sheet.png")
    assert code == 0
    assert out.startswith("4 of 4 captions have a mask, in ")
    assert "  by maker: segments 4\n" in out
    assert "difference: 4 without: reference and target are different photographs" in out
    assert (tmp_path / "sheet.png").stat().st_size
    code, out, _ = run(*command, "--masks", "difference", "--json")
    assert (code, json.loads(out)["with a mask"]) == (0, 0)
    code, _, err = run(*command, "--masks", "self")
    assert code == 2
    assert "makes no masks" in err
