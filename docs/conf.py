"""How Sphinx builds the documents; `tools/docs` runs it. Nothing is fetched from anywhere."""

import importlib.metadata
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

project = "flow"
author = "the authors of flow"
release = importlib.metadata.version("flow-research")
extensions = ["myst_parser", "tools.documents.reference"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
html_theme = "furo"
html_title = "flow"
html_show_copyright = False
html_show_sourcelink = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
