"""Local response normalisation across channels (Krizhevsky et al., NIPS 2012, section 3.3).

y = x / (k + alpha / size * sum of x^2 over the `size` neighbouring channels) ^ beta, as
torch.nn.functional.local_response_norm, whose pooling over a padded copy takes more time than the
rest of AlexNet together. Here forward and gradient are written out; on a CPU they run over pieces
that stay in the cache, in buffers that are used again.
"""

import torch

SIZE, ALPHA, BETA, K = 5, 1e-4, 0.75, 1.0  # AlexNet's window and exponent; torch's k
PIECE = 200_000  # numbers worked on at a time on a CPU: 0.8 MB in float32


def _sum_window(padded, pairs, out):
    """Padded rows (R, C + 4) -> out (R, C): for each channel the sum over the SIZE = 5 channels
    around it."""
    channels = out.shape[1]
    torch.add(padded[:, :-1], padded[:, 1:], out=pairs)
    torch.add(pairs[:, :channels], pairs[:, 2 : channels + 2], out=out)
    return out.add_(padded[:, 4:])


def _pieces(buffer_widths, *tensors):
    """Tensors (N, C, H, W) as matching pieces of rows (R, C), with buffers (R, C + extra) in at
    least float32.

    The channels are next to each other in memory. buffer_widths gives (extra, first content) of
    each buffer; None: any.
    """
    channels = tensors[0].shape[1]
    rows = [tensor.permute(0, 2, 3, 1).reshape(-1, channels) for tensor in tensors]
    length = (
        min(len(rows[0]), max(1, PIECE // channels))
        if rows[0].device.type == "cpu"
        else len(rows[0])
    )
    dtype = torch.promote_types(tensors[0].dtype, torch.float32)
    buffers = [
        torch.empty((length, channels + extra), dtype=dtype, device=rows[0].device)
        for extra, _ in buffer_widths
    ]
    for buffer, (_, content) in zip(buffers, buffer_widths):
        if content is not None:
            buffer.fill_(content)
    for pieces in zip(*(part.split(length) for part in rows)):
        yield *pieces, *(buffer[: len(pieces[0])] for buffer in buffers)


# what the buffers that _raise needs begin with
SUMMED = ((0, None), (SIZE - 1, K / SIZE), (SIZE - 2, None), (0, None), (0, None))


def _raise(x, wide, padded, pairs, root, scale):
    """Fill wide with x, root with d^-1/2 and scale with d^-3/4 of d = k + alpha / size * sum."""
    wide.copy_(x)
    share = padded.new_full((), K / SIZE)  # of k in each of the five squares
    torch.addcmul(share, wide, wide, value=ALPHA / SIZE, out=padded[:, SIZE // 2 : -(SIZE // 2)])
    torch.sqrt(_sum_window(padded, pairs, root).rsqrt_(), out=scale).mul_(root)


class _LocalResponseNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        y = torch.empty_like(x, memory_format=torch.channels_last)
        for x_rows, out, wide, padded, pairs, root, scale in _pieces(SUMMED, x, y):
            _raise(x_rows, wide, padded, pairs, root, scale)
            out.copy_(scale.mul_(wide))
        return y

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        grad_x = torch.empty_like(x, memory_format=torch.channels_last)
        more = ((0, None), (SIZE - 1, 0.0))
        for x_rows, grad_rows, out, wide, padded, pairs, root, scale, wide_grad, across in _pieces(
            SUMMED + more, x, grad, grad_x
        ):
            _raise(x_rows, wide, padded, pairs, root, scale)
            scale.mul_(wide_grad.copy_(grad_rows))
            root.mul_(root).mul_(scale)
            torch.mul(root, wide, out=across[:, SIZE // 2 : -(SIZE // 2)])  # x * grad * d^-7/4
            _sum_window(across, pairs, root).mul_(wide)
            out.copy_(scale.sub_(root, alpha=2 * ALPHA * BETA / SIZE))
        return grad_x


def local_response_norm(x):
    """LRN of activations (N, C, H, W) over channels, with SIZE, ALPHA, BETA and K.

    Differentiable once.
    """
    # also while exporting, which would unroll the pieces for one number of images
    if torch.compiler.is_compiling():
        return torch.nn.functional.local_response_norm(x, SIZE, ALPHA, BETA, K)
    return _LocalResponseNorm.apply(x)


class Local_response_norm(torch.nn.Module):
    """local_response_norm as a layer."""

    def forward(self, x):
        return local_response_norm(x)
