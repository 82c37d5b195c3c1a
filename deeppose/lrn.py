"""Local response normalisation across channels (Krizhevsky et al., NIPS 2012, section 3.3).

y = x / (k + alpha / size * sum of x^2 over the `size` neighbouring channels) ^ beta, as
torch.nn.functional.local_response_norm, whose pooling over a padded copy takes more time than the
rest of AlexNet together. Here forward and gradient are written out; on a CPU they run over pieces
that stay in the cache, in buffers that are used again.
"""

import torch

SIZE = 5  # channels of the window: AlexNet's
ALPHA = 1e-4  # torch's, of the mean of the squares; the paper's is of their sum
BETA = 0.75  # AlexNet's
K = 1.0  # torch's; the paper has 2
PIECE = 200_000  # numbers worked on at a time on a CPU: 0.8 MB in float32


def _sum_window(padded, pairs, out):
    """Fill out (R, C) with each channel's sum over the SIZE = 5 channels around it; returns it.

    padded  rows (R, C + 4)
    pairs   a buffer (R, C + 3)
    """
    # sums of two neighbours are used twice each: 3 additions, not 4
    channels = out.shape[1]
    torch.add(padded[:, :-1], padded[:, 1:], out=pairs)
    torch.add(pairs[:, :channels], pairs[:, 2 : channels + 2], out=out)
    return out.add_(padded[:, 4:])


def _pieces(buffer_widths, *tensors):
    """Tensors (N, C, H, W) as matching pieces of rows (R, C), with buffers (R, C + extra).

    Buffers are of float32 or more. The channels are next to each other in memory. buffer_widths
    gives (extra, first content) of each buffer; None: any.
    """
    channels = tensors[0].shape[1]
    # a row for each place of each image; a view where the tensors are channels-last
    rows = [tensor.permute(0, 2, 3, 1).reshape(-1, channels) for tensor in tensors]
    device = rows[0].device
    piece_length = len(rows[0])
    if device.type == "cpu":
        piece_length = min(piece_length, max(1, PIECE // channels))
    # the buffers, which all pieces use in turn
    dtype = torch.promote_types(tensors[0].dtype, torch.float32)
    buffers = []
    for extra, content in buffer_widths:
        buffer = torch.empty((piece_length, channels + extra), dtype=dtype, device=device)
        if content is not None:
            buffer.fill_(content)
        buffers.append(buffer)
    for pieces in zip(*(tensor_rows.split(piece_length) for tensor_rows in rows)):
        # the last piece may be shorter
        yield *pieces, *(buffer[: len(pieces[0])] for buffer in buffers)


# buffers of _fill_powers: wide, padded (whose border has a k's share and no square), pairs, root
# and scale
POWER_BUFFERS = ((0, None), (SIZE - 1, K / SIZE), (SIZE - 2, None), (0, None), (0, None))


def _fill_powers(x, wide, padded, pairs, root, scale):
    """Fill wide with x, root with d^-1/2 and scale with d^-3/4 of d = k + alpha / size * sum."""
    # k and the squares go into one sum, so that the window is passed over once
    wide.copy_(x)
    share = padded.new_full((), K / SIZE)  # of k in each of the five squares
    torch.addcmul(share, wide, wide, value=ALPHA / SIZE, out=padded[:, SIZE // 2 : -(SIZE // 2)])
    torch.sqrt(_sum_window(padded, pairs, root).rsqrt_(), out=scale).mul_(root)


class _LocalResponseNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        y = torch.empty_like(x, memory_format=torch.channels_last)
        for x_rows, out, wide, padded, pairs, root, scale in _pieces(POWER_BUFFERS, x, y):
            _fill_powers(x_rows, wide, padded, pairs, root, scale)
            out.copy_(scale.mul_(wide))
        return y

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        grad_x = torch.empty_like(x, memory_format=torch.channels_last)
        grad_buffers = ((0, None), (SIZE - 1, 0.0))  # wide_grad, and across with a border of 0
        pieces = _pieces(POWER_BUFFERS + grad_buffers, x, grad, grad_x)
        for x_rows, grad_rows, out, *powers, wide_grad, across in pieces:
            wide, _, pairs, root, scale = powers
            _fill_powers(x_rows, *powers)
            # through the channel's own numerator
            scale.mul_(wide_grad.copy_(grad_rows))
            # through the denominators of the channels around it
            root.mul_(root).mul_(scale)
            torch.mul(root, wide, out=across[:, SIZE // 2 : -(SIZE // 2)])  # x * grad * d^-7/4
            _sum_window(across, pairs, root).mul_(wide)
            out.copy_(scale.sub_(root, alpha=2 * ALPHA * BETA / SIZE))
        return grad_x


def local_response_norm(x):
    """LRN of activations (N, C, H, W) over channels, with SIZE, ALPHA, BETA and K.

    Differentiable once.
    """
    # true while exporting too, which would unroll the pieces for one number of images
    if torch.compiler.is_compiling():
        return torch.nn.functional.local_response_norm(x, SIZE, ALPHA, BETA, K)
    return _LocalResponseNorm.apply(x)


class Local_response_norm(torch.nn.Module):
    """local_response_norm as a layer."""

    def forward(self, x):
        return local_response_norm(x)
