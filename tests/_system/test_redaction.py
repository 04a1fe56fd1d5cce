"""No secret in what is said."""

import pytest

from mmgrad_explain._system.redaction import redact, redact_address


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("mine.db", "mine.db"),
        ("http://host:19530", "http://host:19530"),
        ("http://host:19530/@x", "http://host:19530/@x"),
        ("unix:/a/b.sock", "unix:/a/b.sock"),
        ("http:/me:secret@host:1", "***@host:1"),
        ("http://me@host", "http://***@host"),
        ("http://me:secret@host:19530/db", "http://***@host:19530/db"),
        ("http://me:s@cret/'\" <>@host:1", "http://***@host:1"),
        ("https://host/db?token=secret&x=1", "https://host/db?token=***&x=1"),
        ("https://host/?x=1&MY_API_KEY=secret", "https://host/?x=1&MY_API_KEY=***"),
        ("me:secret@host:1", "***@host:1"),
    ],
)
def test_addresses(address, said):
    assert redact_address(address) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no 'http://me:secret@host:1', nor \"tcp://a:b@c\"", "no 'http://***@host:1', nor \"tcp://***@c\""),
        (
            "for url: https://a.b/c?Signature=secret&Expires=3 (403)",
            "for url: https://a.b/c?Signature=***&Expires=3 (403)",
        ),
        ("no such file: http:/me:secret@host/x.jpg", "no such file: http:/***@host/x.jpg"),
        (
            "no such file: d:/a@2x.png or file:/pictures/a@2x.png",
            "no such file: d:/a@2x.png or file:/pictures/a@2x.png",
        ),
        ("{'Authorization': 'Bearer secret'}", "{'Authorization': 'Bearer ***'}"),
        ("hf_abcdefghijklmnopqrstuvw is not valid", "hf_*** is not valid"),
        ("a dog@home: basic tokens = 3 of /pictures/a@2x.png", "a dog@home: basic tokens = 3 of /pictures/a@2x.png"),
    ],
)
def test_texts(text, said):
    assert redact(text) == said


def test_parts_of_a_known_address():
    assert redact("user me, password a b/", "http://me:a%20b/@host") == "user me, password ***"
    assert redact("bad: http://me:'x@h!", "http://me:'x@h") == "bad: http://***@h!"
