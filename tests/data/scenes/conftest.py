"""Many generated scenes, drawn once."""

import numpy as np
import pytest

from mmgrad_explain.data.scenes import scene as scenes


@pytest.fixture(scope="session")
def many():
    """Five hundred scenes with the objects they were made from."""
    return [scenes._generate(np.random.default_rng([7, i]), 96, 4) for i in range(500)]
