"""predict.py --page: what strangers may send to it, and what people do with it in a real
browser."""

import base64
import contextlib
import hashlib
import http.client
import http.server
import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import BROWSER, Browser
from helpers import FP32, fails, write_model, write_refiner
from PIL import Image

import predict as script
from Cascade_1_net import Alex_net_c1
from deeppose import jpeg_scans, page, page_requests
from deeppose.photos import ORIENTATION
from deeppose.skeletons import LSP
from Resnet_stage_1 import Resnet_stage_1

UNSURE = ("left_knee", "right_wrist")
EVIL = "http://evil.example"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A working directory with random networks, as small as they go, whose predictions differ: both
    stages."""
    folder = tmp_path_factory.mktemp("trained")
    torch.manual_seed(0)
    network = Resnet_stage_1(14)
    network.heatmaps.joints.weight.data *= 100
    write_model(folder, network, input_size=(64, 64), epoch=7)
    refiner = Alex_net_c1(14, range(14), crop_px=67)
    torch.nn.init.normal_(refiner.heatmaps.joints.weight)
    write_refiner(folder, "shared", refiner, epoch=7)
    yield folder
    for path in folder.glob("*.pt"):
        path.unlink()


@pytest.fixture(scope="module")
def model(trained):
    return script.load(trained, "cpu", "fp32")


@pytest.fixture(autouse=True)
def pillow(monkeypatch):
    """The server lowers Pillow's limit for its process, which here is the tests'."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


@contextlib.contextmanager
def serving(pose, address="127.0.0.1", port=0, **options):
    """A server whose poses come from that function, in a thread of its own."""
    with page.Server(address, port, LSP, ("stage_1", "stage_2"), pose, **options) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server(model):
    with serving(partial(script.answer, model)) as server:
        yield server


def triangle(photograph, people, name):
    """A pose that takes no network: joints on a line across each box; of stage 2 some are
    unsure."""
    size = Image.open(io.BytesIO(photograph)).size
    entries = []
    for x0, y0, x1, y1 in people or [(0, 0, *size)]:
        along = np.linspace(0.1, 0.9, 14)[:, None]
        joints = (np.array([x0, y0]) + along * [x1 - x0, y1 - y0]).round(3).tolist()
        later = (np.array([x0, y1]) + along * [x1 - x0, y0 - y1]).round(3).tolist()
        entries.append(
            {
                "box": [x0, y0, x1, y1],
                "stage_1": dict(zip(LSP.joints, joints)),
                "stage_2": dict(zip(LSP.joints, later)),
            }
        )
    sure = [[0.1 if joint in UNSURE else 0.9 for joint in LSP.joints]] * len(entries)
    pose = {"photograph": name, "width": size[0], "height": size[1], "people": entries}
    return {
        "pose": pose,
        "confidence": {"stage_1": [[float("nan")] * 14] * len(entries), "stage_2": sure},
    }


def jpeg(size=(60, 80), colour=(90, 90, 90)):
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "JPEG")
    return data.getvalue()


def many_scans():
    """A progressive JPEG whose last scan is repeated a thousand times."""
    data = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(data, "JPEG", progressive=True)
    head, _, last = data.getvalue().removesuffix(b"\xff\xd9").rpartition(b"\xff\xda")
    return head + (b"\xff\xda" + last) * 1000 + b"\xff\xd9"


def bomb():
    """A PNG of 108 megapixels in 14 kB."""
    data = io.BytesIO()
    Image.new("1", (12000, 9000)).save(data, "PNG")
    return data.getvalue()


def ask(server, method="POST", path="/pose", body=None, headers=()):
    """(status, headers, content) of one request; Host and Content-Length are as a browser sends
    them unless given."""
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=30)
    with contextlib.closing(connection):
        headers = list(headers)
        connection.putrequest(
            method,
            path,
            skip_host=any(name == "Host" for name, _ in headers),
            skip_accept_encoding=True,
        )
        if body is not None and not any(name == "Content-Length" for name, _ in headers):
            headers.append(("Content-Length", str(len(body))))
        for name, value in headers:
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders()
        if body:
            connection.send(body)
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read()


def raw(server, sent, wait=10):
    """All that comes back for these bytes."""
    with socket.create_connection(server.server_address[:2], timeout=wait) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        return connection.makefile("rb").read()


def refused(answer, status, *said):
    """The answer is a refusal: its status, one line of JSON with these words, and headers as of
    every answer."""
    found, headers, content = answer
    assert found == status, content
    line = json.loads(content)["error"]
    assert len(line.splitlines()) == 1 and all(words in line for words in said), line
    assert (
        headers["X-Content-Type-Options"] == "nosniff"
        and "default-src 'none'" in headers["Content-Security-Policy"]
    )


