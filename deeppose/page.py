"""The page of predict.py --page: a server for this computer, which keeps nothing on disk.

    GET  /                                     the page, page.html, with its style and script
    POST /photograph                           a photograph -> the same upright, as a JPEG of at
                                               most 2,000 px
    POST /pose?name=NAME&box=X0,Y0,X1,Y1&box=  a photograph -> what photo_pose.json has, and each
                                               stage's confidence

A request's body is the photograph's file as it is. Whatever arrives is read as a stranger's:
bounded in bytes, pixels, people and seconds, one at a time; and only the page itself may ask, not
another page that a browser has open.
"""

import base64
import hashlib
import io
import ipaddress
import os
import re
import socket
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from urllib.parse import parse_qs

from PIL import Image

from deeppose import boxes, downloads, files, photos, shell
from deeppose.drawing import FAINT, FAINT_BELOW, PICTURE_PX
from deeppose.report import script_json
from deeppose.shell import OUT_OF_MEMORY, InputError, RunError

PAGE = Path(__file__).with_name("page.html")
PORT = 8000
MOST_BYTES = 50_000_000  # of a photograph: cameras' JPEGs of 60 megapixels have less
MOST_PIXELS = 60_000_000  # of a photograph: 180 MB once it is decoded
MOST_PEOPLE = 50  # in a photograph
MOST_SCANS = 50  # of a JPEG: each takes time for all pixels, and an empty one takes few bytes
MOST_CONNECTIONS = 64  # at once, each with a thread; a browser opens 6
HEAD_SECONDS = 10  # for a request's head to arrive
BODY_SECONDS = 30  # for a photograph to arrive, and for an answer to be taken
LAST_SECONDS = 5  # for the rest of a refused body: who is cut off may not hear the refusal
RETRY_SECONDS = 1  # to wait, for a sender who finds another one served
JPEG_QUALITY = 90
# a Host header; urlsplit() would see the host localhost in "evil@localhost"
HOST = re.compile(r"(?:\[([\w:.]+)\]|([\w.-]+))(?::[0-9]{1,5})?", re.ASCII)
# the marker of a JPEG's segment, but for that of a restart, which has no content
SEGMENT = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")
SCAN = b"\xda"
END_OF_IMAGE = b"\xd9"
# a Content-Length; int() would take a sign, blanks, underscores, and digits of other scripts
LENGTH = re.compile("[0-9]{1,15}")


class Refusal(Exception):
    """An answer that is no success: its status and one line for the person at the page."""

    def __init__(self, status, words):
        super().__init__(words)
        self.status = status


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

    address, port  where; port 0 is any that is free
    stages         their names, "stage_1" and those after it
    pose           function of a photograph's bytes, its people's boxes (None: the whole of it) and
                   its name: the answer as JSON will have it; InputError where the photograph cannot
                   be read
    white          of 16 bits, the value that is shown white: the model's
    Raises InputError for an address that is none, RunError for a port that cannot be had.
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
        self.address_family, _, _, _, place = resolved[0]
        self.names = {"localhost", "127.0.0.1", "::1", address.lower()}
        # the work, one photograph at a time
        self.pose = pose
        self.white = white
        self.turn = threading.Lock()
        self.room = threading.BoundedSemaphore(MOST_CONNECTIONS)
        # a single thread, so that torch sets up its own threads once
        self.worker = ThreadPoolExecutor(1, "pose")
        # the page, the same for everybody
        html = PAGE.read_text(encoding="utf-8")
        data = {
            "joints": skeleton.joints,
            "bones": skeleton.bone_ends,
            "stages": stages,
            "faint_below": FAINT_BELOW,
            "faint": FAINT,
            "least_px": PICTURE_PX[0],
            "most_bytes": MOST_BYTES,
            "most_people": MOST_PEOPLE,
        }
        self.page = html.replace("{{data}}", script_json(data)).encode()
        self.policy = content_policy(html)
        Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2  # Pillow raises for twice as many
        try:
            super().__init__(place, Handler)
        except OSError as error:
            raise RunError(
                f"port {port} of {address} cannot be had ({error.strerror}); see --port"
            ) from None
        self.anywhere = ipaddress.ip_address(place[0]).is_unspecified
        self.is_local = ipaddress.ip_address(place[0]).is_loopback

    @property
    def url(self):
        """Address at which a browser on this computer finds the page."""
        host, port = self.server_address[:2]
        if self.anywhere:
            host = "localhost"
        return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"

    def knows(self, host):
        """Whether a Host header names this server.

        A page elsewhere can have its own name resolved to this computer (DNS rebinding), and its
        browser then sends that name; so names are listed, and where all addresses are served, any
        address in figures will do.
        """
        if not (match := HOST.fullmatch(host)):
            return False
        name = (match[1] or match[2]).lower()  # an IPv6 address, or any other
        try:
            return name in self.names or self.anywhere and bool(ipaddress.ip_address(name))
        except ValueError:
            return False

    @contextmanager
    def one_at_a_time(self):
        """Hold the turn to send a photograph and have it worked on; Refusal where another does."""
        if not self.turn.acquire(blocking=False):
            raise Refusal(503, "another photograph is being worked on; try again")
        try:
            yield
        finally:
            self.turn.release()

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
        if not self.room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self.room.release()
            self.shutdown_request(request)

    def process_request_thread(self, request, client_address):
        """Answer, then make room for another."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.room.release()

    def handle_error(self, request, client_address):
        """Print a fault of the code; that a sender left before the answer is none."""
        # any OSError here is the connection's, since other files are read within run()
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def server_close(self):
        """Close the port, and let a prediction that is being made come to its end."""
        super().server_close()
        self.worker.shutdown()


class Arriving(io.RawIOBase):
    """Stream of what a connection sends until a deadline, after which reading raises TimeoutError.

    A socket's own time-out starts anew with each byte, so that one byte now and then would keep it
    for ever.
    """

    def __init__(self, connection):
        self.connection = connection
        self.allow(HEAD_SECONDS)

    def allow(self, seconds):
        """Move the deadline to so many seconds from now."""
        self.deadline = time.monotonic() + seconds

    def readable(self):
        """True, as io wants it."""
        return True

    def readinto(self, buffer):
        """Fill the buffer with what is there."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.connection.settimeout(left)
        return self.connection.recv_into(buffer)


