import numpy as np
import pytest
import torch
from PIL import Image

from deeppose import crops, cutting, geometry
from deeppose.skeletons import LSP


def random_joints(rng, *shape):
    return rng.uniform(-50, 300, (*shape, 14, 2))


FRAMES = [(227, 227), (192, 256), (320, 180)]


def test_normalise_is_the_originals_formula():
    joints = np.array([[[113.5, 113.5], [227, 0]]])
    expected = (joints - 113.5) / 227
    np.testing.assert_allclose(geometry.normalise(joints, np.array([0, 0, 227.0, 227])), expected)


def test_normalise_is_by_width_and_height():
    """Equation 1 of DeepPose: a box's corners lie half its width and half its height from its
    centre."""
    box = np.array([10.0, 20, 40, 80])
    corners = np.array([[10.0, 20], [50, 100], [30, 60], [50, 60]])
    np.testing.assert_allclose(
        geometry.normalise(corners, box), [[-0.5, -0.5], [0.5, 0.5], [0, 0], [0.5, 0]]
    )


def test_normalise_and_back():
    rng = np.random.default_rng(0)
    joints, boxes = random_joints(rng, 5), rng.uniform(1, 200, (5, 4))
    np.testing.assert_allclose(
        geometry.denormalise(geometry.normalise(joints, boxes), boxes), joints
    )
    tensors = geometry.normalise(torch.from_numpy(joints), torch.from_numpy(boxes))
    np.testing.assert_allclose(tensors.numpy(), geometry.normalise(joints, boxes))


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("flip", [None, LSP.flip])
def test_image_to_frame_and_back(flip, frame):
    rng = np.random.default_rng(1)
    joints, box = random_joints(rng), geometry.to_aspect(np.array([-12.5, 30.25, 181.0, 90]), frame)
    joints[3] = np.nan
    framed = geometry.image_to_frame(joints, box, frame, flip)
    assert np.isnan(framed[3 if flip is None else flip[3]]).all()
    np.testing.assert_allclose(geometry.frame_to_image(framed, box, frame, flip), joints)
    # the same places in the frame and in its box
    normalised = geometry.normalise(framed, geometry.image_box(frame))
    back = geometry.denormalise(
        normalised if flip is None else geometry.mirror(normalised, 0, flip), box
    )
    np.testing.assert_allclose(back, joints)


@pytest.mark.parametrize("frame", FRAMES)
def test_many_boxes_at_once_are_each_box_alone(frame):
    rng = np.random.default_rng(4)
    joints, boxes = random_joints(rng, 6), geometry.to_aspect(rng.uniform(1, 200, (6, 4)), frame)
    together = geometry.image_to_frame(joints, boxes, frame, LSP.flip)
    alone = [geometry.image_to_frame(*pair, frame, LSP.flip) for pair in zip(joints, boxes)]
    np.testing.assert_allclose(together, alone)
    np.testing.assert_allclose(geometry.frame_to_image(together, boxes, frame, LSP.flip), joints)


def test_mirror_swaps_sides_by_name():
    joints = random_joints(np.random.default_rng(2))
    mirrored = geometry.mirror(joints, 227, LSP.flip)
    wrist = mirrored[LSP.index("left_wrist")]
    np.testing.assert_allclose(wrist, [227, 0] + joints[LSP.index("right_wrist")] * [-1, 1])
    np.testing.assert_allclose(geometry.mirror(mirrored, 227, LSP.flip), joints)


def test_a_box_of_the_frames_proportions_holds_the_whole_image_centred():
    def letterbox(width, height, frame):
        return geometry.to_aspect(geometry.image_box((width, height)), frame)

    np.testing.assert_allclose(letterbox(100, 60, (227, 227)), [0, -20, 100, 100])
    np.testing.assert_allclose(letterbox(61, 100, (227, 227)), [-19.5, 0, 100, 100])
    np.testing.assert_allclose(
        letterbox(100, 60, (192, 256)), [0, (60 - 400 / 3) / 2, 100, 400 / 3]
    )
    np.testing.assert_allclose(letterbox(60, 100, (192, 256)), [-7.5, 0, 75, 100])
    np.testing.assert_allclose(letterbox(96, 128, (192, 256)), [0, 0, 96, 128])


