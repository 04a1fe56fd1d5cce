"""The package's errors, and the hint at a name that is close to a known one."""

import pytest

from mmgrad_explain import errors
from mmgrad_explain.errors import MMGradError, MMGradWarning, did_you_mean


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("InputError", ValueError),
        ("HubUnreachableError", ValueError),
        ("CaptureError", RuntimeError),
        ("GradientError", RuntimeError),
        ("OutputExistsError", FileExistsError),
    ],
)
def test_an_error_is_also_the_builtin_one(name, builtin):
    error = getattr(errors, name)
    assert issubclass(error, MMGradError)
    assert issubclass(error, builtin)


def test_a_folder_without_a_lock_is_a_warning_of_the_package():
    assert issubclass(errors.UnlockedWarning, MMGradWarning)
    assert issubclass(MMGradWarning, UserWarning)


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        ("grad-cam", "did you mean 'gradcam'? "),
        ("GRADCAM", "did you mean 'gradcam'? "),
        ("layer", "did you mean 'layercam'? "),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_a_close_name_is_suggested(wanted, hint):
    assert did_you_mean(wanted, iter(["gradcam", "layercam"])) == hint