class Handler(BaseHTTPRequestHandler):
    """One request, and its answer; HTTP/1.0, so that no connection stays open after it."""

    server_version = "deeppose"
    sys_version = ""

    def setup(self):
        """Read under a deadline."""
        super().setup()
        self.rfile.close()
        self.arriving = Arriving(self.connection)
        self.rfile = io.BufferedReader(self.arriving)

    def do_GET(self):
        """Send the page."""
        self._answer(self._find_page)

    def do_POST(self):
        """Send what comes of working on the photograph that is the body."""
        self._answer(self._work_on_body)

    def _answer(self, find):
        """Send what find() returns, the arguments of _send after the status; or the refusal."""
        try:
            self._check_sender()
            answer = find()
        except Refusal as refusal:
            self._refuse(refusal.status, str(refusal))
        else:
            self._send(200, *answer)

    def _find_page(self):
        """The page, as _send takes it; Refusal of any other path."""
        if self.path != "/":
            raise Refusal(404, "there is nothing but the page, at /")
        return "text/html; charset=utf-8", self.server.page

    def _work_on_body(self):
        """The work's answer, as _send takes it; Refusal at the first check that fails."""
        work = self._find_work()
        length = self._check_length()
        with self.server.one_at_a_time():
            photograph = self._read_body(length)
            check_scans(photograph)
            return self.server.run(work, photograph)

    def _check_sender(self):
        """Refusal of who is not the page that this server sent."""
        if self.headers.defects:  # the lines after it, the Origin perhaps, were not read
            raise Refusal(400, "a line of the request's head is none")
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or not self.server.knows(hosts[0]):
            raise Refusal(403, "this page has another address; see what predict.py printed")
        origins = self.headers.get_all("Origin", [])
        if any(origin != f"http://{hosts[0]}" for origin in origins):
            raise Refusal(403, "only the page itself may ask, not a page from elsewhere")

    def _find_work(self):
        """Function of the photograph's bytes that the path and the query ask for."""
        path, _, query = self.path.partition("?")
        if path == "/photograph":
            return partial(show, white=self.server.white)
        if path != "/pose":
            raise Refusal(404, "photographs go to /pose or /photograph")
        # /pose?name=NAME&box=X0,Y0,X1,Y1&box=
        try:
            fields = parse_qs(query, max_num_fields=MOST_PEOPLE + 1)
            people = [boxes.box(text) for text in fields.get("box", ())] or None
        except Exception:  # argparse's error of a box, or too many fields
            raise Refusal(400, "the boxes must be x0,y0,x1,y1") from None
        if people and len(people) > MOST_PEOPLE:
            raise Refusal(400, f"a photograph may have {MOST_PEOPLE} boxes, this has {len(people)}")
        name = fields.get("name", ["photograph"])[0]

        def find_pose(photograph):
            return "application/json", as_json(self.server.pose(photograph, people, name))

        return find_pose

    def _check_length(self):
        """Number of the body's bytes, as the head has it; Refusal of none and of too many."""
        lengths = self.headers.get_all("Content-Length", [])
        is_one_number = len(lengths) == 1 and LENGTH.fullmatch(lengths[0])
        if "Transfer-Encoding" in self.headers or not is_one_number:
            raise Refusal(411, "a photograph needs one Content-Length, and no Transfer-Encoding")
        length = int(lengths[0])
        if length > MOST_BYTES:
            raise Refusal(
                413,
                f"a photograph may have {MOST_BYTES / 1e6:.0f} MB, this has "
                f"{length / 1e6:.0f}; reduce it first",
            )
        return length

    def _read_body(self, length):
        """The body, `length` bytes; Refusal where it takes too long or ends early."""
        self.arriving.allow(BODY_SECONDS)
        try:
            photograph = self.rfile.read(length)
        except TimeoutError:
            raise Refusal(
                408, f"the photograph took more than {BODY_SECONDS} seconds to arrive"
            ) from None
        if len(photograph) < length:
            raise Refusal(400, "the photograph ended early")
        return photograph

    def _send(self, status, kind, content, headers=()):
        """Send bytes of a media type, with further headers as (name, value)."""
        self.connection.settimeout(BODY_SECONDS)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, status, words):
        """Answer, then let the rest of the body arrive, within bounds.

        A browser that is cut off while it sends hears nothing.
        """
        retry = [("Retry-After", str(RETRY_SECONDS))] if status == 503 else []
        self._send(status, "application/json", as_json({"error": words}), retry)
        self.connection.shutdown(socket.SHUT_WR)
        self.arriving.allow(LAST_SECONDS)
        left = 2 * MOST_BYTES
        while left > 0 and (arrived := self.rfile.read1(2**16)):
            left -= len(arrived)

    def send_error(self, code, message=None, explain=None):
        """Refuse what http.server itself finds wrong with a request."""
        self._refuse(int(code), message or self.responses[code][0])

    def end_headers(self):
        """Have the browser keep to what the page needs, and keep nothing of it."""
        self.send_header("Content-Security-Policy", self.server.policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, *words):
        """Print nothing: the page says it."""


