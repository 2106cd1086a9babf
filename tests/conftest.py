"""Settings that all tests share."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from flow.testing.pytest_plugin import pytest_pyfunc_call as pytest_pyfunc_call

# A busy core makes a slow example look like a bad one.
_patient = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", max_examples=25, **_patient)
settings.register_profile("ci", max_examples=200, derandomize=True, **_patient)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.fixture(scope="session")
def small_ucf101(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in UCF-101's layout, of generated videos."""
    pytest.importorskip("av", reason='needs PyAV: pip install "flow-research[video]"')
    from tests.small_ucf101 import make

    return make(tmp_path_factory.mktemp("ucf101"))


@pytest.fixture(scope="session")
def other_ucf101(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one: its classes have the same names."""
    pytest.importorskip("av", reason='needs PyAV: pip install "flow-research[video]"')
    from tests.small_ucf101 import make

    return make(tmp_path_factory.mktemp("other_ucf101"), seed=1)


def pytest_collection_finish() -> None:
    """What the imports made stays until the end: no collection needs to look at it again."""
    gc.collect()
    gc.freeze()
