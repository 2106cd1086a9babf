"""A file beside a graph."""

from flow import In, Message, node


class Step(Message):
    number: int


@node
async def double(steps: In[Step]) -> None:
    """Take steps."""
