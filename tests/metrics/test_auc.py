"""The area under the ROC curve, by hand and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from vsd_utils.metrics.auc import auc, auc_interval, compared
from vsd_utils.metrics.bootstrap import draw


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [
        ([2, 3], [0, 1], 1.0),
        ([1, 1], [1, 1], 0.5),
        ([0, 1], [2, 3], 0.0),
        ([2, 0], [1, 0], (1 + 1 + 0 + 0.5) / 4),
        ([1], [1 + 1e-9], 0.5),  # a rounding error is a tie
    ],
)
def test_small_cases_by_hand(right, wrong, expected) -> None:
    assert auc(np.array(right), np.array(wrong)).tolist() == [expected]


def test_pairs_by_hand() -> None:
    higher, equal = compared(np.array([3.0, 1, 2]), np.array([1.0, 1, 5]))
    assert (higher.tolist(), equal.tolist()) == ([1, 0, 0], [0, 1, 0])


values = st.integers(0, 5)


@given(st.lists(st.tuples(values, values), min_size=2, max_size=30))
def test_it_equals_scikit_learn_in_each_resample(pairs) -> None:
    right, wrong = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    weights = draw(len(pairs), resamples=4)
    labels = [1] * len(pairs) + [0] * len(pairs)
    expected = [roc_auc_score(labels, [*right, *wrong], sample_weight=[*row, *row]) for row in weights]
    assert auc(right, wrong, weights) == pytest.approx(expected, abs=1e-12)
    found = auc_interval(right, wrong)
    assert found is not None
    assert found[1] <= found[2]


def test_one_image_has_no_interval() -> None:
    assert auc_interval(np.array([1.0]), np.array([0.0])) is None