def test_boxes_are_around_their_centres_and_scaled_about_them():
    centres = np.array([[10.0, 20], [-3, 4]])
    np.testing.assert_allclose(geometry.box_around(centres, [8, 2]), [[6, 16, 8, 8], [-4, 3, 2, 2]])
    boxes = geometry.box_around(centres, [[8, 6], [2, 1]])
    np.testing.assert_allclose(boxes, [[6, 17, 8, 6], [-4, 3.5, 2, 1]])
    np.testing.assert_allclose(
        geometry.scale_box(boxes, 1.5), [[4, 15.5, 12, 9], [-4.5, 3.25, 3, 1.5]]
    )
    np.testing.assert_allclose(geometry.scale_box(geometry.scale_box(boxes, 1.25), 0.8), boxes)
    np.testing.assert_allclose(
        geometry.joints_box(np.array([[3.0, 4], [np.nan, np.nan], [1, 9]])), [1, 4, 2, 5]
    )


def test_distance_and_extent_are_those_of_tensors_too():
    joints = random_joints(np.random.default_rng(5), 6)
    tensors = torch.from_numpy(joints)
    np.testing.assert_allclose(
        geometry.distance(joints, (9, 2)), np.linalg.norm(joints[:, 9] - joints[:, 2], axis=1)
    )
    np.testing.assert_allclose(
        geometry.distance(tensors, (9, 2)), geometry.distance(joints, (9, 2))
    )
    tight = [geometry.joints_box(pose)[2:].max() for pose in joints]
    np.testing.assert_allclose(geometry.extent(joints), tight)
    np.testing.assert_allclose(geometry.extent(tensors), tight)


def test_geometry_edits_nothing_in_place():
    joints = random_joints(np.random.default_rng(3))
    before = joints.copy()
    geometry.mirror(joints, 227, LSP.flip)
    boxes = np.array([1.0, 2, 3, 4])
    geometry.image_to_frame(joints, boxes, (227, 227), LSP.flip)
    geometry.frame_to_image(joints, boxes, (227, 227), LSP.flip)
    geometry.to_aspect(boxes, (1, 2))
    geometry.scale_box(boxes, 2)
    np.testing.assert_array_equal(joints, before)
    np.testing.assert_array_equal(boxes, [1, 2, 3, 4])


def centroid(image):
    """Brightness-weighted centre (x, y) of an image (H, W), continuous coordinates."""
    y, x = np.indices(image.shape) + 0.5
    return np.array([(x * image).sum(), (y * image).sum()]) / image.sum()


def white_pixel(width, height, x, y):
    image = np.zeros((height, width, 3), np.uint8)
    image[y, x] = 255
    return image


BOXES = [
    (10.0, 20.0, 60.0, 60.0),
    (-15.5, 3.25, 90.75, 90.75),
    (25.5, 30.25, 33.3, 33.3),
    (-60.0, -50.0, 250.0, 250.0),
]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("box", BOXES)
def test_white_pixel_stays_under_its_joint_in_frames(box, mirrored):
    image = Image.fromarray(white_pixel(100, 80, 40, 45))
    frame = cutting.cut(image, box, (227, 227), mirrored)
    assert frame.shape == (227, 227, 3) and frame.dtype == np.uint8
    joints = np.full((14, 2), [40.5, 45.5])
    expected = geometry.image_to_frame(
        joints, np.array(box), (227, 227), LSP.flip if mirrored else None
    )[0]
    np.testing.assert_allclose(centroid(frame[..., 0].astype(float)), expected, atol=0.15)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("margin", [1.0, 1.25])
