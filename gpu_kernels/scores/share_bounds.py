"""Confidence bounds of a share."""

CONFIDENCE = 0.95


def share_bounds(count: float, total: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Clopper and Pearson's bounds of the share that `count` of `total` drawn are a sample of (Biometrika 26, 1934).

    They are exact: the true share is between them at least as often as `confidence` says. Of none drawn: (0, 1).
    Numbers that are not whole are those of an effective sample size (Korn and Graubard, Survey Methodology 24, 1998).
    """
    from scipy.special import betaincinv

    rest = (1 - confidence) / 2
    lower = float(betaincinv(count, total - count + 1, rest)) if count else 0.0
    upper = float(betaincinv(count + 1, total - count, 1 - rest)) if count < total else 1.0
    return lower, upper
