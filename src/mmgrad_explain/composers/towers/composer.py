"""Any vision tower of timm beside a text tower, projected into one space (as in LiT, Zhai et al., arXiv 2111.07991).

``i = normalise(P v(I))`` and ``t = normalise(Q w(T))``, with linear maps ``P`` and ``Q``; the default score is the
cosine ``<i, t>`` (:mod:`~mmgrad_explain.composers.dual_encoder`). The default layer is found by running the timm model
(:mod:`~mmgrad_explain.composers.towers.timm_layers`).
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgrad_explain.composers.dual_encoder import to_unit
from mmgrad_explain.composers.files import fitting, read_own_model, write_model
from mmgrad_explain.composers.huggingface.loading import first_line, silent
from mmgrad_explain.composers.model_types import TWO_TOWER
from mmgrad_explain.composers.towers.framing import timm_framing
from mmgrad_explain.composers.towers.processor import TwoTowerProcessor, read_tokenizer
from mmgrad_explain.composers.towers.timm_layers import GridLayer, find_grid_layer
from mmgrad_explain.composers.towers.tower_composer import TowerComposer
from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

Pool = Literal["class", "mean", "last", "pooler"]
POOLS = ("class", "mean", "last", "pooler")
"""How a text tower's states are pooled to one vector."""


