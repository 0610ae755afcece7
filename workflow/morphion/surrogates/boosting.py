"""Growing boosted trees: what a training is to them, in place of the loop over epochs."""

import time

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from morphion.config.surrogates import TreesTraining
from morphion.philox import stream_key
from morphion.progress import log
from morphion.store import Partial
from morphion.surrogates.data import Inputs, Labelled
from morphion.surrogates.loop import OnEpoch, OnStep
from morphion.surrogates.parallel import Ranks
from morphion.surrogates.state import Position
from morphion.surrogates.trees import LEAF, Trees


class Boosting:
    """One training of trees, with the parameters of ``morphion.surrogates.loop.Loop``.

    All iterations are grown and the trees up to the one with the smallest validation loss are
    kept. A killed training starts anew: it takes seconds.
    """

    def __init__(
        self,
        model: Trees,
        inputs: Inputs,
        data: Labelled,
        train_rows: np.ndarray,
        validation_rows: np.ndarray,
        training: TreesTraining,
        stream: tuple,
        ranks: Ranks,
        partial: Partial | None = None,
        on_step: OnStep = lambda *_: None,
        on_epoch: OnEpoch = lambda *_: None,
    ):
        self._model, self._inputs, self._labels = model, inputs, data.diffusivity
        self._train_rows, self._validation_rows = train_rows, validation_rows
        self._training, self._stream, self._on_epoch = training, stream, on_epoch

    def run(self) -> Position:
        """Grow the trees; returns the history, an iteration to a row, and the best iteration."""
        started = time.monotonic()
        self._take(self._grown())
        losses = [self._losses(rows) for rows in (self._train_rows, self._validation_rows)]
        best = int(np.argmin(losses[1]))
        with torch.no_grad():
            self._model.feature[best + 1 :] = LEAF
            for name in ("left", "right", "threshold", "value"):
                getattr(self._model, name)[best + 1 :] = 0
        seconds, count = time.monotonic() - started, len(losses[1])
        rate, speed = self._training.learning_rate, len(self._train_rows) * count / seconds
        position = Position(count, seconds=seconds, best_loss=losses[1][best], best_epoch=best)
        for k, (train, validation) in enumerate(zip(*losses, strict=True)):
            taken = seconds * (k + 1) / count
            row = (k, train, validation, rate, taken, speed, 0.0)
            position.history.append(tuple(float(value) for value in row))
            self._on_epoch(position.history[-1])
        log(f"{count} trees grown, the first {best + 1} kept")
        return position

    def predict(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """D* of structures and a novelty of 0, float64 [len(rows)]."""
        found = self._model(self._inputs.batch(rows, None)).cpu().numpy()
        return found, np.zeros(len(rows))

    def _grown(self):
        """A regressor of scikit-learn on what the head leaves to learn of ln D*."""
        # Imported late: it takes a second, which prediction should not wait for.
        from sklearn.ensemble import HistGradientBoostingRegressor

        training, model = self._training, self._model
        machine = HistGradientBoostingRegressor(
            learning_rate=training.learning_rate,
            max_iter=training.max_iterations,
            max_leaf_nodes=(model.feature.shape[1] + 1) // 2,
            min_samples_leaf=training.min_samples_leaf,
            max_features=training.max_features,
            early_stopping=False,
            random_state=int(stream_key(self._stream[0], "trees", *self._stream[1:])[0]),
        )
        inputs = self._inputs.batch(self._train_rows, None).double().cpu().numpy()
        logarithm = np.log(self._labels[self._train_rows])
        # Sums over several threads would round as the threads happen to be.
        with threadpool_limits(limits=1):
            targets = (logarithm - float(model.log_mean)) / float(model.log_scale)
            return machine.fit(inputs, targets)

    def _take(self, machine) -> None:
        """Put the nodes that scikit-learn grew into the network."""
        model = self._model
        model.start.fill_(float(np.squeeze(machine._baseline_prediction)))
        names = {"num_threshold": model.threshold, "value": model.value}
        names |= {"left": model.left, "right": model.right}
        for k, (tree,) in enumerate(machine._predictors):
            nodes = tree.nodes
            leaf = nodes["is_leaf"].astype(bool)
            feature = np.where(leaf, LEAF, nodes["feature_idx"]).astype(np.int16)
            model.feature[k, : len(nodes)] = torch.from_numpy(feature)
            for name, held in names.items():
                values = np.where(leaf == (name == "value"), nodes[name], 0)
                held[k, : len(nodes)] = torch.from_numpy(values.astype(np.float64)).to(held.dtype)

    def _losses(self, rows: np.ndarray) -> np.ndarray:
        """Mean squared error of D* after each iteration, float64 [iterations]."""
        model = self._model
        raw = float(model.start) + np.cumsum(
            model.outputs(self._inputs.batch(rows, None)).cpu().numpy(), axis=1
        )
        predicted = np.exp(float(model.log_mean) + float(model.log_scale) * raw)
        return np.mean((predicted - self._labels[rows][:, None]) ** 2, axis=0)
