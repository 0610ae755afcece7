"""Which structures of a label shard are compared with the exact solution."""

import numpy as np

from morphion.philox import generator


def draw(
    family: np.ndarray, index: np.ndarray, converged: np.ndarray, count: int, seed: int, set_: str
) -> np.ndarray:
    """Rows of a shard, in the order drawn, of which ``count`` have a converged label.

    Every structure of a set has a random rank that belongs to (run seed, set, family, index), and
    the lowest ranks of the shard are drawn: neither workers nor the order of the shard matter, and
    a larger draw contains every smaller one. Flagged labels are passed over but drawn with the
    rest, so that their share among the drawn is that among the labels.

    Parameters are ``family`` (text), ``index`` (integer) and ``converged`` (bool), each
    [structures]. Returns int64 [drawn]; fewer converge if the shard has fewer.
    """
    rank = [
        generator(seed, "verdict", set_, str(name), int(number)).random()
        for name, number in zip(family, index, strict=True)
    ]
    order = np.argsort(rank, kind="stable")
    drawn = converged[order].astype(int)
    return order[np.cumsum(drawn) - drawn < count]