class TwoTowerComposer(TowerComposer):
    """A vision tower and a text tower with projections into one space.

    Args:
        vision: Embeds images ``(B, 3, H, W)`` to ``(B, V)``.
        text: ``text(input_ids=, attention_mask=)`` gives ``(B, W)``, or an output with ``last_hidden_state``,
            ``(B, L, W)``.
        image_projection: ``P``, ``(D, V)``.
        text_projection: ``Q``, ``(D, W)``.
        processor: For them.
        pool: The vector of a text: its first token (``"class"``), the ``"mean"`` of its tokens, the ``"last"`` one, or
            the tower's own pooled output (``"pooler"``).
        name: What the model is called.

    Raises:
        InputError: The projections do not fit one another, or ``pool`` is unknown.
    """

    def __init__(
        self,
        vision: nn.Module,
        text: nn.Module,
        image_projection: Tensor,
        text_projection: Tensor,
        processor: TwoTowerProcessor,
        *,
        pool: Pool = "class",
        name: str = "two towers",
    ) -> None:
        super().__init__()
        if image_projection.ndim != 2 or text_projection.ndim != 2 or len(image_projection) != len(text_projection):
            shapes = f"{tuple(image_projection.shape)} and {tuple(text_projection.shape)}"
            raise InputError(f"the projections must be (D, width of the tower) with one D, not {shapes}")
        if pool not in POOLS:
            raise InputError(f"pool must be one of {', '.join(map(repr, POOLS))}, not {pool!r}")
        self.vision = vision
        self.text = text
        self.image_projection = nn.Parameter(image_projection.detach().clone().float())
        self.text_projection = nn.Parameter(text_projection.detach().clone().float())
        self.processor = processor
        self.pool = pool
        self.name = name
        self.recipe: dict[str, Any] | None = None
        """The part of the config by which a folder builds the towers again; None if they were given as modules."""

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Embed images ``(B, 3, H, W)``: unit embeddings ``(B, D)``."""
        features = self.vision(pixel_values)
        return to_unit(F.linear(features.to(self.image_projection.dtype), self.image_projection))

    def embed_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Embed ids and mask ``(B, L)``: unit embeddings ``(B, D)``.

        Raises:
            InputError: The text tower's output cannot be pooled this way.
        """
        output = self.text(input_ids=input_ids, attention_mask=attention_mask)
        pooled = pool_text(output, attention_mask, self.pool)
        return to_unit(F.linear(pooled.to(self.text_projection.dtype), self.text_projection))

    @classmethod
    def from_timm(
        cls,
        vision: str | nn.Module,
        text: str | Path | nn.Module,
        embed_dim: int = 512,
        *,
        tokenizer: Any = None,
        pool: Pool = "class",
        vision_options: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        image_projection: Tensor | None = None,
        text_projection: Tensor | None = None,
        layer: str | None = None,
        name: str | None = None,
    ) -> TwoTowerComposer:
        """Put two towers together.

        Args:
            vision: A name in timm, built without weights unless ``vision_options`` has ``pretrained=True``, or a module
                of timm that gives one vector for an image.
            text: A folder or hub id of a text model of transformers with its tokenizer, or a module.
            embed_dim: D, for projections that are not given; these are random.
            tokenizer: Of transformers, where ``text`` is a module.
            pool: See :class:`TwoTowerComposer`.
            vision_options: For ``timm.create_model``.
            data: Changes to timm's own data config of the model: ``input_size`` and so on. An ``img_size`` in
                ``vision_options`` is the default size of the input.
            image_projection: (D, V).
            text_projection: (D, W).
            layer: Dotted name inside the vision tower of the layer to explain, if it cannot be found.
            name: What the model is called.

        Raises:
            InputError: A tower cannot be built or loaded, its layer cannot be found, or the parts do not fit.
        """
        import timm

        options = {"num_classes": 0, **(vision_options or {})}
        tower = _timm_tower(vision, options) if isinstance(vision, str) else vision
        settings = {**timm.data.resolve_model_data_config(tower), **_size_from(options), **(data or {})}
        text_model, read = _text_tower(text)
        tokenizer = tokenizer or (read_tokenizer(str(text)) if read else None)
        if tokenizer is None:
            raise InputError("tokenizer: a text tower that is a module needs one: give a tokenizer of transformers")
        framing, was_training = timm_framing(settings), tower.training
        found, width = None, 0
        if layer is None or image_projection is None:
            try:
                found, width = find_grid_layer(tower.eval(), framing.size)
            except InputError as error:
                message = f"{error}. Name the layer= to explain and give an image_projection="
                raise InputError(message) from error
            except (AssertionError, RuntimeError) as error:
                size = f"{framing.size[0]} x {framing.size[1]}"
                message = f"vision: the tower does not take images of {size} pixels ({first_line(error)})"
                raise InputError(f'{message}: give its own size, data={{"input_size": (3, H, W)}}') from error
            finally:
                tower.train(was_training)
        if image_projection is None:
            image_projection = _random_projection(embed_dim, width)
        if text_projection is None:
            text_projection = _random_text_projection(text_model, embed_dim)
        processor = TwoTowerProcessor(framing, tokenizer, _longest_text(text_model, tokenizer))
        title = name or f"{vision if isinstance(vision, str) else type(vision).__name__} with a text tower"
        composer = cls(tower, text_model, image_projection, text_projection, processor, pool=pool, name=title)
        composer._explain_in_tower(found if layer is None else None, layer, framing.size)
        if isinstance(vision, str) and read:
            options.pop("pretrained", None)
            shape = {
                key: settings[key] for key in ("input_size", "interpolation", "mean", "std", "crop_pct", "crop_mode")
            }
            composer.recipe = {
                "vision": {"architecture": vision, "options": options, "data": shape},
                "text": {"config": text_model.config.to_dict(), "encoder": read == "encoder"},
            }
        return composer.eval()

    def _explain_in_tower(self, found: GridLayer | None, layer: str | None, size: tuple[int, int]) -> None:
        self.explain_at(None if found is None else replace(found, name=f"vision.{found.name}"), size)
        if layer is not None:
            self.target_layer = f"vision.{layer}"
            try:
                self.get_submodule(self.target_layer)
            except AttributeError as error:
                raise InputError(f"layer: the vision tower has no layer {layer!r}") from error

    # ----------------------------------------------------------------------------------------------------------- files

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config, weights and tokenizer into a folder; make the folder if needed.

        Raises:
            InputError: The towers were given as modules, which a folder cannot build again.
        """
        if self.recipe is None:
            raise InputError("towers that were given as modules cannot be saved: name the vision tower, and a folder")
        folder = Path(folder)
        config = {
            "model_type": TWO_TOWER,
            "embed_dim": len(self.image_projection),
            "pool": self.pool,
            "max_tokens": self.processor.max_tokens,
            "target_layer": self.target_layer,
            "grid_layer": None if self.grid_layer is None else asdict(self.grid_layer),
            **self.recipe,
        }
        write_model(folder, config, self.state_dict())
        self.processor.tokenizer.save_pretrained(folder)

    @classmethod
    def from_pretrained(cls, folder: str | Path, name: str | None = None) -> TwoTowerComposer:
        """Read what :meth:`save_pretrained` wrote; no code in the folder is run, nothing is fetched.

        Raises:
            InputError: The folder holds no such model, or its weights do not fit its config.
        """
        from transformers import AutoConfig, AutoModel

        folder = Path(folder)
        config, weights = read_own_model(folder, TWO_TOWER)
        with fitting(folder):
            vision, text = config["vision"], config["text"]
            tower = _timm_tower(_check_architecture(vision), dict(vision["options"]))
            shape = dict(text["config"])
            text_model = AutoModel.from_config(AutoConfig.for_model(shape.pop("model_type"), **shape))
            text_model = text_model.get_encoder() if text["encoder"] else text_model
            projections = (weights["image_projection"], weights["text_projection"])
            tokens = TwoTowerProcessor(
                timm_framing(vision["data"]), read_tokenizer(str(folder)), int(config["max_tokens"])
            )
            composer = cls(tower, text_model, *projections, tokens, pool=config["pool"], name=name or folder.name)
            composer.load_state_dict(weights)
            layer = config["grid_layer"]
            known = None if layer is None else GridLayer(**{**layer, "grid": tuple(layer["grid"])})
        composer.explain_at(known, composer.processor.framing.size)
        composer.target_layer = config.get("target_layer")
        composer.recipe = {"vision": vision, "text": text}
        return composer.eval()


def pool_text(output: Any, attention_mask: Tensor, pool: str) -> Tensor:
    """Pool a text tower's output to one vector for each text, ``(B, W)``.

    Args:
        output: ``(B, W)``, ``(B, L, W)``, or something with ``last_hidden_state`` and perhaps ``pooler_output``.
        attention_mask: ``(B, L)``.
        pool: One of :data:`POOLS`; a tensor ``(B, W)`` is taken as it is.

    Raises:
        InputError: It cannot be pooled this way.
    """
    states = output if isinstance(output, Tensor) else getattr(output, "last_hidden_state", None)
    if pool == "pooler" and not isinstance(output, Tensor):
        states = getattr(output, "pooler_output", None)
    if not isinstance(states, Tensor) or states.ndim not in (2, 3):
        raise InputError(f"pool: a text tower that gives a {type(output).__name__} cannot be pooled by {pool!r}")
    if states.ndim == 2:
        return states
    mask = attention_mask.to(states)
    if pool == "mean":
        return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    if pool == "last":
        last = (mask * torch.arange(states.shape[1]).to(mask)).argmax(1)
        return states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2]))[:, 0]
    first: Tensor = states[:, 0]
    return first


def _timm_tower(name: str, options: dict[str, Any]) -> nn.Module:
    import timm

    try:
        return timm.create_model(name, **options)  # type: ignore[no-any-return]
    except (RuntimeError, TypeError, ValueError, AttributeError, AssertionError) as error:
        raise InputError(f"vision: timm cannot build {name!r} ({first_line(error)})") from error


def _size_from(options: Mapping[str, Any]) -> dict[str, Any]:
    """Get the part of the data config that follows from a tower's options."""
    size = options.get("img_size")
    return {} if size is None else {"input_size": (3, size, size) if isinstance(size, int) else (3, *size)}


