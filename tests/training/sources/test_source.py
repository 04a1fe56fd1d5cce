"""The interface of sources and of their options."""

import pytest

from mmgrad_explain.errors import InputError
from mmgrad_explain.training.sources.kinds import SOURCES, build_source
from mmgrad_explain.training.sources.source import SourceOptions, require_folder

DECLARED = [name for name in vars(SourceOptions) if not name.startswith("_")]


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_offers_what_the_interface_declares(kind):
    assert {"weight", "knows_context", "has_own_edits", "build"} <= set(DECLARED)
    assert [name for name in DECLARED if not hasattr(SOURCES[kind](), name)] == []


def test_a_named_folder_is_returned():
    assert require_folder("mine", "photos") == "photos"


@pytest.mark.parametrize("kind", ["photos", "triplets"])
def test_a_source_of_files_needs_its_folder(kind):
    with pytest.raises(InputError, match=r"sources.mine.folder is missing: say where it is, --set sources.mine"):
        build_source({"mine": SOURCES[kind]()}, 32)
