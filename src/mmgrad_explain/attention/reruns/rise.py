"""RISE: random masks over the image, and how the score depends on what each of them shows; no gradient is taken.

Source: Petsiuk et al., RISE: Randomized Input Sampling for Explanation of Black-box Models, arXiv 1806.07421.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgrad_explain.errors import InputError
from mmgrad_explain.metrics.faithfulness import fill_images

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmgrad_explain.metrics.faithfulness import ImageScore


@dataclass(frozen=True)
class RandomMasks:
    """Masks of RISE: coarse random grids, enlarged bilinearly, each shifted by a random part of a cell.

    All random numbers are drawn at once, so that the masks do not depend on how many are enlarged together.

    Attributes:
        shown: (N, 1, cells, cells), 1 for a cell that is shown and 0 for one that is hidden.
        shifts: (N, 2), rows and columns, pixels.
        size: (H, W), pixels.

    Source: Petsiuk et al., arXiv 1806.07421, section 3.2.
    """

    shown: Tensor
    shifts: Tensor
    size: tuple[int, int]

    @classmethod
    def draw(cls, count: int, size: tuple[int, int], *, cells: int = 7, keep: float = 0.5, seed: int = 0) -> Self:
        """Draw masks; the global generators are left alone.

        Args:
            count: N, how many.
            size: (H, W), pixels.
            cells: Cells of the coarse grid on each side.
            keep: The probability that a cell is shown, which is also the mean of each pixel over masks.
            seed: Of the random numbers.
        """
        generator = torch.Generator().manual_seed(seed)
        shown = (torch.rand(count, 1, cells, cells, generator=generator) < keep).float()
        shifts = [torch.randint(0, side, (count,), generator=generator) for side in _sides(size, cells)]
        return cls(shown, torch.stack(shifts, 1), size)

    def enlarge(self, start: int, stop: int) -> Tensor:
        """Return some of the masks, (stop - start, H, W) float32 in [0, 1]: 1 shows a pixel, 0 hides it."""
        cells = self.shown.shape[-1]
        size = [(cells + 1) * side for side in _sides(self.size, cells)]
        large = F.interpolate(self.shown[start:stop], size=size, mode="bilinear")[:, 0].clamp(0, 1)
        shifts = self.shifts[start:stop].tolist()
        height, width = self.size
        return torch.stack(
            [mask[top : top + height, left : left + width] for mask, (top, left) in zip(large, shifts, strict=True)]
        )


def _sides(size: tuple[int, int], cells: int) -> list[int]:
    """Return the height and width of a cell, pixels."""
    return [math.ceil(pixels / cells) for pixels in size]


def rise_map(
    score: ImageScore,
    images: Tensor,
    before: Tensor,
    *,
    masks: int = 500,
    cells: int = 7,
    keep: float = 0.5,
    fill: str | Tensor = "zero",
    batch: int = 32,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Compute how much higher the score is where a pixel is shown than where it is hidden, over random masks.

    RISE's importance of a pixel is the mean score over the masks that show it, ``sum_i s_i m_i / sum_i m_i``. The mean
    over those that hide it, ``sum_i s_i (1 - m_i) / sum_i (1 - m_i)``, is subtracted. With many masks that changes only
    scale and offset of the map; it makes 0 the value of a pixel that does not matter, and with few masks it removes the
    pattern that any constant part of the score (a cosine of .25, say) leaves in the map when ``sum_i m_i`` is replaced
    by its expectation.

    Args:
        score: Scores changed images; :class:`~mmgrad_explain.attention.reruns.image_scores.ImageScores` for a model.
        images: (B, C, H, W), as the model takes them. All samples see the same masks.
        before: (B,), the scores of the unchanged images.
        masks: N, how many masks.
        cells: As for :meth:`RandomMasks.draw`.
        keep: Likewise.
        fill: What hidden places become, as for :func:`~mmgrad_explain.metrics.faithfulness.deletion_insertion`; the
            paper takes 0.
        batch: Images that are scored together.
        seed: Of the masks; the global generators are left alone.
        progress: Called with (done, of) after each batch; counts runs of one image.

    Returns:
        (B, H, W) float32, signed, in the score's units.

    Raises:
        InputError: an option is out of range, or ``fill`` is unknown.

    Source: arXiv 1806.07421, equations 4 to 6.
    """
    check_rise_options(masks, cells, keep)
    count, size = len(images), (images.shape[2], images.shape[3])
    filled = fill_images(images, fill)
    drawn = RandomMasks.draw(masks, size, cells=cells, keep=keep, seed=seed)
    weighted, total = torch.zeros(count, *size, device=images.device), torch.zeros(size, device=images.device)
    sum_of_scores = torch.zeros(count, device=images.device)
    done = 0
    with torch.no_grad():
        before = before.to(images.device).float()
        for start in range(0, masks, at_once := max(1, batch // count)):
            shown = drawn.enlarge(start, min(start + at_once, masks)).to(images.device)
            number = len(shown)
            weights = shown[:, None, None].to(images.dtype)
            changed = (weights * images + (1 - weights) * filled).flatten(0, 1)
            index = torch.arange(count, device=images.device).repeat(number)
            # A constant does not change the map; without it the sums keep more of their digits.
            found = score(changed, index).to(images.device).float().view(number, count) - before
            weighted += torch.einsum("nb,nhw->bhw", found, shown)
            total += shown.sum(0)
            sum_of_scores += found.sum(0)
            done += number
            if progress is not None:
                progress(done * count, masks * count)
    tiny = torch.finfo(torch.float32).tiny
    hidden = sum_of_scores[:, None, None] - weighted
    return weighted / total.clamp(min=tiny) - hidden / (masks - total).clamp(min=tiny)


def check_rise_options(masks: int, cells: int, keep: float) -> None:
    """Raise InputError where an option of RISE is out of range."""
    if masks < 2:
        raise InputError(f"masks: RISE compares masks with one another, so at least 2 are needed, not {masks}")
    if cells < 1:
        raise InputError(f"cells must be at least 1, not {cells}")
    if not 0 < keep < 1:
        raise InputError(f"keep is the probability that a cell is shown, between 0 and 1, not {keep}")
