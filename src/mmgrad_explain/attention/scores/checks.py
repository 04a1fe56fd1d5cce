"""Check that a score is one finite number a sample, and describe what is wrong where it is not."""

from collections.abc import Sequence

from torch import Tensor

from mmgrad_explain.errors import GradientError, InputError


def ensure_per_sample(value: Tensor, batches: Sequence[int] | None = None) -> Tensor:
    """Return a score as (B,).

    Args:
        value: (B,), (B, 1), or a single number when B is 1.
        batches: What B may be: the samples in each call of the target layer. None accepts the size of the score.

    Raises:
        TypeError: ``value`` is not a floating tensor.
        InputError: ``value`` does not hold one number a sample.
    """
    if not isinstance(value, Tensor) or not value.is_floating_point():
        kind = str(value.dtype) if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"score must be a floating tensor with one number a sample, not {kind}")
    batch = value.numel() if batches is None or value.numel() in batches else batches[0]
    count = value.numel()
    if count != batch or value.shape not in {(batch,), (batch, 1), ()}:
        shape = tuple(value.shape)
        if _runs_sample_by_sample(count, batches or []):
            raise InputError(
                f"score must have one number a sample, but it has shape {shape} while the target layer "
                f"{describe_other_batch(count, batches or [])}"
            )
        parts = describe_other_batch(count, [batch]).removeprefix(f"saw a batch of {batch}") if value.ndim else ""
        raise InputError(
            f"score must have one number a sample, shape ({batch},): it has shape {shape} while the target layer saw a "
            f"batch of {batch}{parts}. Do not average over the batch; repeat the image for several texts"
        )
    return value.reshape(batch)


def describe_other_batch(samples: int, batches: Sequence[int]) -> str:
    """Describe what a layer saw instead of one batch of all samples, and what to do; "" where that is not clear.

    Args:
        samples: How many samples there are.
        batches: How many samples the layer saw in each of its calls.
    """
    if _runs_sample_by_sample(samples, batches):
        return (
            f"ran {len(batches)} times, with one sample each: the forward loops over its samples, so explain them one "
            "at a time, or choose a layer that sees all of them at once"
        )
    if not batches[0] > samples > 0 or batches[0] % samples:
        return ""
    return (
        f"saw a batch of {batches[0]}, {batches[0] // samples} for each. If that layer works on parts of images "
        "(windows, tiles, frames), choose the layer around it, or give layout= a callable that puts them together to "
        "(B, K, h, w)"
    )


def _runs_sample_by_sample(samples: int, batches: Sequence[int]) -> bool:
    return samples > 1 and len(batches) >= samples and set(batches) == {1}


def check_finite(score: Tensor) -> None:
    """Raise GradientError where a score is NaN or infinite, naming the samples."""
    finite = score.cpu().isfinite()
    if not bool(finite.all()):
        bad = (~finite).nonzero().flatten().tolist()
        raise GradientError(
            f"the score is not finite for samples {bad}: check the inputs; in half precision try bfloat16 or float32"
        )
