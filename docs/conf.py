"""Sphinx: how the site is built; ``make docs`` runs it and takes each warning for an error."""

from __future__ import annotations

import celery_redislock

project = "celery_redislock"
author = "the celery_redislock developers"
project_copyright = author
version = release = celery_redislock.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinxcontrib.mermaid",
]
root_doc = "index"
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

# A command is copied without its prompt, and without what it prints.
copybutton_prompt_text = "$ "
copybutton_exclude = ".linenos, .go"

html_theme = "furo"
html_title = f"celery_redislock {release}"
