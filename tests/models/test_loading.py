"""How torch is let compute."""

import pytest
import torch

from vsd_utils.models.loading import set_up_torch


@pytest.fixture(autouse=True)
def _as_before():
    threads = torch.get_num_threads()
    yield
    set_up_torch(threads, None)


def test_a_lower_precision_multiplies_the_same_numbers() -> None:
    torch.manual_seed(0)
    rows, weights = torch.randn(270, 576), torch.randn(1536, 576)
    exact = rows.double() @ weights.double().T
    for precision, at_most in (("highest", 1e-5), ("medium", 2**-8)):  # bfloat16 has eight bits
        set_up_torch(1, precision)
        assert torch.get_float32_matmul_precision() == precision
        found = torch.nn.functional.linear(rows, weights)
        assert found.dtype == torch.float32
        assert (found - exact).norm() / exact.norm() < at_most


def test_left_to_itself_torch_keeps_its_threads_and_multiplies_exactly() -> None:
    set_up_torch(1, "medium")
    set_up_torch(None, None)
    assert torch.get_num_threads() == 1
    assert torch.get_float32_matmul_precision() == "highest"
