"""Device, precision, seeding and one loop for inference."""
import platform
import zlib
from dataclasses import dataclass

import numpy as np
import torch
import torchvision
from tqdm import tqdm

from deeppose import crops, shell
from deeppose.shell import InputError

SAVE_MINUTES = 5


@dataclass(frozen=True)
class Runtime:
    """Where and how the networks run. precision is "bf16" or "fp32"."""
    device: torch.device
    precision: str

    def autocast(self):
        """bfloat16 for what is safe in it, or nothing; the networks keep their last layer in float32 themselves."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def place(self, network):
        """The network on this device, in the memory layout its convolutions are fastest with."""
        return network.to(self.device, memory_format=torch.channels_last)

    def __str__(self):
        name = str(self.device)
        if self.device.type == "cpu":
            name = f"CPU, {torch.get_num_threads()} threads"
        elif self.device.type == "cuda":
            name += f", {torch.cuda.get_device_name(self.device)}"
        return f"{name}, {self.precision}, channels-last, torch {torch.__version__}"

    def facts(self):
        """What a rerun needs to be the same, for the provenance files."""
        return {"device": str(self.device), "precision": self.precision, "threads": torch.get_num_threads(),
                "torch": str(torch.__version__), "torchvision": torchvision.__version__,
                "numpy": np.__version__, "python": platform.python_version()}


def parser(description):
    """An ArgumentParser that shows a script's docstring, with --workdir, --device and --precision."""
    arguments = shell.parser(description)
    arguments.add_argument("--device", default="auto",
                           help="auto, cpu, cuda, cuda:1 ... (default: auto, the accelerator there is, else the CPU)")
    arguments.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto",
                           help="of convolutions and hidden layers (default: auto, bf16 where the hardware has it)")
    return arguments


def add_training_arguments(arguments, epochs):
    """Add --epochs, --rows, --seed, --resume and --save-minutes; `epochs` is the default."""
    arguments.add_argument("--epochs", type=shell.at_least(1), default=epochs, metavar="N",
                           help=f"passes over the training rows (default: {epochs})")
    arguments.add_argument("--rows", type=shell.at_least(1), metavar="N",
                           help="train on N rows drawn by the seed, for small machines (default: all)")
    arguments.add_argument("--seed", type=shell.at_least(0), default=0,
                           help="of everything drawn at random (default: 0)")
    arguments.add_argument("--resume", action="store_true",
                           help="go on with an unfinished run, to the same weights as if it had not been stopped")
    arguments.add_argument("--save-minutes", type=shell.at_least(0, float), default=SAVE_MINUTES, metavar="M",
                           help="save the state for --resume every M minutes, and on a signal "
                                f"(default: {SAVE_MINUTES})")


def choose(options):
    """The Runtime that --device and --precision ask for; InputError for a device that is not there."""
    try:
        wanted = options.device
        if wanted == "auto":
            wanted = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
        device = torch.device(wanted)
        torch.zeros(1, device=device).cpu()
    except Exception:  # each backend has its own way of saying that it is not there
        raise InputError(f"--device {options.device}: there is no such device here") from None
    precision = options.precision
    if precision == "auto":
        precision = "bf16" if _has_bf16(device) else "fp32"
    torch.backends.cudnn.allow_tf32 = False  # what is not in bf16 is in true float32
    return Runtime(device, precision)


def _has_bf16(device):
    """Whether bfloat16 arithmetic is in the hardware, not emulated."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = next((line.split() for line in file if line.startswith("flags")), ())
    except OSError:
        flags = ()
    return device.type == "cpu" and bool({"avx512_bf16", "amx_bf16"} & set(flags))


def rng(seed, *place):
    """NumPy's generator for one place in a run, such as ("permutation", epoch): a function of seed and place alone."""
    words = [part if isinstance(part, int) else zlib.crc32(part.encode()) for part in place]
    return np.random.default_rng((seed, *words))


def seed_torch(seed, *place):
    """Seed torch (initial weights, dropout) for one place in a run, so that a resumed run draws the same."""
    torch.manual_seed(int(rng(seed, *place).integers(2**63)))


def choose_rows(rows, wanted, seed):
    """`wanted` of the row numbers, drawn by the seed and sorted (all where None or more than there are)."""
    if wanted is None or wanted >= len(rows):
        return rows
    return np.sort(rng(seed, "rows").choice(rows, wanted, replace=False))


@torch.inference_mode()
def infer(network, images, rows, runtime, batch_size=64, what=None):
    """The network's outputs for whole frames, float32 (len(rows), outputs) on the CPU.

    images  uint8 (N, frame, frame, 3), memory-mapped or not
    rows    numbers of the frames wanted
    what    a label for the progress bar; None shows none
    """
    network.eval()
    outputs = []
    for start in tqdm(range(0, len(rows), batch_size), what, unit=" batches", disable=None if what else True):
        frames = crops.to_float(images[rows[start:start + batch_size]], runtime.device)
        with runtime.autocast():
            outputs.append(network(frames).float().cpu().numpy())
    return np.concatenate(outputs)
