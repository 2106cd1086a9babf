"""A module with a node type that is declared wrongly."""

from flow import node


@node
async def source(frames: int) -> None:
    """Take what is no port."""
