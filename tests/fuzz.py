"""Mutation fuzzing of every reader: whatever a file holds, it is read, or refused in one line that names it.

    python -m tests.fuzz --count 20000

Each case changes a good file (bits, bytes, blocks, lengths, numbers in headers, values in JSON) and reads it. A finding
is any exception but InputError and RunError, a warning (one more line on stderr), more than 5 s, or 1 GB more memory.
Case n of a seed is always the same one.
"""
import argparse
import collections
import contextlib
import faulthandler
import io
import json
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import scipy.io
import torch
from PIL import Image

import LSP_data
from deeppose import arrays, checkpoint, downloads, files, k2hpd, matlab, mpii, runtime
from deeppose.shell import InputError, RunError

RUN = runtime.Runtime(torch.device("cpu"), "fp32")

try:
    import resource
except ImportError:  # Windows: memory is not watched
    resource = None

LONGEST_S = 5
MOST_MEMORY = 1e9  # bytes
EXTREMES = (0, 1, -1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
ODD_VALUES = (None, True, -1, 0, 1.5, 10**9, 10**30, 1e308, float("nan"), float("inf"), "", "x" * 5000, "\ud800", [],
              {}, [[]], [None], {"": 0}, "lsp", "../x")


def small_network():
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))


def image_bytes(kind, **options):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def mat_bytes(shape, **options):
    file = io.BytesIO()
    scipy.io.savemat(file, {"joints": np.random.default_rng(0).integers(0, 2, shape).astype(float)}, **options)
    return file.getvalue()


def mpii_bytes(**options):
    """Annotations of three images in MPII's format: structs in structs, empty arrays, characters, cells."""
    points = np.zeros((1, 16), [(field, object) for field in ("x", "y", "id", "is_visible")])
    for joint in range(16):
        points[0, joint] = np.uint8(10 * joint), 5.5, np.uint8(joint), ("1", np.uint8(0), np.empty((0, 0)))[joint % 3]
    rect = {"x1": np.int16(-3), "y1": 4, "x2": np.uint8(200), "y2": 250.0, "annopoints": {"point": points},
            "scale": 2.5, "objpos": {"x": np.uint16(300), "y": 80}}
    images = np.zeros((1, 3), [("image", object), ("annorect", object)])
    for number, annorect in enumerate((rect, np.empty((0, 0)), {"scale": 1.5, "objpos": rect["objpos"]})):
        images[0, number] = {"name": f"0{number}.jpg"}, annorect
    names = np.array([["Zeichen \u4eba"], ["x"]], object)
    file = io.BytesIO()
    scipy.io.savemat(file, {"RELEASE": {"annolist": images, "img_train": np.uint8([1, 1, 0]), "act": names}}, **options)
    return file.getvalue()


def mutate_packed(content, rng):
    """The MATLAB file of one compressed variable with that variable mutated, and packed again."""
    packed = zlib.compress(mutate(zlib.decompress(content[136:]), rng), 1)
    return content[:132] + len(packed).to_bytes(4, "little") + packed


def k2hpd_bytes():
    joints = np.random.default_rng(0).integers(-3, 260, (5, 38))
    return b"".join(b"\0" * (n % 3) + f"{n:08d}.png {','.join(map(str, row))}\n".encode()
                    for n, row in enumerate(joints))


def zip_bytes(labels, compression):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("joints.mat", labels)
        for number in (1, 2):
            archive.writestr(f"images/im000{number}.jpg", image_bytes("JPEG"))
    return file.getvalue()


