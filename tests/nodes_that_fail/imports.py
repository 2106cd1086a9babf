"""A module that imports what is nowhere."""

import a_package_that_is_nowhere  # noqa: F401
