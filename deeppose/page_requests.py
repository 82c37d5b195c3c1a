"""One request to the page of predict.py --page, from the first byte that arrives to the answer.

    GET  /                                     the page
    POST /photograph                           a photograph -> the same upright, as a JPEG of at
                                               most 2,000 px
    POST /pose?name=NAME&box=X0,Y0,X1,Y1&box=  a photograph -> what photo_pose.json has, and each
                                               stage's confidence

A request's body is the photograph's file as it is. It is read as a stranger's: bounded in bytes,
people and seconds; and only the page itself may ask, not another page that a browser has open.
"""

import io
import re
import socket
import time
from argparse import ArgumentTypeError
from functools import partial
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs

from deeppose import boxes, files, photos
from deeppose.jpeg_scans import MOST_SCANS, has_too_many_scans
from deeppose.photos import MOST_PICTURE_PX

MOST_BYTES = 50_000_000  # of a photograph: cameras' JPEGs of 60 megapixels have less
MOST_PEOPLE = 50  # in a photograph
HEAD_SECONDS = 10  # for a request's head to arrive
BODY_SECONDS = 30  # for a photograph to arrive, and for an answer to be taken
LAST_SECONDS = 5  # for the rest of a refused body: who is cut off may not hear the refusal
RETRY_SECONDS = 1  # to wait, for a sender who finds another one served
# a Content-Length; int() would take a sign, blanks, underscores, and digits of other scripts
CONTENT_LENGTH = re.compile("[0-9]{1,15}")
JPEG_QUALITY = 90


class Refusal(Exception):
    """An answer that is no success: its status and one line for the person at the page."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Arriving(io.RawIOBase):
    """Stream of what a connection sends until a deadline, after which reading raises TimeoutError.

    A socket's own time-out starts anew with each byte, so that one byte now and then would keep the
    connection open for ever.
    """

    def __init__(self, connection):
        self.connection = connection
        self.allow(HEAD_SECONDS)

    def allow(self, seconds):
        """Move the deadline to so many seconds from now."""
        self.deadline = time.monotonic() + seconds

    def readable(self):
        """Whether it can be read, which io asks: yes."""
        return True

    def readinto(self, buffer):
        """Put what is there into the buffer; returns the number of bytes."""
        seconds_left = self.deadline - time.monotonic()
        if seconds_left <= 0:
            raise TimeoutError
        self.connection.settimeout(seconds_left)
        return self.connection.recv_into(buffer)


class Handler(BaseHTTPRequestHandler):
    """One request, and its answer; HTTP/1.0, so that no connection stays open after it.

    Its server is a page.Server.
    """

    server_version = "deeppose"
    sys_version = ""

    def setup(self):
        """Read under a deadline."""
        super().setup()
        # in place of the stream that would wait for ever
        self.rfile.close()
        self.arriving = Arriving(self.connection)
        self.rfile = io.BufferedReader(self.arriving)

    def do_GET(self):
        """Send the page."""
        self._answer(self._find_page)

    def do_POST(self):
        """Send what comes of working on the photograph that is the body."""
        self._answer(self._work_on_body)

    def _answer(self, make_answer):
        """Send the arguments of _send after the status that make_answer() returns; or the refusal."""
        try:
            self._check_sender()
            answer = make_answer()
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
            if has_too_many_scans(photograph):
                raise Refusal(
                    400,
                    f"the image: is a JPEG of more than {MOST_SCANS} scans; save it anew in another "
                    "program",
                )
            return self.server.run(work, photograph)

    def _check_sender(self):
        """Raise Refusal of a sender that is not the page that this server sent."""
        # lines after a defective one, the Origin perhaps, were not read
        if self.headers.defects:
            raise Refusal(400, "a line of the request's head is none")
        # by which name the server was asked, see Server.knows
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or not self.server.knows(hosts[0]):
            raise Refusal(403, "this page has another address; see what predict.py printed")
        # which page asked, as browsers tell of themselves
        origins = self.headers.get_all("Origin", [])
        if any(origin != f"http://{hosts[0]}" for origin in origins):
            raise Refusal(403, "only the page itself may ask, not a page from elsewhere")

    def _find_work(self):
        """Function of the photograph's bytes that the path and the query ask for."""
        path, _, query = self.path.partition("?")
        if path == "/photograph":
            return partial(upright_jpeg, white=self.server.white)
        if path != "/pose":
            raise Refusal(404, "photographs go to /pose or /photograph")
        # its query is name=NAME&box=X0,Y0,X1,Y1&box=...
        try:
            fields = parse_qs(query, max_num_fields=MOST_PEOPLE + 1)
            people = [boxes.box(text) for text in fields.get("box", ())] or None
        except ArgumentTypeError:
            raise Refusal(400, "the boxes must be x0,y0,x1,y1") from None
        except ValueError:  # too many fields, or bytes that are no text
            raise Refusal(400, f"a photograph has a name and {MOST_PEOPLE} boxes at most") from None
        if people and len(people) > MOST_PEOPLE:
            raise Refusal(400, f"a photograph may have {MOST_PEOPLE} boxes, this has {len(people)}")
        photograph_name = fields.get("name", ["photograph"])[0]

        def find_pose(photograph):
            poses = self.server.pose(photograph, people, photograph_name)
            return "application/json", as_json(poses)

        return find_pose

    def _check_length(self):
        """Number of the body's bytes, as the head has it; Refusal of none and of too many."""
        lengths = self.headers.get_all("Content-Length", [])
        is_one_number = len(lengths) == 1 and CONTENT_LENGTH.fullmatch(lengths[0])
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

    def _send(self, status, media_type, content, headers=()):
        """Send bytes of a media type, with further headers as (name, value)."""
        self.connection.settimeout(BODY_SECONDS)
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        for header_name, value in headers:
            self.send_header(header_name, value)
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, status, message):
        """Answer with a refusal, then let the rest of the body arrive, within bounds.

        A browser that is cut off while it sends hears nothing.
        """
        retry = [("Retry-After", str(RETRY_SECONDS))] if status == 503 else []
        self._send(status, "application/json", as_json({"error": message}), retry)
        # read on, and drop what arrives
        self.connection.shutdown(socket.SHUT_WR)
        self.arriving.allow(LAST_SECONDS)
        bytes_left = 2 * MOST_BYTES
        while bytes_left > 0 and (arrived := self.rfile.read1(2**16)):
            bytes_left -= len(arrived)

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

    def log_message(self, *message):
        """Print nothing: the page says it."""


def upright_jpeg(photograph, white):
    """Answer with an upright JPEG of a photograph's bytes; its own size stands in a header.

    Browsers do not read every format that Pillow does, nor turn each as its EXIF tag says. It is
    decoded at full size, since a photograph in which people are found by hand needs more pixels
    than a network's frame.
    """
    photo = photos.read(io.BytesIO(photograph), 1, white)
    jpeg_file = io.BytesIO()
    photos.reduced(photo, MOST_PICTURE_PX).image.save(jpeg_file, "JPEG", quality=JPEG_QUALITY)
    width, height = photo.size
    return "image/jpeg", jpeg_file.getvalue(), [("Photograph-Size", f"{width},{height}")]


def as_json(content):
    """JSON as bytes."""
    return files.json_text(content).encode()
