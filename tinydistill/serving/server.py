"""The server below the service: uvicorn on a socket of ours, so that a port in use is told before a model is loaded."""

import contextlib
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from glue_tasks.errors import UserError

_SECONDS_TO_END = 30  # for what is being answered


def listen(host: str, port: int) -> socket.socket:
    """A socket that clients may connect to. Raises UserError if there can be none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends at once, without Nagle's wait of 40 ms, where a socket says that it is TCP's.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        why = getattr(error, "strerror", None) or error
        raise UserError(f"cannot listen on {host}:{port} ({why}); choose another --port or --host") from None
    listening.listen(2_048)  # connections that wait to be taken
    return listening


def serve_app(make_app: Callable[[], Any], listening: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM, then answer what waits, and return."""
    with contextlib.closing(listening):
        config = uvicorn.Config(
            make_app(), log_level="warning", access_log=False, timeout_graceful_shutdown=_SECONDS_TO_END
        )
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"serving on http://{shown}:{port}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):  # which uvicorn passes on when it has ended
            uvicorn.Server(config).run(sockets=[listening])
    print("stopped")
