"""The suite's assertions explain themselves as those of test files do."""

import pytest

pytest.register_assert_rewrite("tests.contract.suite", "tests.contract.suite_faults", "tests.support.drive")
