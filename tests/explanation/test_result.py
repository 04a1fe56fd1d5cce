"""The result: what it measures, how it is drawn, and that saving is all or nothing."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mmgrad_explain.attention import MMGrad
from mmgrad_explain.errors import InputError, OutputExistsError
from mmgrad_explain.explanation import Explanation
from mmgrad_explain.images import overlay, saving
from mmgrad_explain.images.placement import Placement, fit
from mmgrad_explain.notes import Note


@pytest.fixture
def explanation():
    """Two samples, two calls, a bright cell in the lower left of the first map."""
    maps = torch.zeros(2, 4, 6)
    maps[0, 3, 1] = 2.0
    maps[1] = torch.arange(24.0).view(4, 6)
    other = torch.zeros(2, 2, 3)
    other[0, 0, 2] = 1.0
    flat = torch.tensor([False, False])
    layers = {"tower.body": [maps, other]}
    return Explanation(
        calls=(maps, other),
        score=torch.tensor([0.5, 0.25]),
        score_name="pair",
        weighting="gradcam",
        layers=layers,
        signed={"tower.body": [maps - 1, other]},
        layouts={"tower.body": ("nchw", "nchw")},
        flat=flat,
        clipped=flat,
        input_size=(16, 24),
        versions={"torch": "x"},
        model="Model",
    )


@pytest.fixture
def with_pictures(explanation):
    """The same with pictures twice the model's input, a target among them."""
    pixels = np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    pictures = tuple(Image.fromarray(pixels + shade) for shade in (0, 1))
    placement = Placement((32, 48), (16, 24), (0.5, 0.5), (0.0, 0.0))
    return replace(
        explanation,
        texts=("make it red", "schöner"),
        images=pictures,
        placements=(placement,) * 2,
        targets=pictures,
        target_placements=(placement,) * 2,
    )


