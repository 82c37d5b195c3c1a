"""Run by torchrun (or alone) in test_torchrun.py: gradients of steps of stage 1, with stored batch
statistics.

python one_gradient.py WORKDIR OUTPUT.pt
"""

import sys
from pathlib import Path

import numpy as np
import torch

import Train_stage_1
from deeppose import runtime, shell
from deeppose.dataset import open_dataset
from deeppose.frame_examples import FrameExamples, deal
from Resnet_stage_1 import Resnet_stage_1

# parts of different size, and a process without a row
BATCHES = (np.array([0, 1, 2, 3, 4]), np.array([3]))


@shell.command
def main(argv=None):
    data = open_dataset(Path(sys.argv[1]))
    options = Train_stage_1.parse(["--device", "cpu", "--precision", "fp32"])
    run = runtime.choose(options, parallel=True)
    examples = FrameExamples(data, options.recipe, (129, 129), run)
    examples.targets[0, :10] = torch.nan  # unlabelled joints in one process's part only
    torch.manual_seed(run.rank)  # torchrun's first process hands its weights to the others
    network = Resnet_stage_1(data.skeleton.joint_count)
    for module in network.modules():
        module.train(module is network)  # stored batch statistics
    shared = run.share(network)
    steps = []
    for batch in BATCHES:
        network.zero_grad()
        loss = step(shared, examples, batch, run)
        steps.append(
            {
                "loss": loss,
                "gradients": {name: weight.grad for name, weight in network.named_parameters()},
            }
        )
    if run.rank == 0:
        torch.save(steps, sys.argv[2])


def step(network, examples, batch, run):
    """Add a batch's gradient to the network's, and return the loss of all processes."""
    part = slice(run.rank, None, run.world)
    frames = examples.frames.take(deal(batch, run.world)[part])
    images, targets = examples.draw(frames, batch, part, run.world, runtime.rng(0, "view"))
    loss = Train_stage_1.gradient(
        network, images, targets, part, examples.recipe, run, Resnet_stage_1.cells
    ).item()
    return run.sum(torch.tensor([loss / run.world], dtype=torch.float64)).item()


if __name__ == "__main__":
    main()
    names = [file.read_text() for file in Path("/proc/self/task").glob("*/comm")]
    assert not [name for name in names if "gloo" in name], (
        "such a thread may abort the interpreter while it ends"
    )
