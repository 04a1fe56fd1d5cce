"""What tests of the commands share."""

import pytest


@pytest.fixture
def failed():
    """Exit code 2, one line that says all the parts, no traceback, nothing on stdout."""

    def check(result, *parts):
        code, out, err = result
        assert code == 2
        assert out == ""
        assert err.startswith("mmgrad-explain")
        assert err.count("\n") == 1
        for part in parts:
            assert part in err

    return check
