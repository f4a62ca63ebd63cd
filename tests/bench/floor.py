"""How much arithmetic a training with LoRA cannot do without."""

import json


def linears(checkpoint):
    """The frozen weights of one text layer, each as `OUTxIN`."""
    config = text_config(checkpoint)
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    keys = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes = [(hidden, hidden), (keys, hidden), (keys, hidden), (hidden, hidden)]
    shapes += [(inner, hidden), (inner, hidden), (hidden, inner)]
    return [f"{out}x{into}" for out, into in shapes]


def flop_a_token(checkpoint, rank, learned):
    """4 FLOP for every frozen weight (y = x wᵀ, dx = dy w), 6 for one of LoRA, which has a gradient as well, and 4 for
    one of the head where the token is learned. No recomputation, no attention, no pictures.

    `learned` is the share of tokens that are."""
    config = text_config(checkpoint)
    shapes = [tuple(map(int, shape.split("x"))) for shape in linears(checkpoint)]
    frozen = sum(out * into for out, into in shapes)
    lora = sum(rank * (out + into) for out, into in shapes)
    head = config["vocab_size"] * config["hidden_size"]
    return config["num_hidden_layers"] * (4 * frozen + 6 * lora) + 4 * head * learned


def text_config(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    return config.get("text_config", config)