def content_policy(html):
    """Content-Security-Policy under which nothing but the page's own style and script works."""

    def source(tag):
        content = re.search(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)[1]
        digest = hashlib.sha256(content.encode()).digest()
        return f"'sha256-{base64.b64encode(digest).decode()}'"

    return (
        f"default-src 'none'; style-src {source('style')}; script-src {source('script')}; "
        "img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def check_scans(photograph):
    """Refusal of a JPEG of so many scans that decoding it would take minutes.

    Cameras write 1 scan, and pictures of the web have 10.
    """
    if photograph.startswith(b"\xff\xd8") and scan_count(photograph) > MOST_SCANS:
        raise Refusal(
            400,
            f"the image: is a JPEG of more than {MOST_SCANS} scans; save it anew in another "
            "program",
        )


def scan_count(jpeg):
    """Number of scans of a JPEG's first image, as far as MOST_SCANS + 1.

    Each segment's content is passed over, since a thumbnail in it has scans too, and so is what
    follows the image, such as the film of a moving photograph. In a scan's own data each byte 255
    is followed by 0 or by a restart's marker.
    """
    count = 0
    place = 2  # past the start of the image
    while count <= MOST_SCANS:
        marker = SEGMENT.search(jpeg, place)
        if marker is None or marker[1] == END_OF_IMAGE:
            break
        count += marker[1] == SCAN
        # after the marker comes the length of the content, its own two bytes included
        place = marker.end() + int.from_bytes(jpeg[marker.end() : marker.end() + 2], "big")
    return count


def show(photograph, white):
    """A photograph's bytes as an upright JPEG, with its own width and height as a header.

    Browsers do not read every format that Pillow does, nor turn each as its EXIF tag says. It is
    decoded at full size, since one that has its people to be found in it by hand needs more pixels
    than a network's frame.
    """
    photo = photos.read(io.BytesIO(photograph), 1, white)
    jpeg = io.BytesIO()
    photos.reduced(photo, PICTURE_PX[1]).image.save(jpeg, "JPEG", quality=JPEG_QUALITY)
    return "image/jpeg", jpeg.getvalue(), [("Photograph-Size", f"{photo.size[0]},{photo.size[1]}")]


def as_json(content):
    """JSON as bytes."""
    return files.json_text(content).encode()
