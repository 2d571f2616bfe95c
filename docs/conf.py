"""How Sphinx makes the pages: ``make docs``."""

from importlib.metadata import version as installed

import livn_ipp.encoding  # noqa: F401 - autodoc, which looks at its classes too early

project = "livn_ipp"
author = "livn_ipp developers"
copyright = "2026, livn_ipp developers"  # noqa: A001 - Sphinx's name for it
version = release = installed("livn_ipp")

extensions = [
    "myst_nb",  # pages in Markdown, and the notebooks
    "sphinx.ext.autodoc",  # the API from docstrings
    "sphinx.ext.napoleon",  # in numpydoc's style
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]

nb_execution_mode = "off"  # notebooks are shown with the outputs they were kept with
myst_heading_anchors = 3  # pages link to each other's headings
suppress_warnings = ["mystnb.mime_priority"]  # widgets show their static picture

autodoc_default_options = {"exclude-members": "model_config, model_post_init"}
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say what a type cannot: shapes and units
napoleon_google_docstring = False
napoleon_attr_annotations = False
napoleon_use_ivar = True  # attributes stand in the class's own text
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"livn_ipp {release}"


def setup(app):
    """Describe what calling an object does, as calling an environment."""
    app.connect("autodoc-skip-member", _skip)


def _skip(_app, _what, name, member, _skip, _options):
    return False if name == "__call__" and member.__doc__ else None
