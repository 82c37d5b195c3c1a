"""Device, precision, seeding, the processes that torchrun starts, and one loop for inference."""

import ctypes
import datetime
import importlib
import importlib.metadata
import os
import platform
import sys
import zlib
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from deeppose import crops, shell
from deeppose.shell import InputError

SAVE_MINUTES = 5
M_TRIM_THRESHOLD = -1  # as glibc's malloc.h numbers what mallopt sets
M_MMAP_MAX = -4
PATIENCE = datetime.timedelta(days=30)  # with other processes, whose joints may take longer


@dataclass(frozen=True)
class Runtime:
    """Device, precision and processes that the networks run with.

    precision    "bf16" or "fp32"
    rank, world  torchrun's, 0 of 1 without
    """

    device: torch.device
    precision: str
    compile: bool = False
    rank: int = 0
    world: int = 1

    @property
    def dtype(self):
        """Type of images and crops, as the first convolution takes them."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def autocast(self):
        """Context in which what is safe in bfloat16 is computed in it, if that is the precision.

        The networks keep their last layer in float32 themselves.
        """
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def place(self, network):
        """The network on this device, in the memory layout that its convolutions are fastest in."""
        network = network.to(self.device, memory_format=torch.channels_last)
        if self.compile:
            network.compile()
        return network

    def alone(self):
        """The same Runtime for work that this process does without the others."""
        return replace(self, rank=0, world=1)

    def share(self, network):
        """The network as all processes train it together, with the mean of their gradients.

        Its weights stay those of `network`. Batch statistics are of all processes' images on GPUs,
        of each process's own on CPUs, where PyTorch has no synchronised normalisation.
        """
        if self.world == 1:
            return network
        if self.device.type != "cuda":
            return DistributedDataParallel(network)
        synchronised = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return DistributedDataParallel(synchronised, [self.device])

    def sum(self, values):
        """Values (K,), a float64 tensor on the CPU, summed over the processes."""
        if self.world > 1:
            on_device = values.to(self.device)
            distributed.all_reduce(on_device)
            values = on_device.cpu()
        return values

    def wait(self):
        """Wait until all processes have come this far."""
        if self.world > 1:
            distributed.barrier()

    def __str__(self):
        name = str(self.device)
        if self.device.type == "cpu":
            name = f"CPU, {torch.get_num_threads()} threads"
        elif self.device.type == "cuda":
            name += f", {torch.cuda.get_device_name(self.device)}"
        words = [name, self.precision, "channels-last"]
        if self.compile:
            words.append("compiled")
        if self.world > 1:
            words.append(f"{self.world} processes")
        return ", ".join([*words, f"torch {torch.__version__}"])

    def facts(self):
        """Entries of the provenance files: a rerun with other ones may end with other weights."""
        return {
            "device": str(self.device),
            "precision": self.precision,
            "threads": torch.get_num_threads(),
            "compile": self.compile,
            "processes": self.world,
            "torch": str(torch.__version__),
            "torchvision": importlib.metadata.version("torchvision"),
            "numpy": np.__version__,
            "python": platform.python_version(),
        }


def parser(description, **workdir):
    """ArgumentParser of a script's docstring with --workdir, --device, --precision and --compile.

    workdir  shell.parser's further arguments
    """
    arguments = shell.parser(description, **workdir)
    arguments.add_argument(
        "--device",
        default="auto",
        help="auto, cpu, cuda, cuda:1 ... (default: auto, the accelerator there is, else the CPU)",
    )
    arguments.add_argument(
        "--precision",
        choices=("auto", "bf16", "fp32"),
        default="auto",
        help="of convolutions and hidden layers (default: auto, bf16 where the hardware has it)",
    )
    arguments.add_argument(
        "--compile",
        action="store_true",
        help="let torch.compile fuse layers: needs a C++ compiler, and minutes at first",
    )
    return arguments


def add_training_arguments(arguments, epochs):
    """Add --epochs, --rows, --seed, --resume, --save-minutes, --keep-epochs and --log.

    `epochs` is the default.
    """
    arguments.add_argument(
        "--epochs",
        type=shell.at_least(1),
        default=epochs,
        metavar="N",
        help=f"passes over the training rows (default: {epochs})",
    )
    arguments.add_argument(
        "--rows",
        type=shell.at_least(1),
        metavar="N",
        help="train on N rows drawn by the seed, for small machines (default: all)",
    )
    arguments.add_argument(
        "--seed",
        type=shell.at_least(0),
        default=0,
        help="of everything drawn at random (default: 0)",
    )
    arguments.add_argument(
        "--resume",
        action="store_true",
        help="go on with an unfinished run; on the CPU with --precision fp32, and there alone, to "
        "the same weights, bit for bit, as if it had not been stopped",
    )
    arguments.add_argument(
        "--save-minutes",
        type=shell.at_least(0, float),
        default=SAVE_MINUTES,
        metavar="M",
        help="save the state for --resume every M minutes, and on a signal "
        f"(default: {SAVE_MINUTES})",
    )
    arguments.add_argument(
        "--keep-epochs",
        type=shell.at_least(1),
        metavar="K",
        help="keep the weights of every K-th epoch, as model_1.epoch_N.pt, beside the best "
        "(default: none)",
    )
    add_log_argument(arguments)


def add_log_argument(arguments):
    """Add --log."""
    arguments.add_argument(
        "--log",
        type=Path,
        metavar="FILE",
        help="write what is printed to this file too; --resume goes on in it (default: no file)",
    )


def log(options):
    """Context in which --log has what is printed, of several processes by the first."""
    if options.log is None or int(os.environ.get("RANK", 0)) > 0:
        return nullcontext()
    return shell.log(options.log, getattr(options, "resume", False))


def add_model_argument(arguments):
    """Add --model and --epoch."""
    arguments.add_argument(
        "--model",
        type=Path,
        metavar="FOLDER",
        help="take stage 1 (model_1.pt and model_1.json) from this folder, so that step 2 need not "
        "be run; step 6 takes its refiners too where --workdir has none "
        "(default: --workdir)",
    )
    arguments.add_argument(
        "--epoch",
        type=shell.at_least(1),
        metavar="N",
        help="take stage 1 as it was after epoch N, which --keep-epochs of step 2 kept; the same in "
        "steps 4 to 6 (default: its best epoch)",
    )


def choose(options, parallel=False):
    """The Runtime that --device, --precision and torchrun ask for.

    Raises InputError for a device that is not there.

    parallel  whether this step knows how to work as several processes; all but the first of them
              print nothing
    """
    # which of torchrun's processes this is
    rank = int(os.environ.get("RANK", 0))
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world > 1 and not parallel:
        raise InputError("torchrun is for steps 2 to 6; run this with python")
    if world > 1 and ":" in options.device:
        raise InputError(
            f"--device {options.device}: would put all {world} processes on one device; "
            "use --device cuda, or leave it out, so that each takes its own"
        )
    # the device
    try:
        name = options.device
        if name == "auto":
            has_accelerator = torch.accelerator.is_available()
            name = torch.accelerator.current_accelerator() if has_accelerator else "cpu"
        device = torch.device(name)
        if device.type == "cuda" and device.index is None:
            # one for each of torchrun's processes
            index = int(os.environ.get("LOCAL_RANK", torch.cuda.current_device()))
            device = torch.device("cuda", index)
            torch.cuda.set_device(device)
        torch.zeros(1, device=device).cpu()  # fails now, not in the middle of the step
    except Exception:  # each backend has its own way of saying that it is not there
        raise InputError(f"--device {options.device}: there is no such device here") from None
    # the precision, and the settings of the backends
    precision = options.precision
    if precision == "auto":
        precision = "bf16" if _has_bf16(device) else "fp32"
    torch.backends.cudnn.allow_tf32 = precision == "bf16"  # fp32 is true float32
    torch.backends.cudnn.benchmark = True
    if device.type == "cpu" and platform.libc_ver()[0] == "glibc":
        _keep_freed_memory()
    # of several processes the first speaks for all
    if world > 1:
        shell.until_end(_process_group("nccl" if device.type == "cuda" else "gloo"))
    if rank > 0:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    return Runtime(device, precision, options.compile, rank, world)


@contextmanager
def _process_group(backend):
    """Hold torch's process group, and end its threads, which may abort a process that is done.

    After an error it is left as it is, since the other processes may be waiting in it.
    """
    # imported now, since its functions keep the group that there is at their import
    importlib.import_module("torch.distributed.nn")
    distributed.init_process_group(backend, timeout=PATIENCE)
    yield
    distributed.destroy_process_group()


def _keep_freed_memory():
    """Have the C library use freed memory again, not return it and fetch new pages every batch.

    Measured on 2 cores: training 5 % (ResNet) and 10 % (AlexNet) faster, prediction 40 %.
    """
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, -1)  # never


def progress(items, what=None, **options):
    """Iterable of the items, with a progress bar labelled `what`.

    There is no bar without a label or a terminal, nor in further processes.
    """
    hidden = what is None or int(os.environ.get("RANK", 0)) > 0
    return tqdm(items, what, disable=True if hidden else None, **options)


def _has_bf16(device):
    """Whether bfloat16 arithmetic is in the hardware, not emulated."""
    # torch tells it of GPUs, Linux of CPUs
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
    """NumPy's generator for one place in a run, such as ("permutation", epoch).

    It depends on seed and place alone, so that a resumed run draws the same.
    """
    numbers = [part if isinstance(part, int) else zlib.crc32(part.encode()) for part in place]
    return np.random.default_rng((seed, *numbers))


def seed_torch(seed, *place):
    """Seed torch (initial weights, dropout) for one place in a run: see rng."""
    torch.manual_seed(int(rng(seed, *place).integers(2**63)))


def choose_rows(rows, wanted, seed):
    """Row numbers, `wanted` of them drawn by the seed and sorted; all for None or too many."""
    if wanted is None or wanted >= len(rows):
        return rows
    return np.sort(rng(seed, "rows").choice(rows, wanted, replace=False))


@torch.inference_mode()
def infer(compute, frames, rows, run, batch_size=64, what=None):
    """Results of compute on frames: a list of float32 arrays, one for each tensor it returns.

    Of several processes each computes some of the batches, which are those of one process, and all
    get everything.

    compute  function of images (n, 3, h, w) in [0, 1] and the slice of `rows` that they are:
             tensors (n, ...)
    frames   a Frames
    rows     numbers of the frames wanted
    what     a label for the progress bar; None shows none
    """
    pieces = [slice(start, start + batch_size) for start in range(0, len(rows), batch_size)]
    own_pieces = pieces[run.rank :: run.world]
    # a process without a piece of its own computes the first, to learn the shapes
    computed_pieces = own_pieces or pieces[:1]
    batches = frames.batches([rows[piece] for piece in computed_pieces])
    bar = progress(zip(computed_pieces, batches), what, total=len(computed_pieces), unit=" batches")
    outputs = []  # a tuple of tensors a piece
    with run.autocast():  # once, since it casts the weights anew whenever it is entered
        for piece, batch in bar:
            outputs.append(compute(crops.to_float(batch, run.dtype), piece))
    if run.world > 1:
        return [_gather(parts, own_pieces, len(rows), run) for parts in zip(*outputs)]
    return [torch.cat(parts).float().cpu().numpy() for parts in zip(*outputs)]


def _gather(parts, pieces, count, run):
    """All `count` rows that the processes computed, an array.

    Each process adds its parts, of its pieces, to zeros; the sum has them all.
    """
    whole = torch.zeros(count, *parts[0].shape[1:])
    for part, piece in zip(parts, pieces):
        whole[piece] = part.float().cpu()
    return run.sum(whole).numpy()
