"""MobileBERT in numpy and float64, of variables under TensorFlow's names, from the paper and the names alone."""

from typing import Any

import numpy as np

F2 = {
    "vocab_size": 23,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 10,
    "max_position_embeddings": 9,
    "type_vocab_size": 2,
    "hidden_act": "relu",
    "hidden_dropout_prob": 0.0,
    "embedding_size": 12,
    "trigram_input": True,
    "use_bottleneck": True,
    "intra_bottleneck_size": 8,
    "use_bottleneck_attention": True,
    "num_feedforward_networks": 2,
    "normalization_type": "no_norm",
    "classifier_activation": False,
}
# As Google's: embeddings narrower than the states, queries and keys from a bottleneck of their own.
F4 = {key: value for key, value in F2.items() if key != "use_bottleneck_attention"} | {
    "embedding_size": 5,
    "key_query_shared_bottleneck": True,
    "num_feedforward_networks": 4,
}

Variables = dict[str, np.ndarray]


def draw_variables(config: dict[str, Any], seed: int = 0) -> Variables:
    """Random values, of biases and norms too, of a masked LM."""
    draw = np.random.default_rng(seed)
    found: Variables = {}
    hidden, inner, wide = config["hidden_size"], config["intra_bottleneck_size"], config["intermediate_size"]

    def add(name: str, *shape: int) -> None:
        found[name] = draw.normal(scale=0.4, size=shape).astype(np.float32)

    def dense(name: str, rows: int, columns: int) -> None:
        add(f"{name}/kernel", rows, columns)
        add(f"{name}/bias", columns)

    def norm(name: str, size: int) -> None:
        add(f"{name}/beta", size)
        add(f"{name}/gamma", size)
        found[f"{name}/gamma"] += 1

    shared = bool(config.get("key_query_shared_bottleneck"))
    add("bert/embeddings/word_embeddings", config["vocab_size"], config["embedding_size"])
    add("bert/embeddings/position_embeddings", config["max_position_embeddings"], hidden)
    add("bert/embeddings/token_type_embeddings", config["type_vocab_size"], hidden)
    dense("bert/embeddings/embedding_transformation", 3 * config["embedding_size"], hidden)
    norm("bert/embeddings/FakeLayerNorm", hidden)
    for layer in range(config["num_hidden_layers"]):
        at = f"bert/encoder/layer_{layer}"
        for bottleneck in ("input", "attention") if shared else ("input",):
            dense(f"{at}/bottleneck/{bottleneck}/dense", hidden, inner)
            norm(f"{at}/bottleneck/{bottleneck}/FakeLayerNorm", inner)
        for name in ("query", "key", "value"):
            dense(f"{at}/attention/self/{name}", hidden if shared and name == "value" else inner, inner)
        dense(f"{at}/attention/output/dense", inner, inner)
        norm(f"{at}/attention/output/FakeLayerNorm", inner)
        for network in ("", *(f"ffn_layer_{k}/" for k in range(config["num_feedforward_networks"] - 1))):
            dense(f"{at}/{network}intermediate/dense", inner, wide)
            dense(f"{at}/{network}output/dense", wide, inner)
            norm(f"{at}/{network}output/FakeLayerNorm", inner)
        dense(f"{at}/output/bottleneck/dense", inner, hidden)
        norm(f"{at}/output/bottleneck/FakeLayerNorm", hidden)
    dense("cls/predictions/transform/dense", hidden, hidden)
    norm("cls/predictions/transform/LayerNorm", hidden)
    add("cls/predictions/output_bias", config["vocab_size"])
    if hidden != config["embedding_size"]:
        add("cls/predictions/extra_output_weights", config["vocab_size"], hidden - config["embedding_size"])
    return found


def beside_the_model(variables: Variables) -> Variables:
    """What a training saves besides: slots of the optimiser, its step, and a teacher of the same names."""
    found = {f"{name}/{slot}": values * 0 - 9 for name, values in variables.items() for slot in ("adam_m", "adam_v")}
    found |= {f"teacher/{name}": values * 0 + 9 for name, values in variables.items()}
    return found | {"global_step": np.array(7, np.int64)}


def forward(
    config: dict[str, Any], variables: Variables, ids: np.ndarray, mask: np.ndarray, segments: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """States (B, L, D) of the embeddings and blocks, scores (B, heads, L, L) of the blocks, and logits (B, L, V)."""
    get = {name: values.astype(np.float64) for name, values in variables.items()}

    def dense(name: str, x: np.ndarray) -> np.ndarray:
        return x @ get[f"{name}/kernel"] + get[f"{name}/bias"]

    def norm(name: str, x: np.ndarray) -> np.ndarray:  # FakeLayerNorm
        return x * get[f"{name}/gamma"] + get[f"{name}/beta"]

    batch, length = ids.shape
    heads = config["num_attention_heads"]
    words = get["bert/embeddings/word_embeddings"][ids]
    nothing = np.zeros_like(words[:, :1])
    after = np.concatenate([words[:, 1:], nothing], axis=1)
    before = np.concatenate([nothing, words[:, :-1]], axis=1)
    x = dense("bert/embeddings/embedding_transformation", np.concatenate([after, words, before], axis=2))
    x += get["bert/embeddings/position_embeddings"][:length] + get["bert/embeddings/token_type_embeddings"][segments]
    x = norm("bert/embeddings/FakeLayerNorm", x)
    states, all_scores = [x], []
    for layer in range(config["num_hidden_layers"]):
        at = f"bert/encoder/layer_{layer}"
        narrow = norm(f"{at}/bottleneck/input/FakeLayerNorm", dense(f"{at}/bottleneck/input/dense", x))
        asks, gives = narrow, narrow
        if config.get("key_query_shared_bottleneck"):
            shared = dense(f"{at}/bottleneck/attention/dense", x)
            asks, gives = norm(f"{at}/bottleneck/attention/FakeLayerNorm", shared), x
        query, key, value = (
            dense(f"{at}/attention/self/{name}", tensor).reshape(batch, length, heads, -1).transpose(0, 2, 1, 3)
            for name, tensor in (("query", asks), ("key", asks), ("value", gives))
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.sqrt(query.shape[-1])
        all_scores.append(scores)
        powers = np.exp(scores - scores.max(-1, keepdims=True)) * mask[:, None, None, :]
        context = (powers / powers.sum(-1, keepdims=True) @ value).transpose(0, 2, 1, 3).reshape(batch, length, -1)
        y = norm(f"{at}/attention/output/FakeLayerNorm", dense(f"{at}/attention/output/dense", context) + narrow)
        for network in (*(f"ffn_layer_{k}/" for k in range(config["num_feedforward_networks"] - 1)), ""):
            inner = np.maximum(dense(f"{at}/{network}intermediate/dense", y), 0)
            y = norm(f"{at}/{network}output/FakeLayerNorm", dense(f"{at}/{network}output/dense", inner) + y)
        x = norm(f"{at}/output/bottleneck/FakeLayerNorm", dense(f"{at}/output/bottleneck/dense", y) + x)
        states.append(x)
    t = np.maximum(dense("cls/predictions/transform/dense", x), 0)
    t = (t - t.mean(-1, keepdims=True)) / np.sqrt(t.var(-1, keepdims=True) + 1e-12)
    t = norm("cls/predictions/transform/LayerNorm", t)
    output = get["bert/embeddings/word_embeddings"]
    if "cls/predictions/extra_output_weights" in get:
        output = np.concatenate([output, get["cls/predictions/extra_output_weights"]], axis=1)
    return states, all_scores, t @ output.T + get["cls/predictions/output_bias"]
