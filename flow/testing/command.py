"""What `flow test` does, apart from reading its options."""

from __future__ import annotations

import argparse


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status: 0 where all was kept, 1 where a rule was broken, 2 for wrong use."""
    raise NotImplementedError
