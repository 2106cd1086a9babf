"""Settings that all tests share."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from flow.testing.pytest_plugin import pytest_pyfunc_call as pytest_pyfunc_call

# A busy core makes a slow example look like a bad one.
_patient = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", max_examples=25, **_patient)
settings.register_profile("ci", max_examples=200, derandomize=True, **_patient)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
