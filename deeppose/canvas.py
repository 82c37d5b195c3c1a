"""Backgrounds, capsules with smooth edges, and objects in front: what a figure is painted with."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

OBJECT = 255  # mark of an object in front of the person, in the owner map


def draw_background(rng, width, height):
    """A dull, blurred place (H, W, 3): bands or a gradient, shapes, and two scales of noise."""

    def dull():
        return rng.uniform(60, 200) + rng.uniform(-28, 28, 3)

    step = np.linspace(0, 1, height)[:, None]
    if rng.random() < 0.5:  # ground and sky
        step = (step > rng.uniform(0.25, 0.8)).astype(float)
    top = dull() + (-15, 0, 25)
    image = np.repeat((top + step * (dull() + (-5, 20, -20) - top))[:, None], width, axis=1)
    canvas = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(0, 8)):
        x, y = rng.uniform(-0.1, 1, 2) * (width, height)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape(
            (x, y, *(rng.uniform(0.05, 0.4, 2) * (width, height) + (x, y))),
            tuple(dull().astype(int)),
        )
    image = np.asarray(canvas.filter(ImageFilter.GaussianBlur(rng.uniform(1, 5))), float)
    cells = rng.integers(6, 40, 2)
    grain = Image.fromarray(rng.normal(0, rng.uniform(2, 12), cells).astype(np.float32))
    return image + np.asarray(grain.resize((width, height), Image.Resampling.BICUBIC))[..., None]


def draw_part(image, owner, mark, pieces, colour):
    """Draw the union of tapered capsules with smooth edges and a dark contour.

    image is (H, W, 3) float, owner (H, W) takes mark where the part covers the pixel, pieces is
    (P, 6): x, y, radius at both ends in pixels, where pixel i covers [i, i + 1).
    """
    ends = pieces.reshape(-1, 3)
    low = np.maximum(np.floor((ends[:, :2] - ends[:, 2:]).min(0)) - 1, 0).astype(int)
    high = np.minimum(np.ceil((ends[:, :2] + ends[:, 2:]).max(0)) + 1, image.shape[1::-1]).astype(
        int
    )
    if (high <= low).any():
        return
    x, y = np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1])[:, None] + 0.5
    gap, depth = np.inf, np.inf
    for x0, y0, r0, x1, y1, r1 in pieces:
        along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / max(
            (x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-9
        )
        along = np.clip(along, 0, 1)
        away = np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))
        radius = r0 + along * (r1 - r0)
        gap, depth = np.minimum(gap, away - radius), np.minimum(depth, away / radius)
    window = np.s_[low[1] : high[1], low[0] : high[0]]
    cover = np.clip(0.5 - gap, 0, 1)
    shade = (1.06 - 0.3 * np.minimum(depth, 1) ** 2) * (1 - 0.4 * np.clip(gap + 1.7, 0, 1))
    image[window] += cover[..., None] * (shade[..., None] * colour - image[window])
    owner[window][cover > 0.5] = mark


def draw_object(rng, image, owner, joints):
    """A box or a post in front of the person, near one of its joints."""
    span = np.ptp(joints, axis=0).max()
    x, y = joints[rng.integers(len(joints))] + rng.uniform(-0.05, 0.05, 2) * span
    radius, length = rng.uniform((0.06, 0), (0.11, 0.25)) * span
    turn = rng.uniform(0, np.pi)
    dx, dy = length * np.cos(turn), length * np.sin(turn)
    colour = rng.uniform(40, 220, 3)
    if rng.random() < 0.5:
        draw_part(
            image,
            owner,
            OBJECT,
            np.array([(x - dx, y - dy, radius, x + dx, y + dy, radius)]),
            colour,
        )
        return
    left, top = np.maximum((x - radius, y - radius), 0).astype(int)
    window = np.s_[
        top : int(max(y + radius + abs(dy), 0)), left : int(max(x + radius + abs(dx), 0))
    ]
    image[window] = colour
    owner[window] = OBJECT
