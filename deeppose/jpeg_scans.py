"""Scans of a JPEG, counted without decoding it: one of many takes minutes to decode."""

import re

MOST_SCANS = 50  # of a JPEG: each takes time for all pixels, and an empty one takes few bytes
# the marker of a JPEG's segment, but for that of a restart, which has no content
SEGMENT = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")
START_OF_IMAGE = b"\xff\xd8"
SCAN = b"\xda"
END_OF_IMAGE = b"\xd9"


def has_too_many_scans(photograph):
    """Whether a photograph's bytes are a JPEG of more than MOST_SCANS scans.

    Cameras write 1 scan, and pictures of the web have 10.
    """
    return photograph.startswith(START_OF_IMAGE) and scan_count(photograph) > MOST_SCANS


def scan_count(jpeg):
    """Number of scans of a JPEG's first image, counted no further than MOST_SCANS + 1.

    Each segment's content is passed over, since a thumbnail in it has scans too, and so is what
    follows the image, such as the film of a moving photograph. In a scan's own data each byte 255
    is followed by 0 or by a restart's marker.
    """
    count = 0
    position = len(START_OF_IMAGE)
    while count <= MOST_SCANS:
        marker = SEGMENT.search(jpeg, position)
        if marker is None or marker[1] == END_OF_IMAGE:
            break
        count += marker[1] == SCAN
        # after the marker comes the length of the content, its own two bytes included
        length = int.from_bytes(jpeg[marker.end() : marker.end() + 2], "big")
        position = marker.end() + length
    return count