# ---- what the server answers


def test_the_page_works_under_a_policy_that_lets_nothing_else_in(server):
    status, headers, content = ask(server, "GET", "/")
    html = content.decode()
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    policy = dict(
        part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["connect-src"] == "'self'" and "unsafe" not in headers["Content-Security-Policy"]
    for tag in ("style", "script"):
        inner = re.search(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)[1]
        assert (
            base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
            in policy[f"{tag}-src"]
        )
    assert (
        not re.search(r"""(src|href|action)\s*=\s*["']?(https?:|//)""", html)
        and "@import" not in html
    )
    data = json.loads(re.search('id="data">(.*?)</script>', html)[1])
    assert data["joints"] == list(LSP.joints) and data["stages"] == ["stage_1", "stage_2"]
    assert headers["Cache-Control"] == "no-store" and "Python" not in str(headers["Server"])


@pytest.mark.parametrize("people", [None, [[10, 5.5, 70, 120], [-20, 0, 50, 90]]])
def test_the_answer_is_what_predict_writes(people, server, trained, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a photo.jpg").write_bytes((photos / "images_1" / "im0012.jpg").read_bytes())
    boxes = ["{},{},{},{}".format(*box) for box in people or ()]
    flags = [word for box in boxes for word in ("--box", box)]
    script.main(["a photo.jpg", "--workdir", str(trained), *flags, *FP32])
    written = json.loads((tmp_path / "a photo_pose.json").read_text())
    query = "&".join(["name=a%20photo.jpg", *(f"box={box}" for box in boxes)])
    status, _, content = ask(
        server, path=f"/pose?{query}", body=(tmp_path / "a photo.jpg").read_bytes()
    )
    found = json.loads(content)
    assert status == 200 and found["pose"] == written
    assert list(found["confidence"]) == ["stage_1", "stage_2"]
    for person, confidence in zip(written["people"], found["confidence"]["stage_2"], strict=True):
        assert list(person["confidence"].values()) == confidence


def test_a_photograph_comes_back_upright(server):
    shown = Image.new("RGB", (300, 200), (200, 30, 30))
    shown.paste((30, 30, 200), (0, 0, 300, 100))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    for kind in ("TIFF", "PNG", "WEBP"):  # of which browsers read one not at all, and turn not each
        data = io.BytesIO()
        shown.transpose(Image.Transpose.ROTATE_90).save(data, kind, exif=exif)
        status, headers, content = ask(server, path="/photograph", body=data.getvalue())
        assert (
            status == 200
            and headers["Photograph-Size"] == "300,200"
            and headers["Content-Type"] == "image/jpeg"
        )
        found = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
        assert np.abs(found - np.asarray(shown)).mean() < 6


def test_depth_is_shown_by_the_models_white():
    depth = Image.fromarray(np.full((20, 30), 900, np.uint16))
    data = io.BytesIO()
    depth.save(data, "PNG")
    for white, grey in ((1800, 127), (65535, 3)):
        with serving(triangle, white=white) as server:
            _, _, content = ask(server, path="/photograph", body=data.getvalue())
        assert (
            np.abs(
                np.asarray(Image.open(io.BytesIO(content)).convert("L")).astype(int) - grey
            ).max()
            <= 2
        )


def test_the_command_serves_its_model(trained, tmp_path, monkeypatch):
    """A model of depth images, whose white is no other's."""
    for name in ("model_1.pt", "model_1.json"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    facts = json.loads((tmp_path / "model_1.json").read_text())
    (tmp_path / "model_1.json").write_text(json.dumps(facts | {"depth_white": 1800}))
    served = []
    monkeypatch.setattr(page, "serve", lambda *asked: served.append(asked))
    script.main(["--page", "--port", "0", "--workdir", str(tmp_path), *FP32])
    ((address, port, skeleton, stages, _, white),) = served
    assert (address, port, skeleton.joints, stages, white) == (
        "127.0.0.1",
        0,
        LSP.joints,
        ("stage_1",),
        1800,
    )


def test_a_large_photograph_comes_back_reduced(server):
    _, headers, content = ask(server, path="/photograph", body=jpeg((6000, 1500)))
    assert headers["Photograph-Size"] == "6000,1500" and Image.open(io.BytesIO(content)).size == (
        2000,
        500,
    )


# ---- who may ask


@pytest.mark.parametrize(
    "headers",
    [
        [("Host", "evil.example")],
        [("Host", "evil.example:8000")],
        [("Host", "127.0.0.1.evil.example")],
        [("Host", "")],
        [("Host", None)],
        [("Host", "localhost"), ("Host", "evil.example")],
        [("Host", "127.0.0.1@evil.example")],
        [("Host", "[")],
        [("Host", "192.168.0.7:8000")],
        [("Host", "0.0.0.0:8000")],
        [("Host", "evil.example@localhost")],
        [("Host", "localhost/evil.example")],
        [("Host", "localhost:8000:9")],
        [("Host", "localhost:evil")],
        [("Host", "2130706433")],
        [("Host", "127.0.0.1 evil.example")],
        [("Host", "[127.0.0.1]evil.example")],
        [("Host", "[::ffff:127.0.0.1]")],
        [("Host", "localhost."), ("Origin", "http://localhost.")],
        [("Origin", EVIL)],
        [("Origin", "null")],
        [("Origin", "http://localhost:1")],
        [("Origin", "https://{host}")],
        [("Origin", "http://{host}"), ("Origin", EVIL)],
        [("Origin", "http://{host}.evil.example")],
        [("Origin", "")],
    ],
)
def test_others_are_refused_before_anything_is_read(headers, server):
    host = f"127.0.0.1:{server.server_address[1]}"
    headers = [(name, value and value.format(host=host)) for name, value in headers]
    for method, path, body in (
        ("POST", "/pose", jpeg()),
        ("POST", "/photograph", jpeg()),
        ("GET", "/", None),
    ):
        refused(ask(server, method, path, body, headers), 403)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1:80", "[::1]:8000"])
def test_the_page_itself_may_ask(host, server):
    """By any port, since a tunnel may end at another."""
    status, _, _ = ask(
        server,
        path="/photograph",
        body=jpeg(),
        headers=[("Host", host), ("Origin", f"http://{host}")],
    )
    assert status == 200


def test_where_all_addresses_are_served_names_are_refused_all_the_same():
    with serving(triangle, "0.0.0.0") as server:
        assert not server.is_local and server.url == f"http://localhost:{server.server_address[1]}/"
        assert ask(server, "GET", "/", headers=[("Host", "192.168.0.7:8000")])[0] == 200
        refused(ask(server, "GET", "/", headers=[("Host", "evil.example")]), 403)


# ---- what is sent


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Transfer-Encoding", "chunked")],
        [("Transfer-Encoding", "chunked"), ("Content-Length", "9")],
        [("Content-Length", "-1")],
        [("Content-Length", "+9")],
        [("Content-Length", "1_0")],
        [("Content-Length", "0x9")],
        [("Content-Length", "9, 9")],
        [("Content-Length", "9"), ("Content-Length", "9")],
        [("Content-Length", "")],
        [("Content-Length", "9" * 400)],
        [("Content-Length", "\xb2".encode("latin-1"))],
    ],
)
def test_a_body_without_a_sound_length_is_refused(headers, server):
    refused(ask(server, headers=headers), 411, "Content-Length")


def test_too_many_bytes_are_refused_in_words_even_while_they_are_sent(server):
    length = page_requests.MOST_BYTES + 1
    refused(
        ask(server, headers=[("Content-Length", str(length))], body=bytes(length)), 413, "50 MB"
    )


def test_a_body_that_ends_early(server):
    start = b"POST /pose HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
    answer = raw(server, start + b"x" * 50)
    assert b" 400 " in answer.splitlines()[0] and b"ended early" in answer


@pytest.mark.parametrize("path", ["/pose", "/photograph", "/pose?box=0,0,9,9"])
@pytest.mark.parametrize(
    "content, said",
    [
        (bomb(), "more than 60 million pixels"),
        (many_scans(), "more than 50 scans"),
        (b"hello", "no image"),
        (b"", "no image"),
        (jpeg()[:200], "no image"),
        (b"%!PS-Adobe", "no image"),
    ],
)
def test_what_is_no_photograph_is_refused(path, content, said, server):
    begun = time.monotonic()
    refused(ask(server, path=path, body=content), 400, said)
    assert time.monotonic() - begun < 5
    assert ask(server, path="/photograph", body=jpeg())[0] == 200


def test_scans_are_told_from_what_looks_like_them():
    data = io.BytesIO()
    Image.effect_noise((300, 200), 80).save(
        data, "JPEG", progressive=True, quality=98, restart_marker_blocks=1
    )
    photograph = data.getvalue()
    count = photograph.count(b"\xff\xda")
    thumbnail = b"\xff\xe1" + (2 + 2000).to_bytes(2, "big") + b"\xff\xda" * 1000
    assert (
        4 < count < 12
        and jpeg_scans.scan_count(photograph[:2] + thumbnail + photograph[2:] + thumbnail) == count
    )
    assert jpeg_scans.scan_count(many_scans()) > jpeg_scans.MOST_SCANS
    for broken in (b"\xff\xd8", b"\xff\xd8\xff\xda", b"\xff\xd8\xff\xe1\0\0\xff", photograph[:300]):
        assert jpeg_scans.scan_count(broken) <= 1


@pytest.mark.parametrize(
    "query",
    [
        "box=1,2,3",
        "box=a,b,c,d",
        "box=5,5,1,1",
        "box=nan,0,1,1",
        "box=0,0,1e400,1",
        "box=900,0,950,9",
        "box=-1e5,0,1e5,9",
        "&".join(["box=0,0,9,9"] * 51),
        "name=a&" + "&".join(["box=0,0,9,9"] * 51),
        "&".join(["a=b"] * 99),
        "box=" + "9" * 5000 + ",0,1,1",
    ],
)
def test_boxes_that_make_no_sense_are_refused(query, server):
    refused(ask(server, path=f"/pose?{query}", body=jpeg()), 400, "box")


@pytest.mark.parametrize(
    "sent, status",
    [
        (b"GET /favicon.ico HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /../predict.py HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 404),
        (b"POST http://[ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 404),
        (b"POST //[ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 404),
        (b"OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
        (b"PUT /pose HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
        (b"<script> / HTTP/1.1\r\n\r\n", 501),
        (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nno header\r\nOrigin: http://evil.example\r\n\r\n",
            400,
        ),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nOrigin : http://evil.example\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\na: " + b"b" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
    ],
)
def test_requests_of_other_kinds_are_refused_in_one_line(sent, status, server, capsys):
    answer = raw(server, sent)
    head, _, content = answer.partition(b"\r\n\r\n")
    if answer.startswith(b"HTTP/"):
        assert int(answer.split()[1]) == status and b"nosniff" in head
    assert list(json.loads(content or head)) == ["error"]
    assert ask(server, "GET", "/")[0] == 200 and not capsys.readouterr().err


def test_nothing_is_written(server, tmp_path, monkeypatch):
    """Neither into the working directory, nor a temporary file on the way."""
    monkeypatch.chdir(tmp_path)
    modes = []

    def watched(file, mode="r", *rest, real=open, **options):
        modes.append(mode)
        return real(file, mode, *rest, **options)

    monkeypatch.setattr("builtins.open", watched)
    for name in ("mkstemp", "NamedTemporaryFile", "TemporaryFile", "SpooledTemporaryFile"):
        monkeypatch.setattr(f"tempfile.{name}", None)
    for kind in ("JPEG", "TIFF", "PNG", "WEBP", "GIF", "JPEG2000"):
        data = io.BytesIO()
        Image.new("RGB", (50, 70)).save(data, kind)
        for path in ("/pose?name=../../x.jpg", "/photograph"):
            assert ask(server, path=path, body=data.getvalue())[0] == 200
    assert not set("wax+") & set("".join(modes)) and not list(tmp_path.iterdir())


def test_the_snippet_of_the_documentation_runs(server, tmp_path, monkeypatch, capsys):
    text = (Path(script.__file__).parent / "docs" / "deploy.md").read_text(encoding="utf-8")
    snippet = re.search(r"<!-- page -->\n```python\n(.*?)```", text, re.DOTALL)[1]
    (tmp_path / "photo.jpg").write_bytes(jpeg((120, 160)))
    monkeypatch.chdir(tmp_path)
    exec(snippet.replace(f":{page.PORT}/", f":{server.server_address[1]}/"), {})
    assert "'left_knee': [" in capsys.readouterr().out


# ---- when


def trickle(server, start, every=0.05):
    """Send start, then a byte now and then, until an answer comes; returns it and the seconds that
    it took."""
    begun = time.monotonic()
    with socket.create_connection(server.server_address[:2], timeout=every) as connection:
        connection.sendall(start)
        answer = b""
        while time.monotonic() - begun < 20:
            with contextlib.suppress(TimeoutError, ConnectionError):
                if not (some := connection.recv(2**16)):
                    break
                answer += some
            with contextlib.suppress(OSError):
                connection.send(b"a")
    return answer, time.monotonic() - begun


def test_a_slow_body_times_out_however_steady(server, monkeypatch):
    monkeypatch.setattr(page_requests, "BODY_SECONDS", 0.5)
    monkeypatch.setattr(page_requests, "LAST_SECONDS", 0.2)
    answer, seconds = trickle(
        server, b"POST /pose HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n"
    )
    assert (
        b" 408 " in answer.splitlines()[0] and b"seconds to arrive" in answer and 0.5 < seconds < 10
    )
    assert ask(server, path="/photograph", body=jpeg())[0] == 200


@pytest.mark.parametrize("start", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: lo"])
def test_a_slow_head_is_hung_up_on(start, server, monkeypatch):
    monkeypatch.setattr(page_requests, "HEAD_SECONDS", 0.5)
    answer, seconds = trickle(server, start)
    assert not answer and seconds < 10


def test_thirty_uploads_at_once(monkeypatch):
    """One is worked on, the others are told to try again; then the next is."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(*rest):
        begun.set()
        assert go_on.wait(20)
        return triangle(*rest)

    with serving(slow) as server, ThreadPoolExecutor(30) as senders:
        first = senders.submit(ask, server, body=jpeg())
        assert begun.wait(20)
        others = [senders.submit(ask, server, body=jpeg((3000, 2000))) for _ in range(29)]
        for other in others:
            refused(other.result(), 503, "try again")
            assert other.result()[1]["Retry-After"] == "1"
        go_on.set()
        assert first.result()[0] == 200
        assert ask(server, body=jpeg())[0] == 200


def test_who_leaves_before_the_answer_leaves_nothing_behind(capsys):
    begun, go_on = threading.Event(), threading.Event()

    def slow(*rest):
        begun.set()
        assert go_on.wait(20)
        return triangle(*rest)

    with serving(slow) as server:
        body = jpeg()
        with socket.create_connection(server.server_address[:2]) as connection:
            head = f"POST /pose HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            assert begun.wait(20)
            # a reset, not an end
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        go_on.set()
        with server.photograph_turn:
            pass
        assert ask(server, body=body)[0] == 200
    assert not capsys.readouterr().err


def test_idle_connections_leave_room_once_they_are_gone(monkeypatch):
    monkeypatch.setattr(page, "MOST_CONNECTIONS", 3)
    monkeypatch.setattr(page_requests, "HEAD_SECONDS", 1)
    with serving(triangle) as server:
        idle = [socket.create_connection(server.server_address[:2], timeout=10) for _ in range(3)]
        extra = socket.create_connection(server.server_address[:2], timeout=10)
        assert extra.recv(1) == b""
        for connection in idle:
            assert connection.recv(1) == b""  # after HEAD_SECONDS
            connection.close()
        extra.close()
        end = time.monotonic() + 10
        while True:
            with contextlib.suppress(ConnectionError, http.client.HTTPException):
                assert ask(server, body=jpeg())[0] == 200
                break
            assert time.monotonic() < end


def test_a_connection_that_gets_no_thread_leaves_its_room(monkeypatch):
    def fail(*asked):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(page, "MOST_CONNECTIONS", 1)
    with serving(triangle) as server:
        with monkeypatch.context() as patch:
            patch.setattr(page.ThreadingMixIn, "process_request", fail)
            assert raw(server, b"") == b""
        assert ask(server, body=jpeg())[0] == 200


@pytest.mark.parametrize(
    "error, said",
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("CUDA out of memory."), "out of memory"),
        (ZeroDivisionError("secret"), "the shell"),
    ],
)
def test_a_fault_does_not_end_the_page(error, said, capsys):
    def broken(*rest):
        raise error

    with serving(broken) as server:
        for _ in range(2):
            answer = ask(server, body=jpeg())
            refused(answer, 500, said)
            assert b"secret" not in answer[2]
    assert ("Traceback" in capsys.readouterr().err) == isinstance(error, ZeroDivisionError)


# ---- from the shell


def test_flags_that_make_no_sense(trained, tmp_path, capsys):
    for flags, said in (
        ([], "PHOTO"),
        (["--page", "a.jpg"], "PHOTO"),
        (["--page", "--port", "70000"], "65535"),
        (["--page", "--port", "-1"], "less"),
        (["--page", "--box", "0,0,9,9"], "--page"),
        (["--page", "--boxes", "boxes.json"], "--page"),
        (["--page", "--output", tmp_path], "--page"),
        (["--page", "--address", "no..address", "--workdir", trained, *FP32], "--address"),
    ):
        fails(script.main, flags, capsys, said)


def test_a_port_that_is_taken(server, trained, capsys):
    port = server.server_address[1]
    flags = ["--page", "--port", port, "--workdir", trained, *FP32]
    fails(script.main, flags, capsys, f"port {port}", "--port", code=1)


@pytest.mark.parametrize(
    "address, warned", [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)]
)
def test_an_address_that_others_reach_is_warned_of(address, warned, monkeypatch, capsys):
    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(page.Server, "serve_forever", stop)
    page.serve(address, 0, LSP, ("stage_1",), triangle)
    said = capsys.readouterr()
    assert ("without a password" in said.err) == warned and "The page is at http://" in said.out


def test_ctrl_c_ends_it_cleanly(trained):
    """Even if the tests run in a shell's background, whose children ignore Ctrl-C."""
    heed = (
        "import signal, sys, predict\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "predict.main(sys.argv[1:])"
    )
    command = [
        sys.executable,
        "-c",
        heed,
        "--page",
        "--port",
        "0",
        "--workdir",
        str(trained),
        *FP32,
    ]
    process = subprocess.Popen(
        command,
        cwd=Path(script.__file__).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    model_line, address_line = process.stdout.readline(), process.stdout.readline()
    assert "stage 1" in model_line
    port = int(re.search(r":(\d+)/", address_line)[1])
    with contextlib.closing(
        http.client.HTTPConnection("localhost", port, timeout=10)
    ) as connection:
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0 and "closed" in out and not err


# ---- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not BROWSER:
        pytest.skip("no Chromium on the PATH")
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "a photo.jpg"
    path.write_bytes(jpeg((640, 480)))
    return path


@pytest.fixture
def opened(browser):
    """The page, whose poses are triangle's."""
    with serving(triangle) as server:
        browser.open(server.url)
        yield browser
        assert not browser.complaints()


def on_screen(browser, x, y):
    """A place of the window, from one of the photograph."""
    left, top, scale = browser.run("""(() => {
        const bounds = at("draw").getBoundingClientRect();
        return [bounds.left, bounds.top, screenScale()]; })()""")
    return left + x * scale, top + y * scale


def boxes(browser):
    browser.wait("upToDate()")
    return browser.run("current.boxes")


def drag(browser, start, end):
    browser.drag(on_screen(browser, *start), on_screen(browser, *end))


def test_upload_a_box_and_what_is_saved(browser, server, trained, photos, tmp_path, monkeypatch):
    """With the networks, from choosing a photograph to files that say what predict.py's do."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes((photos / "images_2" / "im00003.jpg").read_bytes())
    width, height = Image.open(tmp_path / "photo.jpg").size
    browser.open(server.url)
    browser.choose("#files", [tmp_path / "photo.jpg"])
    browser.wait("current && upToDate()")
    assert browser.run("at('people').innerText").startswith("The whole photograph")
    drag(browser, (0.1 * width, 0.2 * height), (0.6 * width, 0.9 * height))
    (found,) = boxes(browser)
    np.testing.assert_allclose(
        found, [0.1 * width, 0.2 * height, 0.6 * width, 0.9 * height], atol=1.5
    )
    saved = browser.download(lambda: browser.run("at('save-json').click()"))
    script.main(["photo.jpg", "--workdir", str(trained), "--box", ",".join(map(str, found)), *FP32])
    assert saved.name == "photo_pose.json"
    assert json.loads(saved.read_text()) == json.loads((tmp_path / "photo_pose.json").read_text())
    assert browser.run("document.querySelectorAll('#poses .stage').length") == 2
    assert not browser.complaints()


def test_the_saved_picture_shows_what_is_switched_on(opened, photo):
    def colours():
        saved = opened.download(lambda: opened.run("at('save-picture').click()"))
        assert saved.name == "a photo_pose.png"
        picture = np.asarray(Image.open(saved).convert("RGB")).astype(int)
        assert picture.shape == (480, 640, 3) and (np.abs(picture - 90).max(2) < 8).mean() > 0.8
        return [
            (np.abs(picture - colour).max(2) < 8).sum()
            for colour in ((0xFF, 0x8C, 0x3A), (0x45, 0xB5, 0xFF))
        ]

    opened.drop([photo])
    opened.wait("current && upToDate()")
    orange, blue = colours()
    assert orange > 200 and blue > 200
    opened.press("1")
    orange, blue = colours()
    assert orange == 0 and blue > 200


def test_skeletons_lie_where_they_are_and_unsure_limbs_are_faint(opened, photo):
    opened.drop([photo])
    opened.wait("current && upToDate()")
    drawn = opened.run("""[...document.querySelectorAll("#poses .stage")].map(stage =>
        [...stage.children].map(part => [part.getAttribute("opacity"), part.firstChild.getAttribute("d")]))""")
    pose = triangle(photo.read_bytes(), None, "")["pose"]["people"][0]
    for stage, parts in zip(("stage_1", "stage_2"), drawn, strict=True):
        places = {}
        for opacity, path in parts:
            for number in re.findall(r"M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)", path):
                places[tuple(map(float, number))] = opacity
        assert len(places) == len(LSP.bones)
        for first, second in LSP.bones:
            ends = tuple(np.round([*pose[stage][first], *pose[stage][second]], 1))
            # of stage 1 nothing is known
            unsure = stage == "stage_2" and {first, second} & set(UNSURE)
            assert places[ends] == ("0.35" if unsure else "1")
    assert opened.run("document.querySelectorAll('#confidence .unsure').length") == len(UNSURE)


def test_stages_are_switched_by_boxes_and_keys(opened, photo):
    opened.drop([photo])
    opened.wait("current && upToDate()")
    shown = (
        "[...document.querySelectorAll('#poses .stage')].map(stage => stage.dataset.order).join()"
    )
    assert opened.run(shown) == "0,1"
    opened.press("1")
    assert opened.run(shown) == "1" and not opened.run(
        "at('stages').querySelector('input').checked"
    )
    opened.run("at('stages').querySelectorAll('input')[1].click()")
    assert opened.run(shown) == ""
    opened.press("2")
    assert opened.run(shown) == "1"


def test_boxes_are_drawn_moved_resized_and_removed(opened, photo):
    opened.drop([photo])
    opened.wait("current && upToDate()")
    drag(opened, (100, 100), (300, 400))
    np.testing.assert_allclose(boxes(opened), [[100, 100, 300, 400]], atol=1.5)
    drag(opened, (200, 250), (260, 230))  # inside: moved
    np.testing.assert_allclose(boxes(opened), [[160, 80, 360, 380]], atol=1.5)
    drag(opened, (360, 380), (400, 420))  # its corner
    np.testing.assert_allclose(boxes(opened), [[160, 80, 400, 420]], atol=1.5)
    drag(opened, (160, 250), (60, 333))  # its left edge
    np.testing.assert_allclose(boxes(opened), [[60, 80, 400, 420]], atol=1.5)
    # not out of the photograph
    drag(opened, (200, 200), (900, 200))
    np.testing.assert_allclose(boxes(opened), [[300, 80, 640, 420]], atol=1.5)
    opened.press("Escape")
    # from inside it, but it is not chosen
    drag(opened, (350, 120), (20, 300))
    np.testing.assert_allclose(boxes(opened)[1], [20, 120, 350, 300], atol=1.5)
    assert opened.run("current.answer.pose.people.map(person => person.box)") == opened.run(
        "current.boxes"
    )
    assert opened.run("selected") == 1
    # a click chooses, and draws nothing
    drag(opened, (500, 350), (501, 351))
    assert opened.run("selected") == 0 and len(boxes(opened)) == 2
    opened.press("Delete")
    np.testing.assert_allclose(boxes(opened), [[20, 120, 350, 300]], atol=1.5)
    opened.run("at('people').querySelector('[data-remove]').click()")
    assert boxes(opened) == [] and opened.run("current.answer.pose.people.length") == 1


def test_keys_alone_do_it_all(opened, photo, tmp_path):
    second = tmp_path / "second.png"
    Image.new("RGB", (300, 400)).save(second)
    opened.drop([photo, second])
    opened.wait("current && upToDate()")
    opened.press("n")
    (first,) = boxes(opened)
    opened.press("ArrowRight")
    opened.press("ArrowDown", shift=True)
    np.testing.assert_allclose(boxes(opened)[0], np.array(first) + [6.4, 0, 6.4, 6.4], atol=0.2)
    opened.press("n")
    opened.press("p")
    assert opened.run("selected") == 0 and len(boxes(opened)) == 2
    saved = opened.download(lambda: opened.press("j"))
    assert len(json.loads(saved.read_text())["people"]) == 2
    opened.press("Escape")
    opened.press("ArrowRight")
    opened.wait("current.name === 'second.png' && upToDate()")
    assert opened.run("current.size") == [300, 400] and boxes(opened) == []


def test_fingers_draw_boxes_on_a_phone(browser, photo):
    with serving(triangle) as server:
        browser.open(server.url, 390, 844)
        browser.choose("#files", [photo])
        browser.wait("current && upToDate()")
        assert browser.run("document.documentElement.scrollWidth") <= 390
        browser.send("Emulation.setTouchEmulationEnabled", enabled=True)
        for kind, *places in (
            ("touchStart", (100, 100)),
            ("touchMove", (200, 300)),
            # another finger, which does nothing,
            ("touchStart", (200, 300), (500, 50)),
            # and is gone
            ("touchMove", (200, 300), (600, 60)),
            ("touchMove", (300, 400)),
        ):
            points = [on_screen(browser, *place) for place in places]
            touches = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(points)]
            browser.send("Input.dispatchTouchEvent", type=kind, touchPoints=touches)
        browser.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        np.testing.assert_allclose(boxes(browser), [[100, 100, 300, 400]], atol=2.5)
        browser.send("Emulation.setTouchEmulationEnabled", enabled=False)
        assert browser.run("document.documentElement.scrollWidth") <= 390


def test_what_is_no_photograph_is_said_on_the_page(browser, server, photo, tmp_path):
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "bomb.png").write_bytes(bomb())
    (tmp_path / "<img src=x onerror=alert(1)>.jpg").write_bytes(photo.read_bytes())
    browser.open(server.url)
    browser.choose(
        "#files",
        [tmp_path / name for name in ("text.jpg", "bomb.png", "<img src=x onerror=alert(1)>.jpg")],
    )
    browser.wait("photographs.length === 3 && photographs.every(item => item.wrong || item.answer)")
    said = dict(
        browser.run("photographs.filter(item => item.wrong).map(item => [item.name, item.said])")
    )
    assert list(said) == ["text.jpg", "bomb.png"]
    assert "no image" in said["text.jpg"] and "million pixels" in said["bomb.png"]
    browser.run("open(photographs[0])")
    assert said["text.jpg"] in browser.run("document.body.innerText")
    assert browser.run("at('save-json').disabled && at('again').hidden")
    assert browser.run("document.querySelectorAll('#strip img').length") == 1
    browser.run("at('remove').click()")
    assert browser.run("photographs.length") == 2
    assert not browser.complaints()


def test_the_page_tries_again_where_another_is_served(browser, photo):
    with serving(triangle) as server:
        browser.open(server.url)
        with server.photograph_turn:
            browser.choose("#files", [photo])
            browser.wait("current?.said.startsWith('waits for another')")
        browser.wait("upToDate()")
    browser.run("at('add').click()")
    browser.wait("current.wrong && current.said.includes('still running')")  # the server has ended
    assert browser.run(
        "at('save-json').disabled && at('save-picture').disabled && !at('again').hidden"
    )
    assert not browser.run("at('poses').querySelectorAll('path').length")
    with serving(triangle, port=server.server_address[1]):
        browser.run("at('again').click()")
        browser.wait("upToDate() && at('again').hidden")
    assert browser.run("current.answer.pose.people.length") == 1
    assert not browser.complaints()


@pytest.fixture
def elsewhere(tmp_path):
    """The port of a server of another page."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_pages_from_elsewhere_get_nothing(browser, elsewhere, monkeypatch):
    """Neither one from another origin, nor one whose name was made to lead to this computer."""
    refusals, posed = [], []

    def noted(handler, status, words, real=page_requests.Handler._refuse):
        refusals.append((status, handler.headers["Host"].split(":")[0], handler.headers["Origin"]))
        real(handler, status, words)

    monkeypatch.setattr(page_requests.Handler, "_refuse", noted)
    with serving(lambda *asked: posed.append(asked)) as server:
        port = server.server_address[1]
        browser.open(f"http://127.0.0.1:{elsewhere}/")
        sent = f"fetch('{server.url}pose', {{method: 'POST', body: 'x', mode: 'no-cors'}}).catch(error => 'nothing')"
        assert browser.run(sent) == "nothing" and refusals == [
            (403, "127.0.0.1", f"http://127.0.0.1:{elsewhere}")
        ]
        browser.open(f"http://evil.example:{port}/")
        assert "another address" in browser.run("document.body.innerText")
        sent = "fetch('/pose', {method: 'POST', body: 'x'}).then(reply => reply.status)"
        assert (
            browser.run(sent) == 403
            and (403, "evil.example", f"http://evil.example:{port}") in refusals
        )
    assert not posed


def test_thirty_photographs_at_once_and_another_page_beside(opened, photo, tmp_path):
    """All of them come to their end, though many uploads are told to wait."""
    paths = [tmp_path / f"{number}.jpg" for number in range(30)]
    for path in paths:
        path.write_bytes(photo.read_bytes())
    opened.run(
        "window.others = Promise.all([...Array(30)].map(() => fetch('/photograph', {method: 'POST', body: new "
        "Blob(['x'])}).then(reply => reply.status))); 0"
    )
    opened.drop(paths)
    opened.wait(
        "photographs.length === 30 && photographs.every(item => item.answer && !item.wrong)"
    )
    assert set(opened.run("others")) <= {400, 503}
    assert opened.run("document.documentElement.scrollWidth <= innerWidth")
