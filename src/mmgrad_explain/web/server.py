"""Serve the page: find a port, keep all files in one folder, start and stop the server."""

from __future__ import annotations

import logging
import os
import socket
import sys
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TextIO

from mmgrad_explain.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mmgrad_explain.web.limits import Limits

FIRST_PORT, PORTS = 7860, 100
_TRIES = 5
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


def check_gradio() -> None:
    """Check that Gradio can be imported.

    Raises:
        InputError: It cannot.
    """
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        message = f"the page is made with Gradio, which cannot be imported ({error})"
        raise InputError(f'{message}: pip install "mmgrad-explain[demo]"') from error


@contextmanager
def running(
    limits: Limits,
    *,
    models: Sequence[str] = (),
    gallery: str | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
    device: str | None = None,
    open_browser: bool = False,
) -> Iterator[str]:
    """Serve the page while a ``with`` block runs.

    All its files are in a temporary folder of its own, which is removed afterwards.

    Args:
        limits: How much a visitor may ask for.
        models: Folders and hub ids of models to offer with the bundled ones.
        gallery: Address of a gallery; None offers one of example images.
        host: Name or address of this machine to listen on.
        port: The port; the first free one from 7860 on when None.
        device: Device of the models; the CPU when None.
        open_browser: Open the page in a browser.

    Yields:
        The address of the page.

    Raises:
        InputError: Gradio is not installed, the host is not this machine's, the port is taken, or a model or the
            gallery cannot be used.
    """
    find_port(host, port)  # before anything is loaded
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mmgrad-page-"))
        stack.enter_context(_environment(folder))
        check_gradio()
        stack.enter_context(_shorten_gradio_errors())
        from mmgrad_explain.web.gallery_search import GallerySearch
        from mmgrad_explain.web.models import Models
        from mmgrad_explain.web.page import build_page, style_options
        from mmgrad_explain.web.request_filter import RequestFilter

        offered = Models(models, device)
        searches = stack.enter_context(GallerySearch(offered, gallery, pixels=limits.pixels))
        if gallery is not None:
            searches.gallery()
        called = "example pictures" if gallery is None else "your gallery"
        blocks = build_page(offered, searches, limits, gallery=called)
        stack.callback(blocks.close, verbose=False)
        address = _launch(
            blocks, host, port, server_name=f"[{host}]" if ":" in host else host, inbrowser=open_browser,
            inline=False, share=False, quiet=True, prevent_thread_lock=True,
            max_file_size=limits.upload_bytes, allowed_paths=[], enable_monitoring=False, run_history=False,
            footer_links=[], ssr_mode=False, mcp_server=False, pwa=False, num_workers=0, state_session_capacity=200,
            app_kwargs={"middleware": [_middleware(RequestFilter, folder, local=host in _LOCAL_HOSTS)]},
            **style_options(),
        )  # fmt: skip
        yield address


def _launch(blocks: Any, host: str, port: int | None, **options: Any) -> str:
    """Start the server and return its address; on the next port where another program took the first free one."""
    tries = 0
    while True:
        tries += 1
        at = find_port(host, port)
        try:
            with _silence_port_errors():
                return str(blocks.launch(server_port=at, **options)[1])
        except OSError as error:
            if port is not None or tries == _TRIES:
                raise InputError(
                    f"no server can be started on port {at} ({error}): name another with --port"
                ) from error


@contextmanager
def _silence_port_errors() -> Iterator[None]:
    """Keep uvicorn from printing that a port is taken; :func:`_launch` handles that."""

    def is_other_error(record: logging.LogRecord) -> bool:
        return not isinstance(record.msg, OSError)

    log = logging.getLogger("uvicorn.error")
    log.addFilter(is_other_error)
    try:
        yield
    finally:
        log.removeFilter(is_other_error)


@contextmanager
def _shorten_gradio_errors() -> Iterator[None]:
    """Have Gradio print one line instead of a traceback for each request that it cannot read.

    Errors of the page's own functions are handled before.
    """
    from gradio import queueing

    def print_exc(*_: object, **__: object) -> None:
        sys.stderr.write(f"note: a question that makes no sense was refused ({type(sys.exception()).__name__})\n")

    before = queueing.traceback
    queueing.traceback = SimpleNamespace(print_exc=print_exc)
    try:
        yield
    finally:
        queueing.traceback = before


def serve(limits: Limits, *, out: TextIO | None = None, **options: Any) -> None:
    """Serve the page until Ctrl-C, and print its address.

    Args:
        limits: How much a visitor may ask for.
        out: Where to print; standard output when None.
        **options: Arguments of :func:`running`.

    Raises:
        InputError: As :func:`running`.
    """
    stream = sys.stdout if out is None else out
    with running(limits, **options) as address:
        try:
            stream.write(f"The page is at {address} (Ctrl-C ends it)\n")
            host = options.get("host", _LOCAL_HOSTS[0])
            if host not in _LOCAL_HOSTS:
                port = address.rstrip("/").rpartition(":")[2]
                stream.write(
                    "Everybody who can reach this machine can use it, without a password, for example at "
                    f"http://{socket.gethostname()}:{port}/\n"
                )
            stream.flush()
            wait()
        except KeyboardInterrupt:
            stream.write("The page is closed\n")


def wait() -> None:
    """Wait until Ctrl-C."""
    threading.Event().wait()


def find_port(host: str, port: int | None) -> int:
    """Find a free port.

    Args:
        host: Name or address of this machine.
        port: The wanted port; the first free one from 7860 on when None.

    Raises:
        InputError: The host is not this machine's, or the port is taken or out of range.
    """
    if port is not None and not 0 < port < 65536:
        raise InputError(f"port must be from 1 to 65535, got {port}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
    except OSError as error:
        raise InputError(
            f"host {host!r} is no address of this machine: use 127.0.0.1, or 0.0.0.0 for all of them"
        ) from error
    wanted = range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else [port]
    for candidate in wanted:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address[0], candidate))
        except PermissionError:
            raise InputError(f"port {candidate} is not open to you: use one from 1024 on") from None
        except OSError:
            continue
        return candidate
    if port is None:
        raise InputError(f"ports {FIRST_PORT} to {FIRST_PORT + PORTS - 1} are all taken: name another with --port")
    raise InputError(f"port {port} is taken: name another with --port, or leave it out to have a free one found")


def _middleware(request_filter: Any, folder: str, *, local: bool) -> Any:
    from starlette.middleware import Middleware

    return Middleware(request_filter, folder, local=local)


@contextmanager
def _environment(folder: str) -> Iterator[None]:
    """Have Gradio keep all its files in one folder, and send nothing to anybody."""
    wanted = {
        "GRADIO_TEMP_DIR": folder,
        "GRADIO_EXAMPLES_CACHE": os.path.join(folder, "examples"),  # noqa: PTH118
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "FORWARDED_ALLOW_IPS": "",  # forwarding headers of requests are not trusted
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
