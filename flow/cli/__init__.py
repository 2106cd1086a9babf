"""The `flow` command: one file a command, each with `add(subparsers)` and `run(arguments)`."""