def torch_bytes(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def npy_bytes(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def read_zip(path):
    photo_set = LSP_data.open_set(path.parent, LSP_data.LSP_NUMBER)
    for number in photo_set.openers:
        if number <= len(photo_set.joints):
            photo_set.read(number)


def read_mpii(path):
    """Both readers of the file: the one may refuse what the other reads."""
    matlab.read(path, lambda: open(path, "rb"), "RELEASE")
    mpii.read_annotations(path, lambda: open(path, "rb"))


def state_options():
    return argparse.Namespace(resume=True, save_minutes=5)


def read_state(path):
    network = small_network()
    state = checkpoint.TrainingState(path.parent / "model.pt", {"a": 1}, RUN, network,
                                     torch.optim.Adagrad(network.parameters()), state_options())
    assert state.epoch + state.step + state.total + state.seconds is not None


def state_bytes(folder):
    network = small_network()
    optimiser = torch.optim.Adagrad(network.parameters())
    network(torch.ones(2, 3)).sum().backward()
    optimiser.step()
    state = checkpoint.TrainingState(folder / "model.pt", {"a": 1}, RUN, network, optimiser, state_options())
    state.best_weights = checkpoint.weights_of(network)
    state.save()
    content = state.path.read_bytes()
    state.path.unlink()
    return content


def make_dataset(folder):
    """Arrays of step 1 with two images of 8 pixels a part, and their dataset.json."""
    made = {}
    for part in ("train", "test"):
        made[f"{part}_images.npy"] = np.zeros((2, 8, 8, 3), np.uint8)
        made[f"{part}_labels.npy"] = np.full((2, 28), 4, np.float32)
    for name, array in made.items():
        arrays.save(folder / name, array)
    facts = {"skeleton": "lsp", "frame_px": 8, "rows": {"train": 2, "test": 2}, "held_out_rows": [0],
             "mean_pose_px": [4.0] * 28, "digests": {name: arrays.digest(folder / name) for name in made},
             "fingerprints": {name: arrays.fingerprint(folder / name) for name in made}}
    files.save_json(folder / "dataset.json", facts)
    return (folder / "dataset.json").read_bytes()


def load_weights(path):
    checkpoint.load_into(small_network(), path, "step 2")


def seeds(folder):
    """name -> (file name, good bytes, what reads it)."""
    weights = small_network().state_dict()
    labels = mat_bytes((3, 14, 2))
    return {
        ".npy labels": ("a.npy", npy_bytes(np.ones((5, 28), np.float32)),
                        lambda path: np.array(arrays.load(path, np.float32, (5, 28), "step 1"))),
        ".npy images": ("b.npy", npy_bytes(np.ones((2, 8, 8, 3), np.uint8)),
                        lambda path: np.array(arrays.load(path, np.uint8, (None, 8, 8, 3), "step 1"))),
        "dataset.json": ("dataset.json", make_dataset(folder), lambda path: arrays.open_dataset(path.parent)),
        ".mat": ("joints.mat", labels, lambda path: LSP_data.read_joints(path, lambda: open(path, "rb"), 1)),
        ".mat compressed": ("joints_2.mat", mat_bytes((14, 3, 50), do_compression=True),
                            lambda path: LSP_data.read_joints(path, lambda: open(path, "rb"), 2)),
        ".mat structs": ("mpii.mat", mpii_bytes(), read_mpii),
        ".mat structs compressed": ("mpii_packed.mat", mpii_bytes(do_compression=True), read_mpii),
        "K2HPD text": ("train_annos.txt", k2hpd_bytes(), k2hpd.read_annotations),
        "zip": ("lsp_dataset.zip", zip_bytes(labels, zipfile.ZIP_STORED), read_zip),
        "zip compressed": ("lsp_dataset_original.zip", zip_bytes(labels, zipfile.ZIP_DEFLATED), read_zip),
        "JPEG": ("im1.jpg", image_bytes("JPEG"), lambda path: downloads.read_image(path, lambda: open(path, "rb"))),
        "JPEG progressive": ("im2.jpg", image_bytes("JPEG", progressive=True),
                             lambda path: downloads.read_image(path, lambda: open(path, "rb"))),
        "PNG": ("im3.jpg", image_bytes("PNG"), lambda path: downloads.read_image(path, lambda: open(path, "rb"))),
        "checkpoint": ("model_1.pt", torch_bytes(weights), load_weights),
        "checkpoint, old format": ("model_2.pt", torch_bytes(weights, _use_new_zipfile_serialization=False),
                                   load_weights),
        "training state": ("model.resume.pt", state_bytes(folder), read_state),
    }


def mutate(content, rng):
    """The bytes with one to six changes; half of them in the first 300 bytes, where headers are."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 7)):
        place = int(rng.integers(0, max(1, min(len(content), 300) if rng.random() < 0.5 else len(content))))
        length = int(rng.integers(1, 64))
        match rng.integers(0, 8):
            case 0 if content:
                content[place % len(content)] ^= 1 << int(rng.integers(0, 8))
            case 1:
                content[place:place + length] = rng.bytes(length)
            case 2:
                del content[place:place + length]
            case 3:
                content[place:place] = rng.bytes(length)
            case 4:
                del content[place:]
            case 5:
                content[place:place] = content[place:place + 8 * length]  # a block twice
            case 6:
                size = int(rng.choice((1, 2, 4, 8)))
                number = EXTREMES[rng.integers(len(EXTREMES))] % 2 ** (8 * size)
                content[place:place + size] = number.to_bytes(size, ("little", "big")[rng.integers(2)])
            case 7:  # a number in a text header
                digits = [k for k in range(min(len(content), 300)) if chr(content[k]).isdigit()]
                if digits:
                    k = digits[rng.integers(len(digits))]
                    content[k:k + 1] = str(EXTREMES[rng.integers(len(EXTREMES))]).encode()
    return bytes(content)


def mutate_json(content, rng):
    """The JSON with one value, wherever it stands, replaced by an odd one or removed."""
    root = json.loads(content)
    node, key = {"": root}, ""
    while isinstance(node[key], (dict, list)) and node[key] and (node[key] is root or rng.random() < 0.6):
        node = node[key]
        key = list(node)[rng.integers(len(node))] if isinstance(node, dict) else int(rng.integers(len(node)))
    if rng.random() < 0.1:
        del node[key]
    else:
        node[key] = ODD_VALUES[rng.integers(len(ODD_VALUES))]
    return json.dumps(root).encode()


MUTATIONS = {"dataset.json": mutate_json, "mpii_packed.mat": mutate_packed}  # beside that of any bytes


def peak_memory():
    if resource is None:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def one_case(path, content, read):
    """What came of it ("read", "refused"), and None or what was found."""
    path.write_bytes(content)
    before, began, outcome, found = peak_memory(), time.process_time(), "read", None  # a busy machine is no hang
    faulthandler.dump_traceback_later(60 * LONGEST_S, exit=True)  # one that nothing else ends
    try:
        with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stdout(None):
            warnings.simplefilter("always")
            read(path)
    except (InputError, RunError) as error:
        outcome = "refused"
        if path.name not in str(error) and path.parent.name not in str(error):
            found = f"the file is not named: {error}"
    except Exception as error:
        outcome, found = "crashed", f"{type(error).__name__}: {error}"
    finally:
        faulthandler.cancel_dump_traceback_later()
    if warned:
        found = f"a warning: {warned[0].message}"
    if time.process_time() - began > LONGEST_S:
        found = f"took {time.process_time() - began:.0f} s"
    if peak_memory() - before > MOST_MEMORY:
        found = f"took {(peak_memory() - before) / 1e9:.1f} GB"
    return outcome, found


def fuzz(count, seed=0):
    """Run `count` cases over all readers in turn; returns counts {reader: {outcome: n}} and the findings."""
    counts, findings = collections.defaultdict(collections.Counter), []
    with tempfile.TemporaryDirectory() as folder:
        readers = {}
        for k, name in enumerate(seeds(Path(folder))):
            own = Path(folder) / f"{k}"
            own.mkdir()
            readers[name] = own, seeds(own)[name]
        for own, (file_name, content, read) in readers.values():
            assert one_case(own / file_name, content, read) == ("read", None), file_name
        for n in range(count):
            name = list(readers)[n % len(readers)]
            own, (file_name, content, read) = readers[name]
            rng = np.random.default_rng((seed, n))
            special = MUTATIONS.get(file_name)
            mutation = special if special and rng.random() < 0.7 else mutate
            outcome, found = one_case(own / file_name, mutation(content, rng), read)
            counts[name][outcome] += 1
            if found:
                findings.append(f"{name}, case {n} of seed {seed}: {found}")
    return counts, findings


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    faulthandler.enable()
    began = time.monotonic()
    counts, findings = fuzz(options.count, options.seed)
    for name, outcomes in counts.items():
        print(f"{name:<24}" + "".join(f"{outcome:>10} {n:>6}" for outcome, n in sorted(outcomes.items())))
    print(*findings[:50], sep="\n")
    print(f"{options.count} cases, {len(findings)} findings, {time.monotonic() - began:.0f} s, "
          f"peak memory {peak_memory() / 1e9:.2f} GB")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
