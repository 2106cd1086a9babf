import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import flow


def test_each_public_name_is_where_the_package_says_and_type_checkers_see_the_same():
    tree = ast.parse(Path(flow.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {node.names[0].name: node.module for node in block.body if isinstance(node, ast.ImportFrom)}
    assert seen == flow._PLACES
    for name, place in seen.items():
        assert getattr(flow, name) is getattr(importlib.import_module(place), name)


def test_no_submodule_hides_a_public_name():
    modules = {module.name for module in pkgutil.iter_modules(flow.__path__)}
    assert not modules & set(flow._PLACES)


def test_importing_flow_and_its_public_names_loads_no_torch():
    code = "import sys; from flow import *; assert 'torch' not in sys.modules and 'rich' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
