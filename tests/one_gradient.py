"""Run by torchrun (or alone) in test_torchrun.py: one step's gradient of stage 1, without its random parts.

python one_gradient.py WORKDIR OUTPUT.pt
"""
import sys
from pathlib import Path

import numpy as np
import torch

import Train_stage_1
from deeppose import arrays, crops, geometry, runtime, shell
from deeppose.loader import Frames
from Resnet_stage_1 import Resnet_stage_1

BATCH = np.array([0, 1, 2, 3, 4])  # five rows: the two processes have parts of different size


@shell.command
def main(argv=None):
    data = arrays.open_dataset(Path(sys.argv[1]))
    options = Train_stage_1.parse(["--device", "cpu", "--precision", "fp32"])
    recipe = options.recipe
    run = runtime.choose(options, parallel=True)
    targets = torch.from_numpy(geometry.normalise(data.train_labels, data.frame_box).astype(np.float32))
    targets[0, :10] = torch.nan  # unlabelled joints in one process's part only
    torch.manual_seed(run.rank)  # torchrun's first process hands its weights to the others
    network = Resnet_stage_1(data.skeleton.joint_count)
    for module in network.modules():
        module.train(module is network)  # stored batch statistics
    part = slice(run.rank, None, run.world)
    images = crops.to_float(Frames(data.train_images, run.device).take(BATCH[part]))
    loss = Train_stage_1.gradient(run.share(network), images, targets[BATCH], part, recipe, run).item()
    loss = run.sum(torch.tensor([loss / run.world], dtype=torch.float64)).item()
    if run.rank == 0:
        gradients = {name: weight.grad for name, weight in network.named_parameters()}
        torch.save({"loss": loss, "gradients": gradients}, sys.argv[2])


if __name__ == "__main__":
    main()
    names = [file.read_text() for file in Path("/proc/self/task").glob("*/comm")]
    assert not [name for name in names if "gloo" in name], "such a thread may abort the interpreter while it ends"
