"""Node types that stand elsewhere: in a file beside the graph, in installed packages."""

import json
import os
import subprocess
import sys
import textwrap
import time

import pytest

from flow import node_files
from flow.errors import NodeTypeError
from flow.graph.registry import find_type
from flow.node_type import load

FILE = '''
from flow import In, Message, node

class Step(Message):
    """A step."""
    number: int  # of it

@node
async def take(steps: In[Step], *, often: int = {often}) -> None:
    """Take steps."""
'''


@pytest.fixture
def folders(tmp_path):
    for name, often in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "nodes.py").write_text(FILE.format(often=often))
    return tmp_path


def test_files_of_one_name_are_modules_of_their_own_and_a_package_of_that_name_is_not_touched(folders):
    a, b = (find_type("nodes.py:take", folders / name) for name in "ab")
    assert (a.settings["often"].default, b.settings["often"].default) == (1, 2)
    assert a.name == f"{folders}/a/nodes.py:take"
    assert a.ports["steps"].messages[0].fields[0].doc == "of it"  # its source is found
    assert find_type("nodes.env.atari:actor").name == "nodes.env.atari:actor"


def test_a_worker_loads_by_the_name_that_the_graph_resolved_to(folders):
    found = find_type("nodes.py:take", folders / "a")
    assert load(found.name) is found
    with pytest.raises(NodeTypeError, match=r"there is no file '.*/a/nodez.py'"):
        load(f"{folders}/a/nodez.py:take")
    with pytest.raises(NodeTypeError, match=r"tak does not exist in .*nodes.py; node types there: take"):
        load(f"{folders}/a/nodes.py:tak")


def test_a_file_that_changed_is_read_anew_and_one_that_fails_is_forgotten(folders):
    path = folders / "a" / "nodes.py"
    assert find_type("nodes.py:take", path.parent).settings["often"].default == 1
    path.write_text(FILE.format(often="1 / 0"))
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 10))
    with pytest.raises(NodeTypeError, match=r"importing .*nodes.py failed: ZeroDivisionError"):
        find_type("nodes.py:take", path.parent)
    path.write_text(FILE.format(often=33))
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 20))
    assert find_type("nodes.py:take", path.parent).settings["often"].default == 33
    assert len([name for name in sys.modules if node_files.name_of(name) == str(path)]) == 1


@pytest.fixture
def site(tmp_path):
    """A directory for packages, into which pip has installed some that register node types."""
    pytest.importorskip("setuptools")
    site = tmp_path / "site"
    for name, registers in (("alpha", ("take", "own")), ("beta", ("take",))):
        source = tmp_path / name
        source.mkdir()
        (source / f"{name}.py").write_text(FILE.format(often=5))
        points = "\n".join(f'{point} = "{name}:take"' for point in registers)
        (source / "pyproject.toml").write_text(textwrap.dedent(f"""
            [build-system]
            requires = ["setuptools"]
            build-backend = "setuptools.build_meta"
            [project]
            name = "{name}-nodes"
            version = "1.0"
            [project.entry-points."flow.nodes"]
            POINTS
            [tool.setuptools]
            py-modules = ["{name}"]
            """).replace("POINTS", points))  # fmt: skip
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    sources = [str(tmp_path / name) for name in ("alpha", "beta")]
    subprocess.run([*install, "--target", str(site), *sources], check=True, capture_output=True)
    return site


def flow(site, *words):
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{os.getcwd()}"}
    return subprocess.run([sys.executable, "-m", "flow", *words], capture_output=True, text=True, env=environment)


@pytest.mark.real_time
@pytest.mark.slow
def test_a_name_that_two_installed_packages_register_is_an_error_that_names_both(site, tmp_path):
    graph = tmp_path / "graph.toml"
    graph.write_text('[nodes.a]\nrun = "own"\n[nodes.b]\nrun = "take"\n[nodes.c]\nrun = "tak"\n[edges]\n')
    told = json.loads(flow(site, "check", "--json", str(graph)).stdout)[0]["problems"]
    assert told == [
        f"{graph}, nodes.b, \"run\": 'take': it is registered by 'alpha-nodes' as \"alpha:take\" and 'beta-nodes' as "
        '"beta:take"; write the one that is meant by its full name, or uninstall the other',
        f"{graph}, nodes.c, \"run\": 'tak': no installed package registers a node type 'tak'; did you mean 'take'?",
    ]
    graph.write_text('[nodes.a]\nrun = "own"\n[ports]\nsteps = "a.steps"\n')
    assert flow(site, "check", str(graph)).returncode == 0
    listed = flow(site, "nodes")
    assert "own " in listed.stdout
    assert "flow nodes: take is left out: it is registered by 'alpha-nodes'" in listed.stderr
