"""The page of predict.py --page: a server for this computer, which keeps nothing on disk.

Photographs are worked on one at a time, bounded in pixels. What it takes and answers, and how a
stranger's request is read, is in page_requests.py.
"""

import base64
import hashlib
import ipaddress
import os
import re
import socket
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn

from PIL import Image

from deeppose import downloads, shell
from deeppose.drawing import FAINT, FAINT_BELOW, LEAST_PICTURE_PX
from deeppose.page_requests import MOST_BYTES, MOST_PEOPLE, Handler, Refusal
from deeppose.report import script_json
from deeppose.shell import OUT_OF_MEMORY, InputError, RunError

PAGE = Path(__file__).with_name("page.html")
PORT = 8000
MOST_PIXELS = 60_000_000  # of a photograph: 180 MB once it is decoded
MOST_CONNECTIONS = 64  # at once, each with a thread; a browser opens 6
# a Host header; urlsplit() would see the host localhost in "evil@localhost"
HOST = re.compile(r"(?:\[([\w:.]+)\]|([\w.-]+))(?::[0-9]{1,5})?", re.ASCII)


def add_arguments(parser):
    """Add --page, --port and --address."""
    parser.add_argument(
        "--page",
        action="store_true",
        help="serve a page on this computer that takes photographs in a browser, until Ctrl-C",
    )
    parser.add_argument(
        "--port",
        type=shell.at_least(0, most=65535),
        default=PORT,
        metavar="N",
        help=f"of the page (default: {PORT}; 0: any that is free)",
    )
    parser.add_argument(
        "--address",
        default="127.0.0.1",
        help="of the page; any other than this lets other computers in, without a password "
        "(default: %(default)s, this computer alone)",
    )


def serve(address, port, skeleton, stages, pose, white=downloads.WHITE):
    """Serve the page until Ctrl-C; see Server."""
    with Server(address, port, skeleton, stages, pose, white) as server:
        if not server.is_local:
            print(
                f"predict.py: warning: whoever reaches {address} may use this page and this "
                "computer's time, without a password and unencrypted",
                file=sys.stderr,
            )
        print(f"The page is at {server.url} (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:  # the way to end it, and so no error
            print("\nThe page is closed.")


class Server(ThreadingMixIn, TCPServer):
    """A listening server of the page.

    Raises InputError for an address that is none, RunError for a port that cannot be had.

    address, port  where it listens; port 0 is any that is free
    stages         names of the stages, "stage_1" and those after it
    pose           function of a photograph's bytes, its people's boxes (None: the whole of it) and
                   its name, which gives the answer as JSON will have it, and raises InputError
                   where the photograph cannot be read
    white          of 16 bits, the value that is shown white: the model's
    """

    allow_reuse_address = os.name == "posix"  # Windows would let two servers have the same port
    daemon_threads = True
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, address, port, skeleton, stages, pose, white=downloads.WHITE):
        # where to listen, and by which names
        try:
            resolved = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise InputError(f"--address {address}: is no address of this computer") from None
        self.address_family, _, _, _, socket_address = resolved[0]
        self.host_names = {"localhost", "127.0.0.1", "::1", address.lower()}
        # the work, one photograph at a time
        self.pose = pose
        self.white = white
        self.photograph_turn = threading.Lock()
        self.connection_room = threading.BoundedSemaphore(MOST_CONNECTIONS)
        # a single thread, so that torch sets up its own threads once
        self.worker = ThreadPoolExecutor(1, "pose")
        # the page, the same for everybody
        html = PAGE.read_text(encoding="utf-8")
        script_data = {
            "joints": skeleton.joints,
            "bones": skeleton.bone_ends,
            "stages": stages,
            "faint_below": FAINT_BELOW,
            "faint": FAINT,
            "least_px": LEAST_PICTURE_PX,
            "most_bytes": MOST_BYTES,
            "most_people": MOST_PEOPLE,
        }
        self.page = html.replace("{{data}}", script_json(script_data)).encode()
        self.policy = content_policy(html)
        # of all photographs that this process reads from now on
        Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2  # Pillow raises for twice as many
        # listen
        try:
            super().__init__(socket_address, Handler)
        except OSError as error:
            raise RunError(
                f"port {port} of {address} cannot be had ({error.strerror}); see --port"
            ) from None
        ip_address = ipaddress.ip_address(socket_address[0])
        self.is_anywhere = ip_address.is_unspecified  # it listens on all addresses
        self.is_local = ip_address.is_loopback

    @property
    def url(self):
        """Address at which a browser on this computer finds the page."""
        host, port = self.server_address[:2]
        if self.is_anywhere:
            host = "localhost"
        return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"

    def knows(self, host):
        """Whether a Host header names this server.

        A page elsewhere can have its own name resolved to this computer (DNS rebinding), and its
        browser then sends that name; so names are listed, and where all addresses are served, any
        address in figures will do.
        """
        match = HOST.fullmatch(host)
        if match is None:
            return False
        host_name = (match[1] or match[2]).lower()  # an IPv6 address, or any other
        if host_name in self.host_names:
            return True
        return self.is_anywhere and _is_ip_address(host_name)

    @contextmanager
    def one_at_a_time(self):
        """Hold the turn to have a photograph read and worked on; Refusal where another has it."""
        if not self.photograph_turn.acquire(blocking=False):
            raise Refusal(503, "another photograph is being worked on; try again")
        try:
            yield
        finally:
            self.photograph_turn.release()

    def run(self, work, photograph):
        """The answer of work(photograph), in the worker's thread; Refusal where it fails."""
        try:
            future = self.worker.submit(work, photograph)
        except RuntimeError:  # Ctrl-C came first
            raise Refusal(503, "the page is being closed") from None
        try:
            return future.result()
        except InputError as error:
            raise Refusal(400, str(error)) from None
        except Exception as error:
            if isinstance(error, MemoryError) or OUT_OF_MEMORY.search(str(error)):
                raise Refusal(
                    500, "out of memory; try a smaller photograph, or fewer people"
                ) from None
            traceback.print_exc()  # a fault of the code, which must not end the page
            raise Refusal(500, "this failed; the shell that predict.py runs in says why") from None

    def process_request(self, request, client_address):
        """Answer in a thread; where MOST_CONNECTIONS are open, hang up."""
        if not self.connection_room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self.connection_room.release()
            self.shutdown_request(request)

    def process_request_thread(self, request, client_address):
        """Answer, then make room for another."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connection_room.release()

    def handle_error(self, request, client_address):
        """Print a fault of the code; that a sender left before the answer is none."""
        # any OSError here is the connection's, since other files are read within run()
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def server_close(self):
        """Close the port, and let a prediction that is being made come to its end."""
        super().server_close()
        self.worker.shutdown()


def content_policy(html):
    """Content-Security-Policy under which nothing but the page's own style and script works."""

    def allowed(tag):
        content = re.search(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)[1]
        digest = hashlib.sha256(content.encode()).digest()
        return f"'sha256-{base64.b64encode(digest).decode()}'"

    return (
        f"default-src 'none'; style-src {allowed('style')}; script-src {allowed('script')}; "
        "img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def _is_ip_address(host_name):
    """Whether a host name is an address in figures."""
    try:
        ipaddress.ip_address(host_name)
    except ValueError:
        return False
    return True
