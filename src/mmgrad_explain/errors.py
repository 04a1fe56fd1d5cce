"""Errors and warnings of the package.

Wrong types raise :class:`TypeError`. Everything else that a caller can correct raises one of the classes here; each
message names the argument and says what to do. The command line turns any :class:`MMGradError` into one line and exit
code 2.
"""

import difflib
from collections.abc import Iterable


class MMGradError(Exception):
    """Base of every error that this package raises on purpose."""


class InputError(MMGradError, ValueError):
    """An argument cannot be used: an image, a text, a name, a shape, an option."""


class HubUnreachableError(InputError):
    """The model hub cannot be reached, and the local cache does not have the file."""


class CaptureError(MMGradError, RuntimeError):
    """A target layer has no usable activation: it never ran, or returned nothing to explain."""


class GradientError(MMGradError, RuntimeError):
    """The gradient of the score does not reach the target layer, or cannot be computed."""


class OutputExistsError(MMGradError, FileExistsError):
    """The output exists already, and overwriting was not requested."""


class MMGradWarning(UserWarning):
    """Base of every warning of this package."""


class UnlockedWarning(MMGradWarning):
    """The output folder cannot be locked, so other processes may write to it at the same time."""


def did_you_mean(wanted: str, known: Iterable[str]) -> str:
    """Return ``"did you mean 'gradcam'? "`` for a name that is close to a known one, else an empty string."""
    near = difflib.get_close_matches(wanted.lower(), list(known), n=1, cutoff=0.4)
    return f"did you mean {near[0]!r}? " if near else ""
