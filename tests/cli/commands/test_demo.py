"""``mmgrad-explain demo`` from the shell's side."""

import os
import signal
import subprocess
import sys
import tempfile
import threading

import httpx
import pytest

from mmgrad_explain.web import server as serving


@pytest.fixture
def ctrl_c(monkeypatch):
    """Ctrl-C as soon as the page waits for it."""
    wait = serving.wait

    def pressed():
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        wait()

    monkeypatch.setattr(serving, "wait", pressed)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_it_says_where_it_is_and_ends_at_ctrl_c(run, ctrl_c, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code, out, err = run("demo")
    assert (code, err) == (0, "")
    assert list(tmp_path.iterdir()) == []
    first, last = out.splitlines()
    assert first.startswith("The page is at http://127.0.0.1:")
    assert first.endswith("/ (Ctrl-C ends it)")
    assert last == "The page is closed"
    with pytest.raises(httpx.ConnectError):
        httpx.get(first.split()[4])


def test_it_says_when_others_can_reach_it(run, ctrl_c):
    code, out, err = run("demo", "--host", "0.0.0.0")
    assert (code, err) == (0, "")
    line = out.splitlines()[1]
    assert line.startswith(
        "Everybody who can reach this machine can use it, without a password, for example at http://"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_it_ends_cleanly_at_sigterm(tmp_path, command_line, ignored):
    environment = {**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command_line("demo"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    ) as process:
        watch = threading.Timer(120, process.kill)
        watch.start()
        address = process.stdout.readline().split()[4]
        assert "Where does the model look?" in httpx.get(address).text
        assert list(tmp_path.glob("mmgrad-page-*"))
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
        watch.cancel()
    assert (process.returncode, out, err) == (0, "The page is closed\n", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "0"], "port must be from 1 to 65535, got 0"),
        (["--host", "203.0.113.7"], "host '203.0.113.7' is no address of this machine: use 127.0.0.1"),
        (["--max-pixels", "0"], "max-pixels must be above 0, got 0"),
        (["--max-upload-mb", "-1"], "max-upload-mb must be above 0, got -1.0"),
        (["--max-waiting", "0"], "max-waiting must be above 0, got 0"),
        (["--device", "tpu"], "device 'tpu' is unknown"),
        (["--model", "nonsense"], "nonsense"),
        (["--gallery", "none.db"], "there is no gallery at"),
    ],
)
def test_what_can_be_put_right(run, failed, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    failed(run("demo", *arguments), said)
    assert list(tmp_path.iterdir()) == []


def test_a_gallery_that_another_process_has(run, failed, tmp_path, held_elsewhere):
    place = str(tmp_path / "mine.db")
    with held_elsewhere(place):
        failed(run("demo", "--gallery", place), "mine.db is in use by another process, and a local file serves one at")


def test_without_gradio(run, failed, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    failed(run("demo"), "the page is made with Gradio", 'pip install "mmgrad-explain[demo]"')


def test_help_tells_all(run):
    code, out, _ = run("demo", "--help")
    assert code == 0
    for word in ("--model", "--gallery", "--host", "--port", "--open", "--max-upload-mb", "--max-pixels", "ssh -L"):
        assert word in out


def test_the_command_line_starts_without_gradio():
    code = (
        "import sys; from mmgrad_explain.cli.main import build_parser; build_parser(); print('gradio' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
