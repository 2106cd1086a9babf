"""Every kind of mistake in a graph file, and the exact words it gives.

Each file in tests/bad_graphs begins with comments: the whole text that `flow check` prints of it. What those of them
include, extend and import is in tests/bad_graphs/parts.
"""

from pathlib import Path

import pytest

from flow.errors import GraphError
from flow.graph import load_graph

BAD = sorted(Path("tests/bad_graphs").glob("*.toml"))


def told(path):
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    return "\n".join(lines)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_graph_gives_the_words_that_its_file_begins_with(path):
    with pytest.raises(GraphError) as caught:
        load_graph(path)
    assert str(caught.value) == told(path)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_every_problem_begins_with_the_file_in_which_it_stands(path):
    with pytest.raises(GraphError) as caught:
        load_graph(path)
    for problem in caught.value.problems:
        assert problem.startswith((str(path), "tests/bad_graphs/parts/"))
        # what stands in another file says which one brings it in, unless the key itself says so
        assert problem.startswith(str(path)) or path.name in problem or "extends" in path.name
