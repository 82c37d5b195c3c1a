"""Weights taken from another model as far as they fit: of another skeleton's, joint by joint."""

import torch


def adopt(network, weights, joints, wanted_joints):
    """Copy what fits of another model's weights into the network; returns the number of tensors.

    Modules that the network names as `joint_layers` have channels a joint, one joint after the
    other; those are copied for the joints that both models have, by name.

    weights        the other model's state_dict
    joints         its joints' names
    wanted_joints  the network's joints' names
    """
    taken_count = 0
    for tensor_name, tensor in network.state_dict().items():
        if tensor_name not in weights:
            continue
        source = weights[tensor_name]
        layer_name = tensor_name.rpartition(".")[0]
        # joints along rows and columns, along rows alone, or along neither
        if layer_name in getattr(network, "joint_mixers", ()):
            taken_count += _copy_mixer(tensor, source, joints, wanted_joints)
        elif source.shape[1:] != tensor.shape[1:]:
            continue
        elif layer_name in network.joint_layers and tensor.dim():
            taken_count += _copy_joints(tensor, source, joints, wanted_joints)
        elif source.shape == tensor.shape:
            tensor.copy_(source)
            taken_count += 1
    return taken_count


def _copy_joints(target, source, joints, wanted_joints):
    """Copy the rows of the joints that both have; returns whether there is one.

    A joint may have several rows, one after the other.
    """
    rows_a_joint = len(target) // len(wanted_joints)
    if len(source) != rows_a_joint * len(joints):
        return False
    common_joints = [joint_name for joint_name in wanted_joints if joint_name in joints]
    for joint_name in common_joints:
        to_row = wanted_joints.index(joint_name) * rows_a_joint
        from_row = joints.index(joint_name) * rows_a_joint
        target[to_row : to_row + rows_a_joint] = source[from_row : from_row + rows_a_joint]
    return bool(common_joints)


def _copy_mixer(target, source, joints, wanted_joints):
    """Copy as _copy_joints does: weights (J, J, ...) by rows and columns, a bias (J,) by rows."""
    if target.dim() == 1:
        return _copy_joints(target, source, joints, wanted_joints)
    if source.shape != (len(joints), len(joints), *target.shape[2:]):
        return False
    common_joints = [joint_name for joint_name in wanted_joints if joint_name in joints]
    to_rows = torch.tensor([wanted_joints.index(name) for name in common_joints], dtype=torch.long)
    from_rows = torch.tensor([joints.index(name) for name in common_joints], dtype=torch.long)
    # a shipped model's are float16
    target[to_rows[:, None], to_rows] = source[from_rows[:, None], from_rows].to(target.dtype)
    return bool(common_joints)
