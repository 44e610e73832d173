"""Sphinx: how the site is built; ``make docs`` runs it and takes each warning for an error."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.pycode import ModuleAnalyzer

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
]
root_doc = "index"
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

# Links to Celery and redis-py are looked up in copies of their inventories: a build needs no network. Each
# copy is the objects.inv that Sphinx writes when it builds the project's own docs/ from source: Celery
# 5.6.2 (5dc781f), redis-py 8.0.0 (34817ce, without the extensions for notebooks).
# tests/docs/test_reference.py checks that the linked names exist in the installed packages.
intersphinx_mapping = {
    "celery": ("https://docs.celeryq.dev/en/stable", "inventories/celery.inv"),
    "redis": ("https://redis.readthedocs.io/en/stable", "inventories/redis.inv"),
}
intersphinx_disabled_reftypes = ["std:*"]  # a page says which inventory it means: [text](inv:celery:...)

default_role = "code"  # of docstrings: a name in `backticks` is a name
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# The overloads of locked_task are for type checkers: the API shows one signature. Autodoc asks this object.
_decorator = ModuleAnalyzer.for_module("celery_redislock.task.decorator")
_decorator.analyze()
_decorator.overloads.clear()
napoleon_google_docstring = True
napoleon_numpy_docstring = False

# A command is copied without its prompt, and without what it prints.
copybutton_prompt_text = "$ "
copybutton_exclude = ".linenos, .go"

html_theme = "furo"
html_title = f"celery_redislock {release}"


def setup(app: Any) -> None:
    """Leave out blocks of code with nothing in them: they only tell a test which terminal to stop."""
    app.connect("doctree-read", remove_empty_blocks)


def remove_empty_blocks(_app: Any, doctree: nodes.document) -> None:
    """At ``doctree-read``."""
    for block in [*doctree.findall(nodes.literal_block)]:
        if not block.astext().strip():
            block.parent.remove(block)
