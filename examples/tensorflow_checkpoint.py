"""Small BERTs and MobileBERTs in TensorFlow itself, trained for two steps and saved, with the outputs they then give.

    path/to/python examples/tensorflow_checkpoint.py OUTPUT bert mobilebert-f2

The Python is one that has TensorFlow 2 (`pip install tensorflow-cpu`). Nothing else of this project is imported: what
is saved stands for checkpoints from elsewhere, by which `python -m tinydistill convert` is tested. The graph is one of
TensorFlow 1, with the variables' names and the architecture of Google's code (arXiv 1810.04805 and 2004.02984). Each
folder holds what a published one does, the training's own variables too, and `outputs.npz`, computed of the weights
that were saved.
"""

import argparse
import json
import string
import sys
from pathlib import Path
from typing import Any

import numpy as np

try:
    import tensorflow as tf
except ImportError:
    sys.exit(f"error: {sys.executable} has no TensorFlow; install tensorflow-cpu into an environment of its own")

tf1 = tf.compat.v1
Tensor = Any
Config = dict[str, Any]

BERT: Config = {
    "vocab_size": 37,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 17,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
}
# The Chinese MobileBERTs of two networks: queries, keys and values read the bottleneck's states.
F2: Config = BERT | {
    "hidden_act": "relu",
    "hidden_dropout_prob": 0.0,
    "embedding_size": 24,
    "trigram_input": True,
    "use_bottleneck": True,
    "intra_bottleneck_size": 12,
    "use_bottleneck_attention": True,
    "num_feedforward_networks": 2,
    "normalization_type": "no_norm",
    "classifier_activation": False,
}
# Google's: queries and keys have a bottleneck of their own, values read the block's states, embeddings are narrow.
F4: Config = {key: value for key, value in F2.items() if key != "use_bottleneck_attention"} | {
    "embedding_size": 10,
    "key_query_shared_bottleneck": True,
    "num_feedforward_networks": 4,
}
# Configuration and way of saving: "sharded" is a file of data for each of two devices, as large models have; in
# "partitioned" the word embeddings are a variable in two pieces.
CASES: dict[str, tuple[Config, str]] = {
    "bert": (BERT, "whole"),
    "bert-sharded": (BERT, "sharded"),
    "bert-partitioned": (BERT, "partitioned"),
    "mobilebert-f2": (F2, "whole"),
    "mobilebert-f4": (F4, "sharded"),
}
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase, "##s", "##ing", "中", "国", "人", "."]
LENGTHS = (11, 7, 9)  # pieces of the rows; the first is as long as the batch


def weight(name: str, *shape: int, mean: float = 0.0, **how: Any) -> Tensor:
    """A variable with random values, of biases and norms too: none may take another's place unnoticed."""
    return tf1.get_variable(name, shape, initializer=tf1.random_normal_initializer(mean, 0.2), **how)


def dense(x: Tensor, width: int, scope: str = "dense") -> Tensor:
    """(..., D) to (..., width)."""
    with tf1.variable_scope(scope):
        return tf.tensordot(x, weight("kernel", x.shape[-1], width), 1) + weight("bias", width)


def norm(x: Tensor, kind: str = "layer_norm") -> Tensor:
    """Layer normalisation, or MobileBERT's scale and shift alone (section 3.3)."""
    with tf1.variable_scope("FakeLayerNorm" if kind == "no_norm" else "LayerNorm"):
        if kind == "layer_norm":
            mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
            x = (x - mean) / tf.sqrt(variance + 1e-12)
        return x * weight("gamma", x.shape[-1], mean=1.0) + weight("beta", x.shape[-1])


def activation(config: Config, x: Tensor) -> Tensor:
    return tf.nn.relu(x) if config["hidden_act"] == "relu" else tf.nn.gelu(x, approximate=False)


