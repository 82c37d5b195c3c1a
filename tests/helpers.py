"""Helpers of several tests."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import COCO_data
from Cascade_1_net import Alex_net_c1
from deeppose import arrays, files, networks, workdir
from deeppose.dataset import open_dataset
from deeppose.skeletons import LSP
from deeppose.stage_1 import Stage_1
from LSP_data import FRAME
from Resnet_stage_1 import Resnet_stage_1

# the real sets, where they are at hand
SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
FP32 = ["--device", "cpu", "--precision", "fp32"]
SMALL = [*FP32, "--batch-size", "2"]
SMALL_IMAGES = [*SMALL, "--input-px", "65"]
SMALL_CROPS = [*SMALL, "--crop-px", "67"]


def fails(main, flags, capsys, *said, code=2):
    """main(flags) ends with the exit code and one line on stderr in which every one of `said`
    stands."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([str(flag) for flag in flags])
    line = capsys.readouterr().err.strip()
    assert stop.value.code == code, line
    assert len(line.splitlines()) == 1 and "Traceback" not in line
    for words in said:
        assert str(words) in line, line
    return line


def real(*place):
    """Path of something among the real sets; the test is skipped where it is not at hand."""
    path = SHARED.joinpath(*place)
    if not path.exists():
        pytest.skip("the real images are not at hand")
    return path


def prepare_coco(folder, *flags):
    """Run COCO's step 1; returns the Dataset."""
    COCO_data.main(["--workdir", str(folder), *map(str, flags)])
    return open_dataset(folder)


def weight_count(module):
    """Number of a network's weights."""
    return sum(parameter.numel() for parameter in module.parameters())


def write_predictions(folder, error_px=8.0):
    """A train_output.npy as if stage 1 were off by error_px; returns it as (N, 14, 2)."""
    labels = np.load(folder / "train_labels.npy")
    rng = np.random.default_rng(0)
    predicted = np.nan_to_num(labels, nan=113.5) + rng.normal(0, error_px, labels.shape)
    np.save(folder / "train_output.npy", predicted.astype(np.float32))
    return predicted.reshape(-1, 14, 2).astype(np.float32)


def write_model(
    folder, network=None, *, skeleton=LSP, frame=FRAME, margin=1.0, input_size=None, **facts
):
    """A stage-1 network as step 2 leaves it: model_1.pt and its .json, ending in further `facts`;
    returns the network.

    network     a Resnet_stage_1 (default: one with random weights)
    input_size  (w, h) px of what it takes (default: as the view box is)
    """
    network = Resnet_stage_1(skeleton.joint_count) if network is None else network
    size = input_size or networks.input_size((frame[0] / margin, frame[1] / margin))
    model = Stage_1(network, "resnet", skeleton, frame, margin, size)
    torch.save(network.state_dict(), folder / "model_1.pt")
    files.save_json(
        folder / "model_1.json", model.described() | {"options": {"head": network.head}} | facts
    )
    return network


def write_refiner(
    folder,
    name,
    network=None,
    *,
    skeleton=LSP,
    stage=2,
    crop_scale=None,
    smallest_crop_px=40.0,
    **facts,
):
    """A refiner as step 5 leaves it: its .pt and its .json, ending in further `facts`; returns the
    network.

    name     a joint's, or "shared"
    network  an Alex_net_c1 (default: one with random weights, which serves that joint or all)
    """
    served = range(skeleton.joint_count) if name == workdir.SHARED else (skeleton.index(name),)
    network = Alex_net_c1(skeleton.joint_count, served) if network is None else network
    path = workdir.refiner_path(folder, name, stage)
    torch.save(network.state_dict(), path)
    known = {
        "network": "Alex_net_c1",
        "joints": [skeleton.joints[joint] for joint in network.joints],
        "options": {"head": network.head},
        "crop_px": network.crop_px,
        "crop_scale": crop_scale or skeleton.crop_scale,
        "smallest_crop_px": smallest_crop_px,
        "stage": stage,
        "skeleton": skeleton.described(),
    }
    files.save_json(path.with_suffix(".json"), known | facts)
    return network


def weights(folder, name):
    return torch.load(folder / f"{name}.pt", weights_only=True)


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def reseal(folder):
    """After arrays of step 1 were changed on purpose: make dataset.json agree with them again."""
    facts = json.loads((folder / "dataset.json").read_text())
    facts["fingerprints"] = {
        name: arrays.fingerprint(folder / name) for name in facts["fingerprints"]
    }
    files.save_json(folder / "dataset.json", facts)
