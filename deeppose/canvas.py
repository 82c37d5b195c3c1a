"""Backgrounds, capsules with smooth edges, and objects in front: what a figure is painted with."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

OBJECT = 255  # mark of an object in front of the person, in the owner map


def draw_background(rng, width, height):
    """A dull, blurred scene (H, W, 3), 0 to 255: bands or a gradient, shapes, and coarse grain."""

    def dull_colour():
        """A random colour (3,) near grey."""
        return rng.uniform(60, 200) + rng.uniform(-28, 28, 3)

    # a gradient from the top to the bottom, or ground and sky
    descent = np.linspace(0, 1, height)[:, None]  # (H, 1)
    if rng.random() < 0.5:
        descent = (descent > rng.uniform(0.25, 0.8)).astype(float)
    top = dull_colour() + (-15, 0, 25)
    bottom = dull_colour() + (-5, 20, -20)
    column = top + descent * (bottom - top)  # (H, 3)
    image = np.repeat(column[:, None], width, axis=1)
    # a few shapes on it, out of focus
    scene = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(scene)
    for _ in range(rng.integers(0, 8)):
        corner = rng.uniform(-0.1, 1, 2) * (width, height)
        draw_shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        opposite = rng.uniform(0.05, 0.4, 2) * (width, height) + corner
        draw_shape((*corner, *opposite), tuple(dull_colour().astype(int)))
    blurred = scene.filter(ImageFilter.GaussianBlur(rng.uniform(1, 5)))
    # grain in cells of several pixels; figure.render_person adds noise of single ones
    cell_counts = rng.integers(6, 40, 2)
    grain = Image.fromarray(rng.normal(0, rng.uniform(2, 12), cell_counts).astype(np.float32))
    grain = grain.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(blurred, float) + np.asarray(grain)[..., None]


def draw_part(image, owner, mark, capsules, colour):
    """Draw the union of tapered capsules with smooth edges and a dark contour.

    image     (H, W, 3) float, changed in place
    owner     (H, W), changed in place: it takes `mark` where the part covers the pixel
    capsules  (P, 6): x, y, radius at both ends, px, where pixel i covers [i, i + 1)
    colour    (3,), 0 to 255
    """
    # the window of the image that holds all capsules and their contours
    ends = capsules.reshape(-1, 3)  # (2 P, 3)
    top_left = np.floor((ends[:, :2] - ends[:, 2:]).min(0)) - 1
    bottom_right = np.ceil((ends[:, :2] + ends[:, 2:]).max(0)) + 1
    top_left = np.maximum(top_left, 0).astype(int)
    bottom_right = np.minimum(bottom_right, image.shape[1::-1]).astype(int)
    if (bottom_right <= top_left).any():
        return
    # each pixel's distance to the nearest outline, below 0 inside, and its place between the axis
    # of a capsule, 0, and its outline, 1
    x = np.arange(top_left[0], bottom_right[0]) + 0.5  # (w,)
    y = np.arange(top_left[1], bottom_right[1])[:, None] + 0.5  # (h, 1)
    outline_distance = np.inf
    depth = np.inf
    for x0, y0, radius0, x1, y1, radius1 in capsules:
        length_squared = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-9)  # a disc has no length
        along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length_squared
        along = np.clip(along, 0, 1)
        axis_distance = np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))
        radius = radius0 + along * (radius1 - radius0)
        outline_distance = np.minimum(outline_distance, axis_distance - radius)
        depth = np.minimum(depth, axis_distance / radius)
    # paint it, darker toward the outline
    window = np.s_[top_left[1] : bottom_right[1], top_left[0] : bottom_right[0]]
    cover = np.clip(0.5 - outline_distance, 0, 1)
    contour = 1 - 0.4 * np.clip(outline_distance + 1.7, 0, 1)
    shade = (1.06 - 0.3 * np.minimum(depth, 1) ** 2) * contour
    image[window] += cover[..., None] * (shade[..., None] * colour - image[window])
    owner[window][cover > 0.5] = mark


def draw_object(rng, image, owner, joints):
    """Draw a box or a post in front of the person, near one of its joints (14, 2) px."""
    # where it is and how large, in shares of the pose's extent
    extent = np.ptp(joints, axis=0).max()
    x, y = joints[rng.integers(len(joints))] + rng.uniform(-0.05, 0.05, 2) * extent
    radius, length = rng.uniform((0.06, 0), (0.11, 0.25)) * extent
    angle = rng.uniform(0, np.pi)
    dx = length * np.cos(angle)
    dy = length * np.sin(angle)
    colour = rng.uniform(40, 220, 3)
    # a post is a capsule
    if rng.random() < 0.5:
        post = np.array([(x - dx, y - dy, radius, x + dx, y + dy, radius)])  # (1, 6)
        draw_part(image, owner, OBJECT, post, colour)
        return
    # a box is a rectangle of pixels
    left, top = np.maximum((x - radius, y - radius), 0).astype(int)
    right = int(max(x + radius + abs(dx), 0))
    bottom = int(max(y + radius + abs(dy), 0))
    window = np.s_[top:bottom, left:right]
    image[window] = colour
    owner[window] = OBJECT
