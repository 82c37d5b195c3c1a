"""What several tests use."""
import json

import numpy as np
import pytest
import torch

from deeppose import arrays, files

FP32 = ["--device", "cpu", "--precision", "fp32"]
SMALL = [*FP32, "--batch-size", "2"]


def fails(main, flags, capsys, *said, code=2):
    """main(flags) ends with the exit code and one line on stderr in which every one of `said` stands."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([str(flag) for flag in flags])
    line = capsys.readouterr().err.strip()
    assert stop.value.code == code, line
    assert len(line.splitlines()) == 1 and "Traceback" not in line
    for words in said:
        assert str(words) in line, line
    return line


def write_predictions(folder, error_px=8.0):
    """A train_output.npy as if stage 1 were off by error_px; returns it as (N, 14, 2)."""
    labels = np.load(folder / "train_labels.npy")
    rng = np.random.default_rng(0)
    predicted = np.nan_to_num(labels, nan=113.5) + rng.normal(0, error_px, labels.shape)
    np.save(folder / "train_output.npy", predicted.astype(np.float32))
    return predicted.reshape(-1, 14, 2).astype(np.float32)


def weights(folder, name):
    return torch.load(folder / f"{name}.pt", weights_only=True)


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def reseal(folder):
    """After arrays of step 1 were changed on purpose: make dataset.json agree with them again."""
    facts = json.loads((folder / "dataset.json").read_text())
    facts["fingerprints"] = {name: arrays.fingerprint(folder / name) for name in facts["fingerprints"]}
    files.save_json(folder / "dataset.json", facts)
