"""Other people's software: who was tried in what is in docs/explanation/interop.md."""

import pytest

# Their assertions are tests', too.
pytest.register_assert_rewrite("tests.interop.cases", "tests.interop.programs")
