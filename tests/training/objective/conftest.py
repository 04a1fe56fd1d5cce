"""A small composer, a batch of scenes, and an objective of them."""

import numpy as np
import pytest
import torch

from mmgrad_explain.composers.reference.build import build_network
from mmgrad_explain.composers.reference.composer import ReferenceComposer
from mmgrad_explain.data.batches.batch import encode_batch
from mmgrad_explain.training.objective.grounded_objective import GroundedObjective
from mmgrad_explain.training.objective.options import DenseOptions, GroundingOptions, ObjectiveOptions, RetrievalOptions
from mmgrad_explain.training.sources.scenes import SceneSource, SceneSourceOptions


@pytest.fixture(scope="session")
def source():
    return SceneSource(32, SceneSourceOptions(pictures=2, edits=3), labels=True)


@pytest.fixture
def batch(source, tiny_processor):
    return encode_batch(source.batch(3, 0), tiny_processor)


@pytest.fixture
def composer(tiny_config, tiny_processor):
    torch.manual_seed(0)
    return ReferenceComposer(build_network(tiny_config), tiny_processor)


@pytest.fixture(scope="session")
def objective(source):
    """Make an objective of a composer; further options are those of the grounding loss."""

    def make(composer, dense=0.0, precision="float32", checkpointing=False, change=0.0, memory=0, **grounding):
        grounding, retrieval = GroundingOptions(**grounding), RetrievalOptions(memory, change)
        options = ObjectiveOptions(grounding, DenseOptions(dense), retrieval, precision, checkpointing)
        return GroundedObjective(composer, options, source.label_classes)

    return make


@pytest.fixture(scope="session")
def rng():
    """Make a generator, the same each time."""
    return lambda: np.random.default_rng(0)
