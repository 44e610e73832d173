"""The engine, on real servers."""

import pytest

pytest.register_assert_rewrite(f"{__name__}.checks")