class TestNumbers:
    def test_properties(self, explanation):
        assert len(explanation) == 2
        assert explanation.maps is explanation.calls[0]
        assert explanation.layer_names == ("tower.body",)
        assert explanation.grids == {"tower.body": (4, 6)}
        assert repr(explanation) == "Explanation(2 x 4 x 6, 2 calls; gradcam of pair at tower.body)"
        noted = replace(explanation, notes=(Note("caution", "mind the gap"), Note("flat-map", "it is flat", (1,))))
        assert repr(noted).endswith("; note: mind the gap; note: sample 1: it is flat)")
        assert [len(noted.notes_of(index)) for index in (0, 1, -1)] == [1, 2, 2]
        assert noted.manifest()["notes"][1] == {"kind": "flat-map", "text": "it is flat", "samples": [1]}
        with pytest.raises(InputError, match="index must be below 2"):
            noted.notes_of(2)

    def test_it_cannot_be_changed(self, explanation):
        with pytest.raises(AttributeError, match="cannot assign to field 'score_name'"):
            explanation.score_name = "other"

    def test_resize(self, explanation):
        assert explanation.resize((8, 12)).shape == (2, 8, 12)
        assert explanation.resize(10).shape == (2, 10, 10)
        assert torch.equal(explanation.resize((4, 6)), explanation.maps)

    def test_to(self, explanation):
        moved = explanation.to("meta")
        tensors = [*moved.calls, moved.score, moved.flat, moved.clipped, *moved.layers["tower.body"]]
        assert {tensor.device.type for tensor in tensors + moved.signed["tower.body"]} == {"meta"}
        assert explanation.maps.device.type == "cpu"

    def test_heatmap_without_a_placement(self, explanation):
        heat = explanation.heatmap(0)
        assert heat.shape == (16, 24), "the model input's pixels"
        assert heat.dtype == np.float32
        assert heat.max() == 1
        assert heat.min() == 0
        assert replace(explanation, input_size=None).heatmap(0).shape == (4, 6)
        assert replace(explanation, input_size=None).heatmap(0, normalize=False).max() == 2
        assert np.array_equal(explanation.heatmap(-1), explanation.heatmap(1))

    def test_heatmap_on_the_original_pixels(self, with_pictures):
        heat = with_pictures.heatmap(0)
        assert heat.shape == (32, 48)
        assert with_pictures.peak(0) == np.unravel_index(heat.argmax(), heat.shape)
        y, x = with_pictures.peak(0)
        assert (y // 8, x // 8) == (3, 1), "the bright cell, eight original pixels wide"
        y, x = with_pictures.peak(0, target=True)
        assert (y // 16, x // 16) == (0, 2)

    @pytest.mark.parametrize("mode", ["stretch", "crop", "letterbox"])
    @pytest.mark.parametrize("size", [(90, 30), (30, 90), (40, 60)])
    def test_a_dot_is_found_again(self, mode, size):
        """A bright dot in a picture of any shape, through the model's input and back."""

        class Bright(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = torch.nn.AvgPool2d(4)

            def forward(self, x):
                return self.layer(x).square().sum((1, 2, 3))

        pixels = np.zeros((size[1], size[0], 3), np.uint8)
        y, x = size[1] // 2 + 6, size[0] // 2 - 7
        pixels[y - 3 : y + 4, x - 3 : x + 4] = 255
        picture, placement = fit(Image.fromarray(pixels), 64, mode=mode, fill=(0, 0, 0))
        made = MMGrad(Bright(), "layer")(torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255.0)
        found = replace(made, placements=(placement,)).peak(0)
        assert abs(found[0] - y) <= 4
        assert abs(found[1] - x) <= 4

    def test_flat_maps_are_zeros(self, explanation):
        even = torch.full((1, 4, 6), 3.0)
        flat = replace(explanation, calls=(even,), flat=torch.tensor([True]))
        assert (flat.heatmap(0) == 0).all()
        assert flat.concentration(0) == 0
        with pytest.raises(InputError, match="map of sample 0 is flat: it has no peak"):
            flat.peak(0)

    def test_concentration(self, explanation):
        grid = replace(explanation, input_size=None)
        assert grid.concentration(0) == 1
        brightest = sorted(range(24), reverse=True)[:12]
        assert grid.concentration(1, 0.5) == pytest.approx(sum(brightest) / sum(range(24)))
        assert grid.concentration(1, 1.0) == 1
        assert grid.concentration(0, 0.2, target=True) == 1
        for fraction in (0, 1.5):
            with pytest.raises(InputError, match=rf"fraction must be in \(0, 1\], not {fraction}"):
                grid.concentration(0, fraction)

    def test_brightest_region(self, explanation):
        region = replace(explanation, input_size=None).brightest_region(0)
        assert (region.share, region.box) == (1.0, (1, 3, 2, 4))

    @pytest.mark.parametrize("index", [2, -3])
    def test_no_such_sample(self, explanation, index):
        with pytest.raises(InputError, match=f"index must be below 2, the number of samples, not {index}"):
            explanation.heatmap(index)

    def test_no_target(self, explanation):
        with pytest.raises(InputError, match="target: the layer ran once, so there is no map of a target"):
            replace(explanation, calls=explanation.calls[:1]).heatmap(0, target=True)


class TestPictures:
    def test_overlay_lays_the_map_on_the_picture(self, with_pictures, monkeypatch):
        drawn = []

        def blend(image, heat, **options):
            drawn.append((image, heat, options))
            return np.asarray(image)

        monkeypatch.setattr(overlay, "blend", blend)
        panel = with_pictures.overlay(0, alpha=0.3, colormap="magma", threshold=0.25)
        assert isinstance(panel, Image.Image)
        (reference, heat, options), (target, target_heat, _) = drawn
        assert reference is with_pictures.images[0]
        assert target is with_pictures.targets[0]
        assert np.array_equal(heat, with_pictures.heatmap(0))
        assert np.array_equal(target_heat, with_pictures.heatmap(0, target=True))
        assert options == {"alpha": 0.3, "colormap": "magma", "threshold": 0.25}
        with_pictures.overlay(1, target=False)
        assert len(drawn) == 3

    def test_a_threshold_leaves_the_picture_below_it(self, with_pictures):
        whole, cut = (
            np.asarray(with_pictures.overlay(1, target=False, threshold=threshold)) for threshold in (0.0, 0.9)
        )
        middle = whole.shape[1] // 2  # the picture is left of it, with its map on the right
        assert np.array_equal(whole[:, :middle], cut[:, :middle])
        assert not np.array_equal(whole, cut)
        with pytest.raises(InputError, match=r"threshold must be in \[0, 1\), not 1"):
            with_pictures.overlay(0, threshold=1)

    def test_overlay_is_wider_with_a_target_and_differs_with_a_contour(self, with_pictures):
        both, alone = with_pictures.overlay(0), with_pictures.overlay(0, target=False)
        assert both.width > alone.width
        outlined = with_pictures.overlay(0, target=False, contour=True)
        assert not np.array_equal(np.asarray(outlined), np.asarray(alone))

    def test_a_picture_handed_in(self, explanation):
        """It may have another size than the model's input."""
        pixels = np.full((50, 75, 3), 90, np.uint8)
        assert isinstance(explanation.overlay(0, image=pixels), Image.Image)
        assert isinstance(explanation.overlay(0, image=pixels, target=Image.fromarray(pixels)), Image.Image)
        with pytest.raises(InputError, match="does not know its picture, so pass image="):
            explanation.overlay(0)

    def test_notebooks(self, with_pictures, explanation):
        data = with_pictures._repr_png_()
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(with_pictures.overlay(0)))
        assert explanation._repr_png_() is None

    def test_show(self, with_pictures, monkeypatch):
        shown = []
        monkeypatch.setattr(Image.Image, "show", lambda self: shown.append(self.size))
        with_pictures.show(1, target=False)
        assert shown == [with_pictures.overlay(1, target=False).size]


class TestSave:
    def test_everything_is_there(self, with_pictures, tmp_path):
        folder = with_pictures.save(tmp_path / "out")
        assert sorted(path.name for path in folder.iterdir()) == [
            "manifest.json",
            "maps.npz",
            "overlay_0000.png",
            "overlay_0001.png",
        ]
        arrays = np.load(folder / "maps.npz", allow_pickle=False)
        assert np.array_equal(arrays["maps"], with_pictures.maps.numpy())
        assert np.array_equal(arrays["maps_call1"], with_pictures.calls[1].numpy())
        assert np.array_equal(arrays["signed/tower.body/0"], with_pictures.signed["tower.body"][0].numpy())
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        assert manifest == json.loads(json.dumps(with_pictures.manifest()))
        assert manifest["texts"] == ["make it red", "schöner"]
        assert manifest["score"] == [0.5, 0.25]
        assert manifest["layers"] == {"tower.body": [[2, 4, 6], [2, 2, 3]]}
        assert Placement.from_dict(manifest["placements"][0]) == with_pictures.placements[0]
        assert [path.name for path in tmp_path.iterdir()] == ["out"], "nothing is left beside it"
        assert folder.stat().st_mode & 0o777 == 0o755

    def test_without_pictures(self, tmp_path):
        model = torch.nn.Sequential()
        model.add_module("early", torch.nn.Conv2d(3, 4, 3, stride=2))
        model.add_module("late", torch.nn.Conv2d(4, 4, 3, stride=2))
        made = MMGrad(model, ["early", "late"], lambda output: output.sum((1, 2, 3)), layout=lambda x: x)(
            torch.rand(2, 3, 32, 32, generator=torch.manual_seed(0))
        )
        folder = made.save(str(tmp_path / "out"))
        assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "maps.npz"]
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["layouts"] == {"early": ["<lambda>"], "late": ["<lambda>"]}
        assert manifest["fuse"] == "mean"

    def test_an_existing_folder_is_refused(self, explanation, tmp_path):
        explanation.save(tmp_path / "out")
        before = (tmp_path / "out" / "maps.npz").read_bytes()
        with pytest.raises(OutputExistsError, match="exists; choose another one or pass overwrite=True"):
            replace(explanation, score_name="other").save(tmp_path / "out")
        assert (tmp_path / "out" / "maps.npz").read_bytes() == before
        replace(explanation, score_name="other").save(tmp_path / "out", overwrite=True)
        assert json.loads((tmp_path / "out" / "manifest.json").read_text())["score_name"] == "other"
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_somebody_elses_folder_is_never_replaced(self, explanation, tmp_path):
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
        with pytest.raises(
            OutputExistsError, match="holds something else than a saved explanation and is not replaced"
        ):
            explanation.save(tmp_path / "thesis", overwrite=True)
        assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
        (tmp_path / "empty").mkdir()
        explanation.save(tmp_path / "empty", overwrite=True)
        (tmp_path / "file").write_text("x")
        with pytest.raises(OutputExistsError, match="is not replaced"):
            explanation.save(tmp_path / "file", overwrite=True)

    @pytest.mark.parametrize("manifest", [{"complete": True, "options": {}}, {"manifest_version": 3}, []])
    def test_a_manifest_of_something_else_is_none_of_an_explanation(self, explanation, tmp_path, manifest):
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(OutputExistsError, match="holds something else than a saved explanation"):
            explanation.save(tmp_path, overwrite=True)
        assert json.loads((tmp_path / "manifest.json").read_text()) == manifest

    @pytest.mark.parametrize("name", ["notes.txt", "overlay_0000.psd", "more"])
    def test_what_was_put_beside_an_explanation_stays(self, with_pictures, tmp_path, name):
        folder = with_pictures.save(tmp_path / "out")
        (folder / name).mkdir() if name == "more" else (folder / name).write_text("mine")
        with pytest.raises(OutputExistsError, match=f"is not replaced: {name}"):
            with_pictures.save(folder, overwrite=True)
        assert (folder / name).exists()

    def test_a_link_to_a_folder_stays_a_link(self, explanation, tmp_path):
        explanation.save(tmp_path / "out")
        (tmp_path / "link").symlink_to("out")
        replace(explanation, score_name="other").save(tmp_path / "link", overwrite=True)
        assert (tmp_path / "link").is_symlink()
        assert json.loads((tmp_path / "out" / "manifest.json").read_text())["score_name"] == "other"
        assert {path.name for path in tmp_path.iterdir()} == {"out", "link"}

    @pytest.mark.parametrize("step", ["picture", "manifest"])
    def test_a_failure_leaves_what_was_there(self, with_pictures, tmp_path, monkeypatch, step):
        with_pictures.save(tmp_path / "out")
        before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

        def fail(*_args, **_options):
            raise OSError(28, "No space left on device")

        if step == "picture":
            monkeypatch.setattr(saving, "safe_save", fail)
        else:
            monkeypatch.setattr(json, "dumps", fail)
        with pytest.raises(InputError, match=r"out cannot be written \(No space left on device\)"):
            with_pictures.save(tmp_path / "out", overwrite=True)
        with pytest.raises(InputError, match="cannot be written"):
            with_pictures.save(tmp_path / "new")
        assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_a_failure_while_the_folders_are_exchanged(self, explanation, tmp_path, monkeypatch):
        explanation.save(tmp_path / "out")
        plain = type(tmp_path).replace
        moves = []

        def replacing(self, goal):
            moves.append(self.name)
            if len(moves) == 2:
                raise OSError(13, "Permission denied")
            return plain(self, goal)

        monkeypatch.setattr(type(tmp_path), "replace", replacing)
        with pytest.raises(InputError, match="Permission denied"):
            explanation.save(tmp_path / "out", overwrite=True)
        assert json.loads((tmp_path / "out" / "manifest.json").read_text())["score_name"] == "pair"
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_nowhere_to_write(self, explanation, tmp_path):
        with pytest.raises(InputError, match=r"folder: .*missing/out cannot be written \(No such file or directory\)"):
            explanation.save(tmp_path / "missing" / "out")

    def test_one_samples_arrays(self, with_pictures, tmp_path):
        with_pictures.save_arrays(tmp_path / "one.npz", 1)
        arrays = np.load(tmp_path / "one.npz", allow_pickle=False)
        assert sorted(arrays) == ["heatmap", "map", "score", "target_heatmap", "target_map"]
        assert np.array_equal(arrays["heatmap"], with_pictures.heatmap(1))
        assert arrays["score"] == np.float32(0.25)
        with pytest.raises(OutputExistsError):
            with_pictures.save_arrays(tmp_path / "one.npz", 1)