def _check_architecture(vision: Mapping[str, Any]) -> str:
    """Get the architecture from a folder's config, which must not load weights from elsewhere."""
    name = str(vision["architecture"])
    loading = sorted(
        key for key in vision["options"] if key.startswith("pretrained") or key in {"checkpoint_path", "cache_dir"}
    )
    if loading or ":" in name:
        raise InputError(
            f"vision: a model's config must not load weights from elsewhere ({', '.join(loading) or name})"
        )
    return name


def _text_tower(text: str | Path | nn.Module) -> tuple[Any, str]:
    """Get the text model, and how it was read: ``"model"``, its ``"encoder"`` alone, or ``""`` for a module."""
    if isinstance(text, nn.Module):
        return text, ""
    from transformers import AutoModel

    try:
        with silent():
            model = AutoModel.from_pretrained(str(text), trust_remote_code=False)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"text: {text} cannot be loaded as a text model: {first_line(error)}") from error
    if getattr(model.config, "is_encoder_decoder", False):
        return model.get_encoder(), "encoder"
    return model, "model"


def _random_text_projection(text: Any, embed_dim: int) -> Tensor:
    config = getattr(text, "config", None)
    width = next((value for key in ("hidden_size", "d_model", "dim") if (value := getattr(config, key, None))), None)
    if width is None:
        raise InputError("text_projection: the width of the text tower is not known: give a (D, width) projection")
    return _random_projection(embed_dim, int(width))


def _random_projection(embed_dim: int, width: int) -> Tensor:
    return torch.randn(embed_dim, width) * math.sqrt(1 / width)


def _longest_text(text: Any, tokenizer: Any) -> int:
    """Count the tokens of the longest text that both tower and tokenizer take."""
    config = getattr(text, "config", None)
    positions = getattr(config, "max_position_embeddings", None) or 512
    if "roberta" in str(getattr(config, "model_type", "")):  # positions are counted from the one after the padding's
        positions -= int(getattr(config, "pad_token_id", 1)) + 1
    return min(int(positions), int(tokenizer.model_max_length))
