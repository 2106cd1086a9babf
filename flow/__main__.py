"""`python -m flow`: the same as `flow`."""

import sys

from flow.cli.main import main

sys.exit(main())
