"""Local response normalisation across channels (Krizhevsky et al., NIPS 2012, section 3.3).

y = x / (k + alpha / size * sum of x^2 over the `size` neighbouring channels) ^ beta, as
torch.nn.functional.local_response_norm, whose pooling over a padded copy takes more time than the rest of
AlexNet together. Here forward and gradient are written out, and on a CPU they run over pieces that stay in
the cache.
"""
import torch
import torch.nn.functional as F

SIZE, ALPHA, BETA, K = 5, 1e-4, 0.75, 1.0  # AlexNet's window and exponent; torch's k
PIECE = 200_000  # numbers worked on at a time on a CPU: 0.8 MB in float32


def _window_sum(rows):
    """Rows (R, C) -> for each channel the sum over the SIZE = 5 channels around it."""
    channels = rows.shape[1]
    padded = F.pad(rows, (SIZE // 2, SIZE // 2))
    pairs = padded[:, :-1] + padded[:, 1:]
    return pairs[:, :channels] + pairs[:, 2:channels + 2] + padded[:, 4:]


def _pieces(*tensors):
    """Tensors (N, C, H, W) as matching pieces of rows (R, C); the channels are next to each other in memory."""
    rows = [tensor.permute(0, 2, 3, 1).reshape(-1, tensor.shape[1]) for tensor in tensors]
    length = max(1, PIECE // rows[0].shape[1]) if rows[0].device.type == "cpu" else len(rows[0])
    return zip(*(tensor.split(length) for tensor in rows))


def _raised(x):
    """x in at least float32, and 1 / sqrt(k + alpha / size * sum)."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return x, _window_sum(x * x).mul_(ALPHA / SIZE).add_(K).rsqrt_()


class _LocalResponseNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        y = torch.empty_like(x, memory_format=torch.channels_last)
        for x_rows, y_rows in _pieces(x, y):
            x_rows, root = _raised(x_rows)
            y_rows.copy_(root.sqrt().mul_(root).mul_(x_rows))  # root^1.5 = sum^-0.75
        return y

    @staticmethod
    def backward(ctx, grad):
        x, = ctx.saved_tensors
        grad_x = torch.empty_like(x, memory_format=torch.channels_last)
        for x_rows, grad_rows, out in _pieces(x, grad, grad_x):
            x_rows, root = _raised(x_rows)
            grad_rows = grad_rows.to(x_rows.dtype)
            scale = root.sqrt().mul_(root)
            across = _window_sum((x_rows * grad_rows).mul_(scale).mul_(root).mul_(root))
            out.copy_(scale.mul_(grad_rows).sub_(across.mul_(x_rows).mul_(2 * ALPHA * BETA / SIZE)))
        return grad_x


def local_response_norm(x):
    """LRN of activations (N, C, H, W) over channels, with SIZE, ALPHA, BETA and K; differentiable once."""
    return _LocalResponseNorm.apply(x)
