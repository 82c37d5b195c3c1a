"""A step's device, precision, processes (those that torchrun starts) and random draws."""

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

import numpy as np
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from deeppose import shell
from deeppose.shell import InputError

M_TRIM_THRESHOLD = -1  # as glibc's malloc.h numbers what mallopt sets
M_MMAP_MAX = -4
PATIENCE = datetime.timedelta(days=30)  # with other processes, whose joints may take longer


@dataclass(frozen=True)
class Runtime:
    """Device, precision and processes that the networks run with.

    precision    "bf16" or "fp32"
    rank, world  torchrun's: number of this process, and of all processes; 0 of 1 without torchrun
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
        """Context that computes in bfloat16 what is safe in it, if that is the precision.

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
        """Values, a tensor on the CPU, summed over the processes: a tensor of the same shape."""
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
        device_name = str(self.device)
        if self.device.type == "cpu":
            device_name = f"CPU, {torch.get_num_threads()} threads"
        elif self.device.type == "cuda":
            device_name += f", {torch.cuda.get_device_name(self.device)}"
        words = [device_name, self.precision, "channels-last"]
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


def choose(options, parallel=False):
    """The Runtime that --device, --precision and torchrun ask for.

    parallel  whether this step knows how to work as several processes; all but the first of them
              print nothing
    Raises InputError for a device that is not there, and for processes that cannot share the step.
    """
    rank = _rank()
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        _check_parallel(options, parallel, world)
    device = _choose_device(options)
    precision = options.precision
    if precision == "auto":
        precision = "bf16" if _has_bf16(device) else "fp32"
    # settings of the backends
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


def _rank():
    """Number of this process among those that torchrun started; 0 without torchrun."""
    return int(os.environ.get("RANK", 0))


def _check_parallel(options, parallel, world):
    """Raise InputError where several processes cannot share this step or its device."""
    if not parallel:
        raise InputError("torchrun is for steps 2 to 6; run this with python")
    if ":" in options.device:
        raise InputError(
            f"--device {options.device}: would put all {world} processes on one device; "
            "use --device cuda, or leave it out, so that each takes its own"
        )


def _choose_device(options):
    """The torch.device that --device names; InputError where it is not there."""
    try:
        device_name = options.device
        if device_name == "auto":
            has_accelerator = torch.accelerator.is_available()
            device_name = torch.accelerator.current_accelerator() if has_accelerator else "cpu"
        device = torch.device(device_name)
        if device.type == "cuda" and device.index is None:
            # one for each of torchrun's processes
            index = int(os.environ.get("LOCAL_RANK", torch.cuda.current_device()))
            device = torch.device("cuda", index)
            torch.cuda.set_device(device)
        torch.zeros(1, device=device).cpu()  # fails now, not in the middle of the step
    except Exception:  # each backend has its own way of saying that it is not there
        raise InputError(f"--device {options.device}: there is no such device here") from None
    return device


def _has_bf16(device):
    """Whether bfloat16 arithmetic is in the hardware, not emulated."""
    # torch knows about GPUs, Linux about CPUs
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            cpu_flags = next((line.split() for line in file if line.startswith("flags")), ())
    except OSError:
        cpu_flags = ()
    return device.type == "cpu" and bool({"avx512_bf16", "amx_bf16"} & set(cpu_flags))


def _keep_freed_memory():
    """Have the C library use freed memory again, not return it and fetch new pages every batch.

    Measured on 2 cores: training 5 % (ResNet) and 10 % (AlexNet) faster, prediction 40 %.
    """
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, -1)  # never


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


def log(options):
    """Context that writes what is printed to the file of --log too, in the first process alone."""
    if options.log is None or _rank() > 0:
        return nullcontext()
    return shell.log(options.log, getattr(options, "resume", False))


def progress(items, label=None, **options):
    """Iterable of the items, with a progress bar.

    There is no bar without a label or a terminal, nor in further processes.
    """
    is_hidden = label is None or _rank() > 0
    # None: tqdm itself hides the bar where there is no terminal
    return tqdm(items, label, disable=True if is_hidden else None, **options)


def rng(seed, *purpose):
    """NumPy's generator for one purpose in a run, such as ("permutation", epoch).

    It depends on seed and purpose alone, so that a resumed run draws the same.
    """
    # crc32, since hash() of a text differs from process to process
    numbers = [word if isinstance(word, int) else zlib.crc32(word.encode()) for word in purpose]
    return np.random.default_rng((seed, *numbers))


def seed_torch(seed, *purpose):
    """Seed torch (initial weights, dropout) for one purpose in a run: see rng."""
    torch.manual_seed(int(rng(seed, *purpose).integers(2**63)))


def choose_rows(rows, wanted_count, seed):
    """Row numbers, `wanted_count` of them drawn by the seed and sorted; all for None or too many."""
    if wanted_count is None or wanted_count >= len(rows):
        return rows
    return np.sort(rng(seed, "rows").choice(rows, wanted_count, replace=False))
