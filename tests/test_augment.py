"""Training images drawn anew: pixels and joints move together, unlabelled stays
unlabelled."""

import numpy as np
import pytest
import torch

from deeppose import augment
from deeppose.skeletons import LSP

ALL = augment.Ranges(turn_deg=40, scale=0.25, shift=0.05, mirror=0.5, colour=0.3, hide=0.5)
MOVES = augment.Ranges(turn_deg=40, scale=0.25, shift=0.05, mirror=0.5)
NO_TURN = augment.Ranges(scale=0.25, shift=0.05, mirror=0.5)


def whole(count, width, height):
    """Boxes (count, 1, 4) that are whole images."""
    return np.tile([[[0.0, 0.0, width, height]]], (count, 1, 1))


@pytest.mark.parametrize("ranges", [MOVES, NO_TURN], ids=["turned", "upright"])
@pytest.mark.parametrize(
    "box, size",
    [
        ((0, 0, 227, 227), (227, 227)),
        ((0, 0, 227, 227), (129, 129)),
        ((7, 11, 180, 240), (180, 240)),
        ((7, 11, 180, 240), (96, 128)),
        ((7, 11, 180, 240), (129, 129)),
    ],
)
def test_a_white_spot_and_its_joint_stay_together(box, size, ranges):
    """In square boxes and in others, kept or not in their proportions."""
    count = 60
    rng = np.random.default_rng(0)
    x0, y0, *sides = box
    sides = np.array(sides)
    # x, y of the box
    places = rng.integers((0.31 * sides).astype(int), (0.69 * sides).astype(int), (count, 2))
    images = torch.zeros(count, 3, 260, 230)
    # soft, so that few pixels measure it well
    spot = torch.from_numpy(np.exp(-(np.arange(-10, 11) ** 2) / 18)).float()
    for image, (x, y) in zip(images, places + (x0, y0)):
        image[:, y - 10 : y + 11, x - 10 : x + 11] = spot[:, None] * spot
    # (N, 14, 2)
    joints = torch.from_numpy((places + 0.5) / sides - 0.5).float()[:, None].repeat(1, 14, 1)
    views = augment.draw(count, ranges, rng, sides[0] / sides[1])
    seen = augment.apply(images, np.tile([[box]], (count, 1, 1)), views, ranges, size)[:, 0]
    moved = augment.move(joints, views, LSP.flip)
    across, down = ((torch.arange(pixels) + 0.5) / pixels - 0.5 for pixels in size)
    weight = seen.sum((1, 2))
    centres = (
        torch.stack([(seen * across).sum((1, 2)), (seen * down[:, None]).sum((1, 2))], 1)
        / weight[:, None]
    )
    assert (
        seen.shape == (count, size[1], size[0]) and (moved - joints).abs().amax((1, 2)).min() > 1e-3
    )
    assert ((centres - moved[:, 0]).abs() * torch.from_numpy(sides)).max() < 0.5
    # the spot's side, over what it was
    sizes = (weight * sides.prod() / np.prod(size)).sqrt() / spot.sum()
    assert 0.79 < sizes.min() < 0.9 and 1.1 < sizes.max() < 1.27


@pytest.mark.parametrize("turn_deg", [0, 30])
def test_turning_keeps_shapes_in_boxes_of_any_proportions(turn_deg):
    """Distances of joints in pixels change by the drawn scale alone, the same along all
    directions."""
    sides = torch.tensor([120.0, 300.0])
    ranges = augment.Ranges(turn_deg=turn_deg, scale=0.2)
    views = augment.draw(20, ranges, np.random.default_rng(0), 120 / 300)
    joints = torch.tensor([[0.0, 0], [0.1, 0], [0, 0.1], [0.05, -0.05]]).repeat(20, 1, 1)
    before, after = (each * sides for each in (joints, augment.move(joints, views, (0, 1, 2, 3))))
    scales = (after[:, 1:] - after[:, :1]).norm(dim=2) / (before[:, 1:] - before[:, :1]).norm(dim=2)
    torch.testing.assert_close(scales, scales[:, :1].expand(-1, 3), atol=1e-4, rtol=0)
    assert scales.std() > 0.02


