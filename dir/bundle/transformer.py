"""A transformer that was trained with the model: its settings as plain values, and the network without weights."""

from __future__ import annotations

from typing import Any

from dir._checks import message
from dir.bundle.fields import BundleError, Fields

MODEL_TYPES = ("albert", "bert", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta")
# Settings that decide the network. Others name code, files or kernels, or belong to heads that are not used.
SETTINGS = (
    "activation",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "classifier_dropout_prob",
    "dim",
    "dropout",
    "embedding_size",
    "hidden_act",
    "hidden_dim",
    "hidden_dropout_prob",
    "hidden_size",
    "initializer_range",
    "inner_group_num",
    "intermediate_size",
    "layer_norm_eps",
    "max_position_embeddings",
    "n_heads",
    "n_layers",
    "num_attention_heads",
    "num_hidden_groups",
    "num_hidden_layers",
    "pad_token_id",
    "relative_attention_num_buckets",
    "sinusoidal_pos_embds",
    "type_vocab_size",
    "vocab_size",
)
_MAX_LAYERS, _MAX_SIZE = 256, 10**7


def config_to_dict(config: Any) -> dict[str, Any]:
    """Return the settings of a transformers config that decide the network.

    Raises:
        BundleError: a transformer that a bundle cannot build again.
    """
    settings = config.to_dict()
    if config.model_type not in MODEL_TYPES:
        advice = f"A bundle keeps {', '.join(MODEL_TYPES)}."
        raise BundleError(
            message("data.encoder", "the transformer is of a type without bundle", config.model_type, advice)
        )
    return {"model_type": config.model_type} | {key: settings[key] for key in SETTINGS if key in settings}


def build_transformer(fields: Fields) -> Any:
    """Return a transformer with random weights from settings of a file, all of them checked."""
    kind = fields.choice("model_type", MODEL_TYPES)
    settings = {key: value for key, value in fields.values.items() if key != "model_type"}
    for key, value in settings.items():
        if key not in SETTINGS:
            raise BundleError(message(fields.name(key), "not a setting that a bundle may hold", value))
        if not (value is None or isinstance(value, bool | int | float | str)):
            raise BundleError(message(fields.name(key), "expected a number, a text or null", value))
        limit = _MAX_LAYERS if key.endswith(("layers", "groups", "group_num")) else _MAX_SIZE
        if isinstance(value, int | float) and not abs(value) <= limit:
            raise BundleError(message(fields.name(key), f"expected at most {limit}", value))
    from transformers import AutoConfig, AutoModel

    make: Any = AutoModel.from_config
    return make(AutoConfig.for_model(kind, **settings), trust_remote_code=False)