@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("box", BOXES)
def test_white_pixel_stays_under_its_joint_in_frames_of_any_proportions(
    box, frame, margin, mirrored
):
    """The joint's box, grown to the frame's proportions, with a margin; and back to the photograph
    again."""
    image = Image.fromarray(white_pixel(100, 80, 40, 45))
    region = geometry.scale_box(geometry.to_aspect(np.array(box), frame), margin)
    shown = cutting.cut(image, region, frame, mirrored)
    assert shown.shape == (frame[1], frame[0], 3)
    flip = LSP.flip if mirrored else None
    found = np.full((14, 2), centroid(shown[..., 0].astype(float)))
    expected = geometry.image_to_frame(np.full((14, 2), [40.5, 45.5]), region, frame, flip)
    np.testing.assert_allclose(found, expected, atol=0.15)
    back = geometry.frame_to_image(found, region, frame, flip)
    np.testing.assert_allclose(
        back, np.full((14, 2), [40.5, 45.5]), atol=0.15 * region[2] / frame[0]
    )


@pytest.mark.parametrize("size", FRAMES)
@pytest.mark.parametrize(
    "box", [*BOXES[:3], (-60.0, -50.0, 200.0, 200.0), (5.5, 10.25, 50.0, 66.6)]
)
def test_white_pixel_stays_under_its_joint_in_crops(box, size):
    images = torch.zeros(2, 3, 80, 100)
    images[1, :, 45, 40] = 1
    boxes = torch.tensor([[[0.0, 0, 50, 50], [0, 0, 50, 50]], [[0, 0, 80, 80], box]])
    cut = crops.crop(images, boxes, size)
    assert cut.shape == (4, 3, size[1], size[0])
    assert cut[:2].abs().sum() == 0  # the first image's crops come first
    expected = geometry.image_to_frame(np.array([[40.5, 45.5]]), np.array(box), size)[0]
    np.testing.assert_allclose(centroid(cut[3, 0].double().numpy()), expected, atol=0.1)
    x0, y0, width, height = box
    mirrored = crops.crop(images[1:], torch.tensor([[[x0 + width, y0, -width, height]]]), size)
    torch.testing.assert_close(mirrored[0], cut[3].flip(2), atol=1e-4, rtol=0)


def test_crop_at_whole_pixels_gives_those_pixels_and_black_outside():
    image = torch.rand(1, 3, 60, 60)
    inside = crops.crop(image, torch.tensor([[[10.0, 20, 32, 24]]]), (32, 24))
    torch.testing.assert_close(inside[0], image[0, :, 20:44, 10:42], atol=1e-5, rtol=0)
    over_the_border = crops.crop(image, torch.tensor([[[-8.0, 40, 32, 32]]]), (32, 32))[0]
    torch.testing.assert_close(
        over_the_border[:, :20, 8:], image[0, :, 40:, :24], atol=1e-5, rtol=0
    )
    assert (
        over_the_border[:, 20:].abs().max() < 1e-5 and over_the_border[:, :, :8].abs().max() < 1e-5
    )


def test_crop_keeps_the_aspect():
    image = torch.zeros(1, 1, 100, 100)
    image[:, :, 40:60, 30:70] = 1  # 40 wide, 20 high
    cut = crops.crop(image, torch.tensor([[[0.0, 0, 100, 100]]]), (200, 200))[0, 0] > 0.5
    assert cut.any(0).sum() == 80 and cut.any(1).sum() == 40
    cut = crops.crop(image, torch.tensor([[[20.0, 10, 60, 80]]]), (120, 160))[0, 0] > 0.5
    assert cut.any(0).sum() == 80 and cut.any(1).sum() == 40


def test_frames_become_floats_in_channels_last():
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    images = crops.to_float(torch.from_numpy(frames))
    assert images.shape == (2, 3, 8, 8) and images.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(images.permute(0, 2, 3, 1).numpy(), frames / 255, atol=1e-7)
