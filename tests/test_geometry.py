import numpy as np
import pytest
import torch
from PIL import Image

from deeppose import crops, framing, geometry
from deeppose.skeleton import LSP


def random_joints(rng, *shape):
    return rng.uniform(-50, 300, (*shape, 14, 2))


def test_normalise_is_the_originals_formula():
    joints = np.array([[[113.5, 113.5], [227, 0]]])
    expected = (joints - 113.5) / 227
    np.testing.assert_allclose(geometry.normalise(joints, np.array([0, 0, 227.0])), expected)


def test_normalise_and_back():
    rng = np.random.default_rng(0)
    joints, boxes = random_joints(rng, 5), rng.uniform(1, 200, (5, 3))
    np.testing.assert_allclose(geometry.denormalise(geometry.normalise(joints, boxes), boxes), joints)
    tensors = geometry.normalise(torch.from_numpy(joints), torch.from_numpy(boxes))
    np.testing.assert_allclose(tensors.numpy(), geometry.normalise(joints, boxes))


@pytest.mark.parametrize("flip", [None, LSP.flip])
def test_image_to_frame_and_back(flip):
    rng = np.random.default_rng(1)
    joints, box = random_joints(rng), np.array([-12.5, 30.25, 181.0])
    joints[3] = np.nan
    framed = geometry.image_to_frame(joints, box, 227, flip)
    assert np.isnan(framed[3 if flip is None else flip[3]]).all()
    np.testing.assert_allclose(geometry.frame_to_image(framed, box, 227, flip), joints)


def test_mirror_swaps_sides_by_name():
    joints = random_joints(np.random.default_rng(2))
    mirrored = geometry.mirror(joints, 227, LSP.flip)
    wrist = mirrored[LSP.index("left_wrist")]
    np.testing.assert_allclose(wrist, [227, 0] + joints[LSP.index("right_wrist")] * [-1, 1])
    np.testing.assert_allclose(geometry.mirror(mirrored, 227, LSP.flip), joints)


def test_letterbox_holds_the_whole_image_centred():
    np.testing.assert_allclose(geometry.letterbox(100, 60), [0, -20, 100])
    np.testing.assert_allclose(geometry.letterbox(61, 100), [-19.5, 0, 100])


def test_geometry_edits_nothing_in_place():
    joints = random_joints(np.random.default_rng(3))
    before = joints.copy()
    geometry.mirror(joints, 227, LSP.flip)
    geometry.image_to_frame(joints, np.array([1.0, 2, 3]), 227, LSP.flip)
    np.testing.assert_array_equal(joints, before)


def centroid(image):
    """Brightness-weighted centre (x, y) of an image (H, W), continuous coordinates."""
    y, x = np.indices(image.shape) + 0.5
    return np.array([(x * image).sum(), (y * image).sum()]) / image.sum()


def white_pixel(width, height, x, y):
    image = np.zeros((height, width, 3), np.uint8)
    image[y, x] = 255
    return image


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("box", [(10.0, 20.0, 60.0), (-15.5, 3.25, 90.75), (25.5, 30.25, 33.3), (-60.0, -50.0, 250.0)])
def test_white_pixel_stays_under_its_joint_in_frames(box, mirrored):
    image = Image.fromarray(white_pixel(100, 80, 40, 45))
    frame = framing.cut(image, box, mirrored)
    assert frame.shape == (227, 227, 3) and frame.dtype == np.uint8
    joints = np.full((14, 2), [40.5, 45.5])
    expected = geometry.image_to_frame(joints, np.array(box), 227, LSP.flip if mirrored else None)[0]
    np.testing.assert_allclose(centroid(frame[..., 0].astype(float)), expected, atol=0.15)


@pytest.mark.parametrize("box", [(10.0, 20.0, 60.0), (-15.5, 3.25, 90.75), (25.5, 30.25, 33.3), (-60.0, -50.0, 200.0)])
def test_white_pixel_stays_under_its_joint_in_crops(box):
    images = torch.zeros(2, 3, 80, 100)
    images[1, :, 45, 40] = 1
    boxes = torch.tensor([[[0.0, 0, 50], [0, 0, 50]], [[0, 0, 80], box]])
    cut = crops.crop(images, boxes, 227)
    assert cut.shape == (4, 3, 227, 227) and cut[:2].abs().sum() == 0  # the first image's crops come first
    expected = geometry.image_to_frame(np.array([[40.5, 45.5]]), np.array(box), 227)[0]
    np.testing.assert_allclose(centroid(cut[3, 0].double().numpy()), expected, atol=0.1)


def test_crop_at_whole_pixels_gives_those_pixels_and_black_outside():
    image = torch.rand(1, 3, 60, 60)
    inside = crops.crop(image, torch.tensor([[[10.0, 20, 32]]]), 32)
    torch.testing.assert_close(inside[0], image[0, :, 20:52, 10:42], atol=1e-5, rtol=0)
    over_the_border = crops.crop(image, torch.tensor([[[-8.0, 40, 32]]]), 32)[0]
    torch.testing.assert_close(over_the_border[:, :20, 8:], image[0, :, 40:, :24], atol=1e-5, rtol=0)
    assert over_the_border[:, 20:].abs().max() < 1e-5 and over_the_border[:, :, :8].abs().max() < 1e-5


def test_crop_keeps_the_aspect():
    image = torch.zeros(1, 1, 100, 100)
    image[:, :, 40:60, 30:70] = 1  # 40 wide, 20 high
    cut = crops.crop(image, torch.tensor([[[0.0, 0, 100]]]), 200)[0, 0] > 0.5
    assert cut.any(0).sum() == 80 and cut.any(1).sum() == 40


def test_frames_become_floats_in_channels_last():
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    images = crops.to_float(torch.from_numpy(frames))
    assert images.shape == (2, 3, 8, 8) and images.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(images.permute(0, 2, 3, 1).numpy(), frames / 255, atol=1e-7)
