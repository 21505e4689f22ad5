"""Rungs: the epochs at which a scheduler looks at a trial."""


def rungs(grace_period: int, max_epochs: int, reduction: int) -> tuple[int, ...]:
    """Grace period times powers of the reduction, below the last epoch, in integer arithmetic.

    Args:    grace_period: first rung, in epochs, 1 or more.
             max_epochs: epochs of a whole trial.
             reduction: factor between rungs, 2 or more.
    Returns: ascending; empty when the grace period leaves nothing to stop.
    Raises:  ValueError: when a number is out of range.
    """
    if grace_period < 1 or reduction < 2:
        raise ValueError(f"--grace-period must be 1 or more and --reduction 2 or more; got {grace_period} and {reduction}")
    found, rung = [], grace_period
    while rung < max_epochs:
        found.append(rung)
        rung *= reduction
    return tuple(found)
