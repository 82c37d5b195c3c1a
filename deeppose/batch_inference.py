"""The one loop that computes something of stored frames: in batches, shared by the processes."""

import torch

from deeppose import crops, runtime


@torch.inference_mode()
def infer(compute, frames, rows, run, batch_size=64, label=None):
    """Results of compute on frames: a list of float32 arrays, one for each tensor it returns.

    Of several processes each computes some of the batches, which are those of one process, and all
    get everything.

    compute  function of images (n, 3, h, w) in [0, 1] and the slice of `rows` that they are:
             tensors (n, ...)
    frames   a Frames
    rows     numbers of the frames wanted
    label    of the progress bar; None shows none
    """
    # deal out the batches, as slices of the rows
    slices = [slice(start, start + batch_size) for start in range(0, len(rows), batch_size)]
    own_slices = slices[run.rank :: run.world]
    # a process without a batch of its own computes the first, to learn the shapes
    computed_slices = own_slices or slices[:1]
    batches = frames.batches([rows[batch_slice] for batch_slice in computed_slices])
    progress_bar = runtime.progress(
        zip(computed_slices, batches), label, total=len(computed_slices), unit=" batches"
    )
    # compute them
    outputs = []  # a tuple of tensors for each batch
    with run.autocast():  # once, since it casts the weights anew whenever it is entered
        for batch_slice, batch in progress_bar:
            outputs.append(compute(crops.to_float(batch, run.dtype), batch_slice))
    # join each output's batches
    batch_outputs = zip(*outputs)
    if run.world > 1:
        return [_gather(tensors, own_slices, len(rows), run) for tensors in batch_outputs]
    return [torch.cat(tensors).float().cpu().numpy() for tensors in batch_outputs]


def _gather(tensors, own_slices, row_count, run):
    """The rows that all processes computed, an array (row_count, ...).

    Each process adds its batches' tensors to zeros; the sum has them all.
    """
    own_rows = torch.zeros(row_count, *tensors[0].shape[1:])
    for tensor, batch_slice in zip(tensors, own_slices):
        own_rows[batch_slice] = tensor.float().cpu()
    return run.sum(own_rows).numpy()
