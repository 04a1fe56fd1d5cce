"""Several scores of one forward: each has its own gradient and maps, and no forward is repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from mmgrad_explain.attention.assembly import assemble, weigh_all
from mmgrad_explain.attention.gradient import batches_of, check_grids_reached, layouts_of, take_gradients
from mmgrad_explain.attention.layers.candidates import find_layer, resolve_score
from mmgrad_explain.attention.modules import find_layers
from mmgrad_explain.attention.scores.embedding import check_finite, check_score
from mmgrad_explain.attention.structures import image_size
from mmgrad_explain.attention.undisturbed import own_inputs, undisturbed
from mmgrad_explain.attention.words import name_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from mmgrad_explain.attention.mmgrad import MultiModalGradAttention
    from mmgrad_explain.explanation.result import Explanation


def explain_each(
    mmgrad: MultiModalGradAttention,
    inputs: Mapping[str, Any],
    outputs: Callable[[Any], Sequence[Any]],
    wanted: Sequence[tuple[int, int]],
) -> Explanation:
    """Explain several scores of one forward, as a call of ``mmgrad`` for each would.

    Args:
        mmgrad: What is to be done.
        inputs: What the model takes, B samples.
        outputs: The model's output to K outputs, of each of which the score is taken.
        wanted: Of each sample of the result, the number of the output and of the sample that it is of.

    Returns:
        The maps, one for each of ``wanted``.

    Raises:
        InputError: As by a call.
        CaptureError: As by a call.
        GradientError: As by a call.
    """
    root = mmgrad._root  # noqa: SLF001  (this is a call of its own kind)
    with undisturbed(root, inputs) as inside:
        named: dict[str, Any] = own_inputs(dict(inputs))
        layers = mmgrad._layers or find_layers(root, find_layer(root, (), named, mmgrad._score))  # noqa: SLF001
        with mmgrad._record(layers, inside) as seen, mmgrad._listen((), named) as heard:  # noqa: SLF001
            asked = outputs(root(**named))
            seen.stop()
            scorer = resolve_score(root, mmgrad._score, asked[0])  # noqa: SLF001
            seen.choose_parts(scorer(asked[0]))
            layouts = layouts_of(seen, mmgrad._layout, root, mmgrad._known_layouts)  # noqa: SLF001
            every, scores, words = [], [], []
            for number, output in enumerate(asked, start=1):
                score = check_score(scorer(output), batches_of(seen, layouts))
                check_finite(score.detach())
                gradients, of_words = take_gradients(
                    score, seen, retain_graph=number < len(asked), also=heard.embeddings if heard else ()
                )
                check_grids_reached(gradients, layouts, root)
                every.append(weigh_all(seen, gradients, layouts, mmgrad._weighting, graph=False))  # noqa: SLF001
                scores.append(score.detach().float())
                if heard is not None and mmgrad._name_words is not None:  # noqa: SLF001
                    values = heard.values(of_words, len(score))
                    words.append(name_words(values, mmgrad._name_words(*heard.tokens())))  # noqa: SLF001

        def chosen(of_outputs: Sequence[Tensor]) -> Tensor:
            return torch.stack([of_outputs[number][sample] for number, sample in wanted])

        signed = {
            name: [chosen([one[name][call] for one in every]) for call in range(len(calls))]
            for name, calls in every[0].items()
        }
        return assemble(
            signed, chosen(scores), scorer.name, mmgrad._weighting_name,  # noqa: SLF001
            (mmgrad._fuse_name, mmgrad._fuse), layouts, size=image_size(named), model=type(root).__name__,  # noqa: SLF001
            words=tuple(words[number][sample] for number, sample in wanted) if words else None,
        )  # fmt: skip
