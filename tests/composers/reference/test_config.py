"""The config of the reference network."""

import pytest

from mmgrad_explain.composers.reference.config import DEFAULT_OPTIONS, NetworkConfig
from mmgrad_explain.errors import InputError


def test_options_belong_to_their_trunk():
    assert NetworkConfig().backbone_options == DEFAULT_OPTIONS
    assert NetworkConfig().backbone_options is not DEFAULT_OPTIONS
    assert NetworkConfig(backbone="resnet18").backbone_options == {}


def test_lists_of_json_become_tuples():
    config = NetworkConfig(taps=[1, 3], mean=[0.4, 0.5, 0.6], std=[0.2])
    assert (config.taps, config.mean, config.std) == ((1, 3), (0.4, 0.5, 0.6), 0.2)
    assert config == NetworkConfig(taps=(1, 3), mean=(0.4, 0.5, 0.6), std=0.2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"taps": [3]}, "taps must be two or more feature indices of timm, from 0 on, rising, not "),
        ({"taps": [2, 1]}, "rising"),
        ({"taps": [1, 1]}, "rising"),
        ({"taps": [-1, 1]}, "from 0 on"),
        ({"taps": 3}, "two or more"),
        ({"taps": [True, 2]}, "two or more"),
        ({"std": 0}, r"std is of pixels in \[0, 1\], one number or three, above 0 to 1, not 0"),
        ({"std": [0.2, 0.2]}, "one number or three"),
        ({"mean": 127.5}, "a value of 0 to 255 is divided by 255"),
        ({"mean": "grey"}, "not 'grey'"),
        ({"mean": float("nan")}, "mean is of pixels"),
        ({"frozen_norm": 1}, "frozen_norm must be true or false, not 1"),
        ({"backbone_options": []}, "backbone_options must be names with values"),
    ],
)
def test_values_that_make_no_sense(values, message):
    with pytest.raises(InputError, match=message):
        NetworkConfig(**values)
