"""Errors as lines in the page."""

from mmgrad_explain.errors import InputError
from mmgrad_explain.web.event_handlers import report_errors


def failing(error):
    def function():
        raise error

    return report_errors(function, 2)()


def test_values_and_no_error():
    assert report_errors(lambda one: one + 1, 1)(2) == (3, "")
    assert report_errors(lambda: ("a", "b"), 2)() == ("a", "b", "")


def test_what_a_user_can_put_right():
    first, second, line = failing(InputError("the <b>sentence</b>\nis empty"))
    assert first == second == {"__type__": "update"}
    assert line == '<p role="alert">the &lt;b&gt;sentence&lt;/b&gt; is empty</p>'


def test_anything_else(capsys):
    *kept, line = failing(RuntimeError("secret"))
    assert kept == [{"__type__": "update"}] * 2
    assert line == (
        '<p role="alert">this could not be done (RuntimeError): the terminal where the page was started says more</p>'
    )
    assert "RuntimeError: secret" in capsys.readouterr().err


def test_the_signature_stays():
    def handler(event: int):
        return event

    assert report_errors(handler, 1).__annotations__ == handler.__annotations__
