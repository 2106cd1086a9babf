"""What the documents say is there is there: links, commands, graphs, and the command that CI runs."""

import re
import subprocess
from pathlib import Path

import pytest

from flow.cli.main import COMMANDS

ROOT = Path(__file__).parent.parent
DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name):
    text = (ROOT / name).read_text()
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert not missing


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_flow_command_exists(name):
    used = set(re.findall(r"(?:^|[`&] ?|\n    )flow ([a-z]+)\b", (ROOT / name).read_text()))
    assert used <= set(COMMANDS)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_tool_that_is_named_can_be_run(name):
    for module in set(re.findall(r"python -m (tools\.[\w.]+)", (ROOT / name).read_text())):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_ci_runs_the_test_command_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text()
    awk = next(line for line in script.splitlines() if line.startswith("command="))
    found = subprocess.run(
        ["bash", "-c", f'{awk}; echo "$command"'], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip().endswith("tools/check")
    assert found.stdout.strip() in (ROOT / "README.md").read_text()


def test_the_map_names_every_module_of_the_runtime():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    modules = {path.name for path in (ROOT / "flow").glob("*.py")} - {"__init__.py", "__main__.py"}
    named = set(re.findall(r"\b\w+\.py\b", text))
    assert not modules - named


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_place_was_left_to_be_filled_in(name):
    text = (ROOT / name).read_text()
    assert not re.findall(r"(?m)^[A-Z_]{4,}$|\| [A-Z_]{4,} \||\bTODO\b", text)
