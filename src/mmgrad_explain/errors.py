"""What can go wrong, by name.

Wrong types raise plain :class:`TypeError`. Everything else that a caller can put right raises one of the classes here;
each message names the argument and says what to do. The command line turns any :class:`MMGradError` into one line and
exit code 2.
"""

import difflib
from collections.abc import Iterable


class MMGradError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(MMGradError, ValueError):
    """A value that was handed in cannot be used: a picture, a text, a name, a shape, an option."""


class HubUnreachableError(InputError):
    """The model hub cannot be reached, and what was asked for is not in the local cache."""


class CaptureError(MMGradError, RuntimeError):
    """A target layer did not give a usable activation: it never ran, or returned nothing to explain."""


class GradientError(MMGradError, RuntimeError):
    """The score's gradient does not reach the target layer, or cannot be taken."""


class OutputExistsError(MMGradError, FileExistsError):
    """The place to write to holds something already, and overwriting was not asked for."""


class MMGradWarning(UserWarning):
    """Base of every warning this package gives."""


class UnlockedWarning(MMGradWarning):
    """A folder is written to that cannot be locked, so that nothing keeps other processes out of it."""


def did_you_mean(wanted: str, known: Iterable[str]) -> str:
    """``"did you mean 'gradcam'? "`` for a name that is nearly one of the known ones, else an empty string."""
    near = difflib.get_close_matches(wanted.lower(), list(known), n=1, cutoff=0.4)
    return f"did you mean {near[0]!r}? " if near else ""
