"""Module state that is saved like buffers and that tools which rewrite all buffers leave alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dir._precision import KeepsPrecision, guarded


class PlainState(KeepsPrecision):
    """Base of modules with tensors that are saved in the state_dict but are not buffers.

    Tools treat buffers as a part of the weights: DistributedDataParallel overwrites all buffers with those of rank 0
    at each forward, and ``torch.optim.swa_utils.AveragedModel`` averages them. Bin edges and the sums of an
    unfinished epoch must not change by either. They are plain tensor attributes, named in ``plain_state``, that move
    with the module, are saved and loaded with it, and are never narrowed.

    On the meta device these tensors are buffers, because ``to_empty`` and Hugging Face's ``from_pretrained`` only
    replace parameters and buffers. They become plain tensors when they leave the meta device.
    """

    plain_state: tuple[str, ...] = ()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PlainState:
        plain = {name: self.__dict__[name] for name in self.plain_state if name in self.__dict__}
        super()._apply(fn, recurse)
        for name in self.plain_state:
            if name in plain:
                setattr(self, name, guarded(fn)(plain[name]))
            elif name in self._buffers and not getattr(self, name).is_meta:
                self.__dict__[name] = self._buffers.pop(name)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.plain_state or not isinstance(value, Tensor):
            super().__setattr__(name, value)
        elif value.is_meta:
            self.__dict__.pop(name, None)
            self._buffers[name] = value
        else:
            if name in self._buffers:
                super().__setattr__(name, value)  # gives the tensor its initial value unless it was loaded
                del self._buffers[name]
            # Detached, because transformers turns the tensors that it loads into Parameters.
            self.__dict__[name] = value.detach()

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in self.plain_state:
            if name in self.__dict__:
                destination[prefix + name] = self.__dict__[name]

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        plain = [name for name in self.plain_state if name in self.__dict__]
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        for name in plain:
            key, own = prefix + name, self.__dict__[name]
            if key in unexpected_keys:
                unexpected_keys.remove(key)
            if key not in state_dict:
                missing_keys.append(key)
            elif state_dict[key].shape != own.shape:
                error_msgs.append(
                    f"size mismatch for {key}: expected {list(own.shape)}, got {list(state_dict[key].shape)}."
                )
            else:
                with torch.no_grad():
                    own.copy_(state_dict[key])
