"""Encoders of windows: their order of time, their reach, and the windows that they refuse."""

from __future__ import annotations

import pytest
import torch

from dir.models import GRUEncoder, TCNEncoder

WINDOW, COLUMNS = 24, 3


def inputs(count: int = 4) -> torch.Tensor:
    return torch.randn(count, WINDOW * COLUMNS, generator=torch.Generator().manual_seed(0))


def test_the_gru_is_the_recurrence_written_by_hand() -> None:
    torch.manual_seed(0)
    encoder = GRUEncoder(WINDOW * COLUMNS, WINDOW, hidden=5).double().eval()
    weights = dict(encoder.recurrent.named_parameters())
    state = torch.zeros(4, 5, dtype=torch.float64)
    for row in inputs().double().reshape(4, WINDOW, COLUMNS).unbind(1):
        gates = row @ weights["weight_ih_l0"].T + weights["bias_ih_l0"]
        back = state @ weights["weight_hh_l0"].T + weights["bias_hh_l0"]
        reset, update = (torch.sigmoid(gates[:, k : k + 5] + back[:, k : k + 5]) for k in (0, 5))
        state = (1 - update) * torch.tanh(gates[:, 10:] + reset * back[:, 10:]) + update * state
    torch.testing.assert_close(encoder(inputs().double()), state)
    assert encoder.num_features == 5


@pytest.mark.parametrize("window", [1, 2, 5, 24, 60])
@pytest.mark.parametrize("kernel_size", [2, 3])
def test_the_tcn_sees_the_whole_window_and_a_row_sees_no_later_row(window: int, kernel_size: int) -> None:
    torch.manual_seed(0)
    encoder = TCNEncoder(window * COLUMNS, window, channels=6, kernel_size=kernel_size).double().eval()
    # Activations that never vanish let every path through.
    rows = inputs(1).double().abs().repeat(1, 3)[:, : window * COLUMNS].requires_grad_()
    for parameter in encoder.blocks.parameters():
        parameter.data.abs_()
    encoder.blocks(rows.reshape(1, window, COLUMNS).transpose(1, 2))[:, :, -1].sum().backward()
    reached = rows.grad.reshape(window, COLUMNS).abs().sum(1) > 0
    assert bool(reached.all())
    middle = window // 2
    rows.grad = None
    encoder.blocks(rows.reshape(1, window, COLUMNS).transpose(1, 2))[:, :, middle].sum().backward()
    later = rows.grad.reshape(window, COLUMNS)[middle + 1 :]
    assert bool((later == 0).all())


@pytest.mark.parametrize("cls", [GRUEncoder, TCNEncoder])
def test_windows_that_do_not_fit_are_refused(cls: type[GRUEncoder] | type[TCNEncoder]) -> None:
    with pytest.raises(ValueError, match=r"^model\.encoder\.window: expected the rows of a window, got None"):
        cls(12, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected a divisor of the 12 columns of a sample, got 5"):
        cls(12, 5)
    with pytest.raises(ValueError, match="dropout"):
        cls(12, 4, dropout=1.0)
    assert cls(12, 4)(torch.zeros(2, 12)).shape == (2, 64)