def test_several_boxes_an_image_are_cut_at_once():
    """As if each had been alone, in the order of the images."""
    rng = np.random.default_rng(0)
    images = torch.rand(2, 3, 60, 50)
    boxes = rng.uniform([0, 0, 10, 10], [20, 20, 30, 40], (2, 3, 4))
    for ranges in (ALL, NO_TURN, augment.Ranges()):
        views = augment.draw(6, ranges, rng)
        together = augment.apply(images, boxes, views, ranges, (16, 20))
        for n in range(2):
            for k in range(3):
                one = slice(3 * n + k, 3 * n + k + 1)
                alone = augment.apply(
                    images[n : n + 1], boxes[n : n + 1, k : k + 1], views[one], ranges, (16, 20)
                )
                torch.testing.assert_close(together[one], alone, atol=1e-5, rtol=0)


def test_mirrored_images_have_left_and_right_swapped():
    ranges = augment.Ranges(mirror=1)
    joints = torch.from_numpy(np.random.default_rng(0).uniform(-0.4, 0.4, (3, 14, 2))).float()
    views = augment.draw(3, ranges, np.random.default_rng(1))
    moved = augment.move(joints, views, LSP.flip)
    expected = joints.clone()
    expected[..., 0] *= -1
    torch.testing.assert_close(moved, expected[:, list(LSP.flip)])
    images = torch.rand(3, 3, 31, 31)
    seen = augment.apply(images, whole(3, 31, 31), views, ranges, (31, 31))
    torch.testing.assert_close(seen, images.flip(3), atol=1e-5, rtol=0)


def test_what_leaves_the_frame_is_unlabelled_and_unlabelled_stays_so():
    views = augment.draw(1, augment.Ranges(), np.random.default_rng(0))
    views.shift[:] = 0.3, 0
    joints = torch.tensor([[[0.1, 0.1], [0.3, 0.0], [torch.nan, torch.nan]]])
    moved = augment.move(joints, views, (0, 1, 2))
    torch.testing.assert_close(moved[0, 0], torch.tensor([0.4, 0.1]))
    assert moved[0, 1:].isnan().all()


def test_nothing_drawn_changes_nothing():
    images = torch.rand(2, 3, 40, 40)
    views = augment.draw(2, augment.Ranges(), np.random.default_rng(0))
    assert augment.apply(images, whole(2, 40, 40), views, augment.Ranges(), (40, 40)) is images


def test_colour_and_hiding_stay_in_range_and_move_nothing():
    images = torch.rand(50, 3, 64, 64)
    ranges = augment.Ranges(colour=0.3, hide=1)
    views = augment.draw(50, ranges, np.random.default_rng(0))
    seen = augment.apply(images, whole(50, 64, 64), views, ranges, (64, 64))
    assert seen.shape == images.shape and 0 <= seen.min() and seen.max() <= 1
    hidden = (seen == 0.5).all(1).float().mean((1, 2))  # (N,): share of the image
    assert hidden.max() <= 0.17 and hidden.mean() > 0.03
    mean_change = (seen.mean((1, 2, 3)) - images.mean((1, 2, 3))).abs()
    assert mean_change.max() > 0.02
    assert np.corrcoef(seen[0, 0].flatten(), images[0, 0].flatten())[0, 1] > 0.6


def test_the_same_seed_draws_the_same_and_a_part_is_the_wholes():
    one, other = (augment.draw(6, ALL, np.random.default_rng(5)) for _ in range(2))
    for name, value in vars(one).items():
        np.testing.assert_array_equal(value, vars(other)[name])
        np.testing.assert_array_equal(value[1::2], vars(one[1::2])[name])


@pytest.mark.parametrize("boxes_an_image", [1, 3])
def test_bfloat16_images_are_cut_where_float32_ones_are(boxes_an_image):
    """Their values are coarser, and the places that they are taken from are not."""
    count = 4
    rng = np.random.default_rng(0)
    ramp = torch.linspace(0, 1, 227).expand(count, 3, 227, 227).contiguous()
    boxes = np.array([150.0, 120.0, 60.0, 60.0]) + np.zeros((count, boxes_an_image, 1))
    views = augment.draw(count * boxes_an_image, augment.Ranges(turn_deg=20), rng)
    fine = augment.apply(ramp, boxes, views, augment.Ranges(turn_deg=20), (61, 61))
    coarse = augment.apply(ramp.bfloat16(), boxes, views, augment.Ranges(turn_deg=20), (61, 61))
    assert coarse.dtype == torch.bfloat16
    # the ramp rises by 1 / 226 a pixel: 0.004 is a pixel, and half of the last bit of 0.9
    assert (coarse.float() - fine)[fine > 0].abs().median() < 0.0015
