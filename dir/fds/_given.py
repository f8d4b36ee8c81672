"""Labels that a training loop gives to an FDS inside a model: the context ``with fds.labels(y): model(x)``."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import cast

from torch import Tensor, nn

from dir._checks import message

# Each thread has its own open contexts. The variable is global, because torch.compile takes the shapes of tensors
# that are attributes of a module for constants and would compile again for each batch size.
_OPEN = threading.local()


class GivenLabels:
    """Context in which an attached FDS uses the labels; made by :meth:`dir.fds.FDS.labels`.

    Contexts nest, the innermost one of an FDS counts, and an exception closes them. Each thread has its own.

    Raises:
        RuntimeError: at the end of the context, if no layer with the FDS ran in training mode.
    """

    def __init__(self, fds: nn.Module, labels: Tensor | None, mask: Tensor | None) -> None:
        if labels is not None and not isinstance(labels, Tensor):
            advice = "Convert them with torch.as_tensor()."
            raise TypeError(message("labels", "expected a tensor, or None", type(labels).__name__, advice))
        self.fds = fds
        self.values = labels
        self.mask = mask
        self.used = False

    def __enter__(self) -> None:
        _open_contexts().append(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        contexts = _open_contexts()
        for position in reversed(range(len(contexts))):
            if contexts[position] is self:
                del contexts[position]
                break
        if kind is None and self.values is not None and not self.used and self.fds.training:
            raise RuntimeError(
                "fds.labels: no layer used the labels. Call a model that holds this FDS inside the context (a copy "
                "of the model holds a copy of the FDS), and call attach_fds() before torch.compile()."
            )


def given_to(fds: nn.Module) -> GivenLabels | None:
    """Return the innermost open context of an FDS in this thread, or None."""
    for context in reversed(_open_contexts()):
        if context.fds is fds:
            return context
    return None


def _open_contexts() -> list[GivenLabels]:
    if not hasattr(_OPEN, "contexts"):
        _OPEN.contexts = []
    return cast("list[GivenLabels]", _OPEN.contexts)
