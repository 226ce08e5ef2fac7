"""One number a label, added to its score, fitted on scored train rows: C parameters. Knows scores, no models and no rows."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax


def fit_label_bias(scores: NDArray[np.float64], expected: NDArray[np.int64], penalty: float) -> NDArray[np.float64]:
    """The bias of a logistic regression whose logits are the scores plus one free number a label.

    Convex, so L-BFGS from zero finds the one minimum, and the same data gives the same numbers.

    Args:
        scores: [N, C] log-likelihoods of the labels (nats).
        expected: [N] index of the right label.
        penalty: weight of the squared length of the bias; keeps labels without a row finite when above 0.
    Returns:
        [C] numbers with mean 0, to be added to scores.
    """
    rows = np.arange(len(scores))

    def loss(bias: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = scores + bias
        gradient = softmax(logits, axis=1)
        gradient[rows, expected] -= 1.0
        value = -log_softmax(logits, axis=1)[rows, expected].mean() + penalty / 2 * float(bias @ bias)
        return float(value), gradient.mean(axis=0) + penalty * bias

    found = minimize(loss, np.zeros(scores.shape[1]), jac=True, method="L-BFGS-B")
    bias: NDArray[np.float64] = found.x - found.x.mean()
    return bias
