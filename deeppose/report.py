"""report.html: one file with the tables, the curves and every test image, opened from disk.

The page itself, with its style and script, is report_page.html beside this file.
"""

import base64
import html
import io
import json
import re
from pathlib import Path

import numpy as np
from PIL import Image

from deeppose import files

PAGE = Path(__file__).with_name("report_page.html")
# of an image, on average: as base64 a third more, so that 1,000 take 11.3 of the 15 MB allowed
MEAN_JPEG_BYTES = 8_500
QUALITIES = (85, 75, 65, 50, 35)  # of the JPEGs, the first of them that is small enough
SAMPLE_SIZE = 40  # images by which the quality is chosen


def write(
    path,
    title,
    subtitle,
    score_tables,
    pictures,
    images,
    names,
    poses,
    skeleton,
    units_px,
    confidence,
):
    """Write the report.

    score_tables  list of tables.Table
    pictures      caption -> path of a PNG
    images        uint8 (N, h, w, 3)
    names         name of each image
    poses         "stage_1" and, in this order, those after it, and "true" -> joints (N, J, 2) px of
                  the frame
    units_px      (N,): what each image's errors are measured in, px of the frame
    confidence    stage -> (N, J)
    """
    # what the page's script shows: every image with its poses
    jpeg_uris = _thumbnails(images)
    units = _rounded(units_px)
    image_entries = []
    for row, jpeg_uri in enumerate(jpeg_uris):
        entry = {
            "row": row,
            "name": names[row],
            "jpeg": jpeg_uri,
            "unit": units[row],
            "confidence": {stage: _rounded(values[row]) for stage, values in confidence.items()},
        }
        row_poses = {pose_name: _points(joints_px[row]) for pose_name, joints_px in poses.items()}
        image_entries.append(entry | row_poses)
    script_data = {
        "frame": [images.shape[2], images.shape[1]],
        "joints": skeleton.joints,
        "bones": skeleton.bone_ends,
        "right": [j for j, joint in enumerate(skeleton.joints) if skeleton.side(joint) == "right"],
        "unit": skeleton.unit_name,
        "stages": [pose_name for pose_name in poses if pose_name != "true"],
        "images": image_entries,
    }
    # what stands in the page as it is
    fillings = {
        "title": html.escape(title),
        "subtitle": html.escape(subtitle),
        "tables": "\n".join(map(table_html, score_tables)),
        "pictures": "\n".join(_picture(caption, picture) for caption, picture in pictures.items()),
        "unit": html.escape(skeleton.unit_name),
        "data": script_json(script_data),
    }
    # fill the template in one pass, so that nothing filled in is taken for a mark
    template = PAGE.read_text(encoding="utf-8")
    page = re.sub(r"\{\{(\w+)\}\}", lambda mark: fillings[mark[1]], template)
    with files.replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def script_json(content):
    """JSON that may stand inside a <script>: no `<` in it, so no name can end the script."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _rounded(values):
    """Numbers (K,) to a hundredth, null for NaN."""
    return [round(float(value), 2) if np.isfinite(value) else None for value in values]


def _points(joints_px):
    """One pose (J, 2) px as [[x, y], ...] to a tenth of a pixel, null for an unlabelled joint."""
    return [
        [round(float(x), 1), round(float(y), 1)] if np.isfinite((x, y)).all() else None
        for x, y in joints_px
    ]


def _thumbnails(images):
    """Data addresses of images (N, h, w, 3), in the best quality that keeps MEAN_JPEG_BYTES."""
    sample_rows = np.linspace(0, len(images) - 1, min(len(images), SAMPLE_SIZE)).astype(int)
    sample = images[sample_rows]
    for quality in QUALITIES:
        sample_bytes = sum(len(_jpeg(image, quality)) for image in sample)
        if sample_bytes <= MEAN_JPEG_BYTES * len(sample):
            break
    return [_uri("jpeg", _jpeg(image, quality)) for image in images]


def _jpeg(image, quality):
    """Bytes of an image (h, w, 3) as a JPEG."""
    jpeg_file = io.BytesIO()
    Image.fromarray(image).save(jpeg_file, "JPEG", quality=quality)
    return jpeg_file.getvalue()


def _uri(image_format, content):
    """Data address of an image's bytes, "png" or "jpeg"."""
    return f"data:image/{image_format};base64,{base64.b64encode(content).decode('ascii')}"


def _picture(caption, path):
    """A PNG under its caption, as HTML."""
    caption = html.escape(caption)
    source = _uri("png", path.read_bytes())
    return (
        f'<figure><figcaption>{caption}</figcaption><img alt="{caption}" src="{source}"></figure>'
    )


def table_html(table):
    """A tables.Table as HTML."""
    # a row of the groups' titles, where there are any, and one of the columns' heads
    group_row = ""
    if any(title for title, _ in table.groups):
        group_cells = "".join(
            f'<th class="group" colspan="{len(heads)}">{html.escape(title)}</th>'
            for title, heads in table.groups
        )
        group_row = f"<tr><td></td>{group_cells}</tr>"
    head_cells = "".join(f"<th>{html.escape(head)}</th>" for head in table.heads)
    head_row = f'<tr><th class="name"></th>{head_cells}</tr>'
    # the rows, each begun by its name
    body_rows = []
    for row_name, texts in table.rows:
        cells = "".join(f"<td>{html.escape(text)}</td>" for text in texts)
        body_rows.append(f"<tr><th>{html.escape(row_name)}</th>{cells}</tr>")
    body = "\n".join(body_rows)
    # the table, with its note below
    note = "".join(f'<p class="soft">{html.escape(line)}</p>' for line in table.note.splitlines())
    caption = f"<caption>{html.escape(table.title)}</caption>"
    return (
        f'<div><div class="wide" tabindex="0"><table>{caption}<thead>{group_row}{head_row}</thead>\n'
        f"<tbody>{body}</tbody></table></div>{note}</div>"
    )