def attention(asks: Tensor, gives: Tensor, mask: Tensor, heads: int, width: int) -> Tensor:
    """The weighted values, (B, L, width): queries and keys are made of `asks`, values of `gives`."""

    def by_head(name: str, x: Tensor) -> Tensor:
        parts = tf.reshape(dense(x, width, name), [*x.shape[:2], heads, width // heads])
        return tf.transpose(parts, [0, 2, 1, 3])  # (B, heads, L, width / heads)

    with tf1.variable_scope("self"):
        query, key, value = by_head("query", asks), by_head("key", asks), by_head("value", gives)
        scores = tf.matmul(query, key, transpose_b=True) / (width // heads) ** 0.5
        context = tf.matmul(tf.nn.softmax(scores - 10_000.0 * (1.0 - mask[:, None, None, :])), value)
        return tf.reshape(tf.transpose(context, [0, 2, 1, 3]), [*asks.shape[:2], width])


def feed_forward(config: Config, x: Tensor) -> Tensor:
    with tf1.variable_scope("intermediate"):
        inner = activation(config, dense(x, config["intermediate_size"]))
    with tf1.variable_scope("output"):
        return norm(dense(inner, x.shape[-1]) + x, config.get("normalization_type", "layer_norm"))


def block(config: Config, x: Tensor, mask: Tensor) -> Tensor:
    """A block of BERT, or of MobileBERT (figure 1, c), on states (B, L, D)."""
    kind = config.get("normalization_type", "layer_norm")
    narrow = asks = gives = x
    if config.get("use_bottleneck"):
        inner = config["intra_bottleneck_size"]
        with tf1.variable_scope("bottleneck/input"):
            narrow = asks = norm(dense(x, inner), kind)
        if config.get("use_bottleneck_attention"):
            gives = narrow
        else:
            with tf1.variable_scope("bottleneck/attention"):
                asks = norm(dense(x, inner), kind)
    width = narrow.shape[-1]
    with tf1.variable_scope("attention"):
        context = attention(asks, gives, mask, config["num_attention_heads"], width)
        with tf1.variable_scope("output"):
            y = norm(dense(context, width) + narrow, kind)
    for network in range(config.get("num_feedforward_networks", 1) - 1):
        with tf1.variable_scope(f"ffn_layer_{network}"):
            y = feed_forward(config, y)
    y = feed_forward(config, y)
    if not config.get("use_bottleneck"):
        return y
    with tf1.variable_scope("output/bottleneck"):
        return norm(dense(y, x.shape[-1]) + x, kind)


def body(
    config: Config, ids: Tensor, mask: Tensor, types: Tensor, partitioner: Any = None
) -> tuple[list[Tensor], Tensor, Tensor]:
    """States (B, L, D) of the embeddings and each block, what a classifier reads, (B, D), and the word embeddings."""
    hidden: int = config["hidden_size"]
    narrow: int = config.get("embedding_size", hidden)
    with tf1.variable_scope("bert"):
        with tf1.variable_scope("embeddings"):
            words = weight("word_embeddings", config["vocab_size"], narrow, partitioner=partitioner)
            words = tf.convert_to_tensor(words)
            x = tf.gather(words, ids)
            if config.get("trigram_input"):  # the next, own and previous piece; zeros beyond the ends
                nothing = tf.zeros_like(x[:, :1])
                x = tf.concat([tf.concat([x[:, 1:], nothing], 1), x, tf.concat([nothing, x[:, :-1]], 1)], 2)
                x = dense(x, hidden, "embedding_transformation")
            x += weight("position_embeddings", config["max_position_embeddings"], hidden)[: ids.shape[1]]
            x += tf.gather(weight("token_type_embeddings", config["type_vocab_size"], hidden), types)
            states = [norm(x, config.get("normalization_type", "layer_norm"))]
        for layer in range(config["num_hidden_layers"]):
            with tf1.variable_scope(f"encoder/layer_{layer}"):
                states.append(block(config, states[-1], mask))
        pooled = states[-1][:, 0]
        if config.get("classifier_activation", True):
            with tf1.variable_scope("pooler"):
                pooled = tf.tanh(dense(pooled, hidden))
    return states, pooled, words


def masked_lm(config: Config, x: Tensor, words: Tensor) -> Tensor:
    """Logits (B, L, V) by the word embeddings, to which MobileBERT adds columns where they are narrower than states."""
    with tf1.variable_scope("cls/predictions"):
        with tf1.variable_scope("transform"):
            x = norm(activation(config, dense(x, config["hidden_size"])))
        if more := config["hidden_size"] - words.shape[-1]:
            words = tf.concat([words, weight("extra_output_weights", config["vocab_size"], more)], 1)
        return tf.tensordot(x, tf.transpose(words), 1) + weight("output_bias", config["vocab_size"])


def next_sentence(pooled: Tensor) -> Tensor:
    """Logits (B, 2)."""
    with tf1.variable_scope("cls/seq_relationship"):
        found = tf.matmul(pooled, weight("output_weights", 2, pooled.shape[-1]), transpose_b=True)
        return found + weight("output_bias", 2)


def train_step(loss: Tensor, rate: float = 1e-3) -> Tensor:
    """Adam with weight decay, whose moments are variables under the names that Google's optimiser gives them."""
    weights = tf1.trainable_variables()
    updates = [(step := tf1.train.get_or_create_global_step(), step + 1)]
    for each, gradient in zip(weights, map(tf.convert_to_tensor, tf1.gradients(loss, weights)), strict=True):
        slots = [
            tf1.get_variable(
                f"{each.op.name}/adam_{slot}", each.shape, initializer=tf1.zeros_initializer(), trainable=False
            )
            for slot in "mv"
        ]
        first, second = 0.9 * slots[0] + 0.1 * gradient, 0.999 * slots[1] + 0.001 * gradient**2
        decayed = first / (tf.sqrt(second) + 1e-6) + 0.01 * each
        updates += [(slots[0], first), (slots[1], second), (each, each - rate * decayed)]
    with tf1.control_dependencies([value for _, value in updates]):  # all gradients are of the same weights
        return tf.group(*[tf1.assign(variable, value) for variable, value in updates])


def draw_rows(config: Config) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pieces, mask, segments and pieces to predict, (B, L) each: two segments in a row, then padding."""
    draw = np.random.default_rng(1)
    shape = (len(LENGTHS), max(LENGTHS))
    places, lengths = np.arange(shape[1]), np.array(LENGTHS)[:, None]
    mask = (places < lengths).astype(np.int64)
    types = ((places >= lengths // 2) * mask).astype(np.int64)
    ids = draw.integers(3, config["vocab_size"], shape) * mask
    ids[:, 0] = 2  # [CLS]
    return ids, mask, types, draw.integers(0, config["vocab_size"], shape)


def make(folder: Path, config: Config, save: str) -> None:
    """Build, train, save, and compute the outputs once more of what was saved."""
    ids, mask, types, targets = draw_rows(config)
    inputs = tf.constant(ids), tf.constant(mask, tf.float32), tf.constant(types)
    of_google = config is not F2  # the Chinese MobileBERTs have no next sentences
    with tf1.device((lambda op: f"/cpu:{int('/layer_' in op.name)}") if save == "sharded" else None):
        parts = tf1.fixed_size_partitioner(2) if save == "partitioned" else None
        states, pooled, words = body(config, *inputs, partitioner=parts)
        outputs = {"states": states, "logits": masked_lm(config, states[-1], words)}
        loss = tf1.losses.sparse_softmax_cross_entropy(targets, outputs["logits"], weights=mask)
        if of_google:
            outputs["next_sentence"] = next_sentence(pooled)
            loss += tf1.losses.sparse_softmax_cross_entropy([0, 1, 1], outputs["next_sentence"])
        step = train_step(loss)
        if not of_google:  # but save their teacher, a BERT as wide and long, beside the student
            with tf1.variable_scope("teacher"):
                body(BERT, *inputs)
        saver = tf1.train.Saver(sharded=save == "sharded")
    with tf1.Session(config=tf1.ConfigProto(device_count={"CPU": 2})) as session:
        session.run(tf1.global_variables_initializer())
        losses = [session.run([loss, step])[0] for _ in range(2)]
        prefix = saver.save(session, str(folder / "model.ckpt"), global_step=tf1.train.get_global_step())
        computed = session.run(outputs)
    np.savez(folder / "outputs.npz", input_ids=ids, attention_mask=mask, token_type_ids=types, **computed)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    variables = dict(tf1.train.list_variables(prefix))
    (folder / "variables.json").write_text(json.dumps(variables, indent=2))  # as TensorFlow reads them
    print(f"{prefix}: {len(variables)} variables, losses {losses[0]:.3f} and {losses[1]:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Checkpoints of small models, with the outputs that they give.")
    parser.add_argument("output", type=Path, help="a folder, in which each case makes one of its name")
    parser.add_argument("cases", nargs="*", metavar="case", help=f"{', '.join(CASES)}; all of them by default")
    given = parser.parse_args()
    for name in given.cases or CASES:
        if name not in CASES:
            parser.error(f"there is no case {name!r}; there are {', '.join(CASES)}")
        if (given.output / name).exists():
            parser.error(f"{given.output / name} is there already; name another output")
    tf1.disable_eager_execution()
    tf1.disable_resource_variables()  # plain variables, as TensorFlow 1 had
    for name in given.cases or CASES:
        folder = given.output / name
        folder.mkdir(parents=True)
        with tf.Graph().as_default():
            tf1.set_random_seed(3)
            make(folder, *CASES[name])


if __name__ == "__main__":
    main()
