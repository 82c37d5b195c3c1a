"""ImageNet's weights for an AlexNet, translated from torchvision's and from Caffe's files."""

CELLS = 6  # along both axes of the last pool's map, which the linear layers look at
TORCHVISION_CONVOLUTIONS = (0, 3, 6, 8, 10)  # their numbers in torchvision's `features`


def from_torchvision(weights, convolution_names):
    """torchvision's weights by this network's names.

    Raises ValueError where a convolution's weights are missing.

    weights            name -> tensor: features.0.weight ... classifier.4.bias
    convolution_names  this network's names of its five convolutions
    """
    our_names = {
        f"features.{number}": name
        for number, name in zip(TORCHVISION_CONVOLUTIONS, convolution_names)
    }
    our_names |= {"classifier.1": "hidden.0", "classifier.4": "hidden.3"}
    translated = {}
    for their_name, our_name in our_names.items():
        for kind in ("weight", "bias"):
            if f"{their_name}.{kind}" in weights:
                translated[f"{our_name}.{kind}"] = weights[f"{their_name}.{kind}"]
    _check_complete(
        translated, convolution_names, "features.0.weight to features.10.bias, as torchvision's"
    )
    return translated


def from_caffe(weights, convolution_names):
    """Weights of Caffe's bvlc_alexnet by this network's names and in its layout.

    Its images were 0...255 less the mean. Raises ValueError where a convolution's weights are
    missing.

    weights            name -> tensor, as the model's conversions to TensorFlow lay them out: conv1_W
                       (11, 11, 3, 96), conv2_W (5, 5, 48, 256) ... conv5_W are (h, w, in, out), with
                       the colours as blue, green, red; fc6_W (9216, 4096), whose inputs are the cells
                       by h, w, channel, and fc7_W are (in, out); conv1_b ... fc7_b are (out,)
    convolution_names  this network's names of its five convolutions
    """
    our_names = {f"conv{number}": name for number, name in enumerate(convolution_names, 1)}
    our_names |= {"fc6": "hidden.0", "fc7": "hidden.3"}
    translated = {}
    for their_name, our_name in our_names.items():
        if f"{their_name}_W" not in weights or f"{their_name}_b" not in weights:
            continue
        kernel = weights[f"{their_name}_W"]
        if their_name == "fc6":  # its inputs by h, w, channel -> by channel, h, w
            kernel = kernel.unflatten(0, (CELLS, CELLS, -1)).movedim(2, 0).flatten(0, 2)
        # (in, out) -> (out, in), and (h, w, in, out) -> (out, in, h, w)
        kernel = kernel.t() if their_name.startswith("fc") else kernel.permute(3, 2, 0, 1)
        if their_name == "conv1":  # blue, green, red -> red, green, blue
            kernel = kernel.flip(1)
        translated[f"{our_name}.weight"] = kernel
        translated[f"{our_name}.bias"] = weights[f"{their_name}_b"]
    _check_complete(translated, convolution_names, "conv1_W, conv1_b to conv5_b, as a .npz")
    return translated


def _check_complete(translated, convolution_names, wanted_names):
    """Raise ValueError where the weights or the bias of a convolution are missing."""
    for convolution_name in convolution_names:
        for kind in ("weight", "bias"):
            if f"{convolution_name}.{kind}" not in translated:
                raise ValueError(f"it has not all of {wanted_names}")
