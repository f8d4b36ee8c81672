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
    replace parameters and buffers. They become plain tensors when the module is moved, loaded, or set to a mode:
    ``from_pretrained`` ends with ``model.eval()``.
    """

    plain_state: tuple[str, ...] = ()
    # Names of plain_state that are derived from other arguments and therefore not saved.
    derived_state: tuple[str, ...] = ()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PlainState:
        plain = {name: self.__dict__[name] for name in self.plain_state if name in self.__dict__}
        super()._apply(fn, recurse)
        for name in self.plain_state:
            if name in plain:
                old = plain[name]
                moved = guarded(fn)(old)
                # to_empty() visits a module once for each module that shares it. Later visits must not empty it.
                if moved is not old and (moved.device, moved.dtype) == (old.device, old.dtype):
                    moved = moved.detach().copy_(old)
                setattr(self, name, moved)
        self._settle()
        return self

    def train(self, mode: bool = True) -> PlainState:
        super().train(mode)
        self._settle()
        return self

    def _settle(self) -> None:
        """Turn buffers that have left the meta device into plain tensors."""
        for name in self.plain_state:
            buffer = self._buffers.get(name)
            if buffer is not None and not buffer.is_meta:
                self.__dict__[name] = self._buffers.pop(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.plain_state or not isinstance(value, Tensor):
            super().__setattr__(name, value)
        elif value.is_meta:
            self.__dict__.pop(name, None)
            self._buffers[name] = value
        elif name in self._buffers:
            loaded = self._loading or getattr(value, "_is_hf_initialized", False)
            known = self.__dict__.setdefault("_loaded_names", set())
            # transformers assigns uninitialised memory for each name of a shared module that a checkpoint lacks.
            if loaded or name not in known:
                self._buffers[name] = value.detach()
                known.update({name} if loaded else ())
                if not loaded:
                    self._initialize(name)
        else:
            # Detached, because transformers turns the tensors that it loads into Parameters.
            self.__dict__[name] = value.detach()

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in self.plain_state:
            if name in self.__dict__ and name not in self.derived_state:
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
        plain = [name for name in self.plain_state if name in self.__dict__ and name not in self.derived_state]
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        self._settle()
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
