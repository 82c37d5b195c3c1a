"""What is drawn anew for training images: pixels and joints move together, unlabelled stays unlabelled."""
import numpy as np
import pytest
import torch

from deeppose import augment
from deeppose.skeleton import LSP

ALL = augment.Ranges(turn_deg=40, scale=0.25, shift=0.05, mirror=0.5, colour=0.3, hide=0.5)
MOVES = augment.Ranges(turn_deg=40, scale=0.25, shift=0.05, mirror=0.5)


@pytest.mark.parametrize("size_px", [227, 129])
def test_a_white_spot_and_its_joint_stay_together(size_px):
    count, rng = 60, np.random.default_rng(0)
    places = rng.integers(70, 157, (count, 2))  # x, y
    images = torch.zeros(count, 3, 227, 227)
    for image, (x, y) in zip(images, places):
        image[:, y - 2:y + 3, x - 2:x + 3] = 1
    joints = torch.from_numpy((places + 0.5) / 227 - 0.5).float()[:, None].repeat(1, 14, 1)  # (N, 14, 2)
    views = augment.draw(count, MOVES, rng)
    seen, moved = augment.see(images, views, MOVES, size_px)[:, 0], augment.move(joints, views, LSP.flip)
    at = (torch.arange(size_px) + 0.5) / size_px - 0.5
    weight = seen.sum((1, 2))
    centres = torch.stack([(seen * at).sum((1, 2)) / weight, (seen * at[:, None]).sum((1, 2)) / weight], 1)
    assert seen.shape == (count, size_px, size_px) and (moved - joints).abs().amax((1, 2)).min() > 1e-3
    assert ((centres - moved[:, 0]).abs() * 227).max() < 0.5
    sizes = (weight / size_px ** 2).sqrt() * 227 / 5  # the spot's side, over what it was
    assert 0.79 < sizes.min() < 0.9 and 1.1 < sizes.max() < 1.27


def test_mirrored_images_have_left_and_right_swapped():
    ranges = augment.Ranges(mirror=1)
    joints = torch.from_numpy(np.random.default_rng(0).uniform(-0.4, 0.4, (3, 14, 2))).float()
    views = augment.draw(3, ranges, np.random.default_rng(1))
    moved = augment.move(joints, views, LSP.flip)
    expected = joints.clone()
    expected[..., 0] *= -1
    torch.testing.assert_close(moved, expected[:, list(LSP.flip)])
    images = torch.rand(3, 3, 31, 31)
    torch.testing.assert_close(augment.see(images, views, ranges, 31), images.flip(3), atol=1e-5, rtol=0)


def test_what_leaves_the_frame_is_unlabelled_and_unlabelled_stays_so():
    views = augment.draw(1, augment.Ranges(), np.random.default_rng(0))
    views.offset[:] = 0.3, 0
    joints = torch.tensor([[[0.1, 0.1], [0.3, 0.0], [torch.nan, torch.nan]]])
    moved = augment.move(joints, views, (0, 1, 2))
    torch.testing.assert_close(moved[0, 0], torch.tensor([0.4, 0.1]))
    assert moved[0, 1:].isnan().all()


def test_nothing_drawn_changes_nothing():
    images = torch.rand(2, 3, 40, 40)
    views = augment.draw(2, augment.Ranges(), np.random.default_rng(0))
    assert augment.see(images, views, augment.Ranges(), 40) is images


def test_colour_and_hiding_stay_in_range_and_move_nothing():
    images = torch.rand(50, 3, 64, 64)
    ranges = augment.Ranges(colour=0.3, hide=1)
    seen = augment.see(images, augment.draw(50, ranges, np.random.default_rng(0)), ranges, 64)
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
