"""What a node promises is held to its ports when it is declared."""

from __future__ import annotations

import pytest
from jaxtyping import Float32

from flow import Array, In, Message, Out, Promises, node
from flow.errors import NodeTypeError


class Clip(Message):
    samples: Float32[Array, "time"]
    rate: int


def declare(promises: Promises) -> None:
    @node(promises=promises)
    async def chunker(recordings: In[Clip], chunks: Out[Clip]) -> None: ...


@pytest.mark.parametrize(
    ("promises", "says"),
    [
        (Promises(cut={"record": "samples.time"}), "cut names 'record', which is no stream of it; it has recordings"),
        (
            Promises(cut={"recordings": "samples.rows"}),
            r"cut\['recordings'\] = 'samples.rows' is no field and dimension",
        ),
        (Promises(excused={"C13": " "}), "write a rule and why"),
        (Promises(excused={"chunking": "it is hard"}), "write a rule and why"),
        (Promises(order="reversed"), 'write "total", "none" or "by FIELD"'),
        (Promises(given="tests.given"), 'write "module:function"'),
    ],
)
def test_what_is_not_there_is_said(promises, says):
    with pytest.raises(NodeTypeError, match=says):
        declare(promises)


def test_a_right_promise_is_kept_with_the_node():
    promises = Promises(cut={"recordings": "samples.time"}, order="by rate", excused={"C13": "nothing is saved"})
    declare(promises)
    assert promises.order_field == "rate"
    assert Promises().order_field is None
