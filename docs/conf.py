"""How Sphinx builds these pages: ``python -m sphinx -W --keep-going -b html docs docs/_build/html``."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

import mmgrad_explain  # noqa: E402

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the pictures of a tutorial are the same on every machine


def warned(message: Warning | str, category: type[Warning], *_: object, **__: object) -> str:
    """A warning as a tutorial's page shows it: without where it was given on the machine that builds."""
    return f"{category.__name__}: {message}\n"


warnings.formatwarning = warned

project = "mmgrad-explain"
author = "The mmgrad-explain developers"
copyright = author  # noqa: A001
version = release = mmgrad_explain.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "annotations",
    "mathml",
    "own_names",
    "repository_files",
    "rooms",
    "source_pages",
]
exclude_patterns = ["_build", "**/.*", "auto_examples/*.ipynb", "auto_examples/*.py", "sg_execution_times.rst"]

# Pages: Markdown that GitHub shows as well.
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

# Reference: one entry a public name, from its docstring. Every reference to a name of this package has to lead
# somewhere; names of other packages are shown as they are, because their inventories cannot be had without a network.
autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "ignore-module-all": True,
}
autosummary_generate = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Optional", "params_style")]  # of protocols
napoleon_use_rtype = False
python_use_unqualified_type_names = True
# A page's table names its modules. With every function in the menu of each page, a build takes twice as long.
toc_object_entries = False
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!mmgrad_explain\b)\w+\..*"),  # other packages
    ("py:class", r"(.*\.)?(_\w+|T)|~P"),  # private types, variables of types
]

# Tutorials: each runs at the build. A picture is the value of a cell's last line.
sphinx_gallery_conf = {
    "examples_dirs": ["../examples"],
    "gallery_dirs": ["auto_examples"],
    "filename_pattern": r"/plot_",
    "within_subsection_order": "tutorials.place",
    "image_scrapers": ("tutorials.scrape", "matplotlib"),
    "capture_repr": (),
    "reset_modules": ("matplotlib", "seaborn", "tutorials.clock"),
    "reset_modules_order": "both",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "nested_sections": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "remove_config_comments": True,
    "thumbnail_size": (480, 320),
}

# Links, checked by ``-b linkcheck``: publishers answer programs with 403, which says that the page is there. A DOI is
# there to lead elsewhere; any other link that does is told, so that it can be mended.
linkcheck_allow_unauthorized = True
linkcheck_allowed_redirects = {r"https://doi\.org/.*": r"https://.*"}
linkcheck_anchors = False  # other sites make theirs by script; those of these pages are tested
linkcheck_ignore = [r"http://(127\.0\.0\.1|localhost|host)\b.*"]
linkcheck_report_timeouts_as_broken = False
linkcheck_retries = 2
linkcheck_timeout = 20
linkcheck_workers = 4

html_theme = "furo"
html_title = f"mmgrad-explain {version}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
