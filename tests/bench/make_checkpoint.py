"""Write a checkpoint in bfloat16 with random weights: python make_checkpoint.py SIZE OUT

mid          Qwen2.5-VL with 0.56 billion parameters, 24 text layers of width 896 and 12 vision layers: for speed
3b           the shapes of Qwen2.5-VL-3B-Instruct, 3.75 billion parameters: for memory and loading
qwen2-vl-2b  those of Qwen2-VL-2B-Instruct, 2.21 billion parameters
qwen3-vl-2b  those of Qwen3-VL-2B-Instruct, 2.13 billion parameters

The vocabulary has the published size and special tokens at their published ids. Of its other tokens only those that
the benchmarks' texts need can come out of a text; the rest are there to be predicted.
"""

import json
import sys
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from make_data import QUESTION, WORDS

sys.path.append(str(Path(__file__).resolve().parent.parent / "reference"))
from common import FAMILIES, dump  # noqa: E402
from make_tiny import NOT_SPECIAL, PATTERN, SPECIAL, generation_config, write_tokenizer  # noqa: E402

EMBEDDING_ROWS = 151936
BASE_VOCABULARY = 151643

# family, text model, vision tower, RoPE
ROPE = dict(rope_type="default", rope_theta=1e6, mrope_section=[16, 24, 24])
SHAPES = {
    "mid": (
        "qwen2.5-vl",
        dict(
            hidden_size=896,
            num_hidden_layers=24,
            num_attention_heads=14,
            num_key_value_heads=2,
            intermediate_size=4864,
        ),
        dict(
            depth=12,
            hidden_size=640,
            num_heads=8,
            intermediate_size=1712,
            out_hidden_size=896,
            fullatt_block_indexes=[5, 11],
        ),
        ROPE | dict(mrope_section=[8, 12, 12]),
    ),
    "3b": (
        "qwen2.5-vl",
        dict(
            hidden_size=2048,
            num_hidden_layers=36,
            num_attention_heads=16,
            num_key_value_heads=2,
            intermediate_size=11008,
        ),
        dict(
            depth=32,
            hidden_size=1280,
            num_heads=16,
            intermediate_size=3420,
            out_hidden_size=2048,
            fullatt_block_indexes=[7, 15, 23, 31],
        ),
        ROPE,
    ),
    "qwen2-vl-2b": (
        "qwen2-vl",
        dict(
            hidden_size=1536,
            num_hidden_layers=28,
            num_attention_heads=12,
            num_key_value_heads=2,
            intermediate_size=8960,
        ),
        dict(depth=32, embed_dim=1280, mlp_ratio=4, num_heads=16, hidden_size=1536),
        ROPE,
    ),
    "qwen3-vl-2b": (
        "qwen3-vl",
        dict(
            hidden_size=2048,
            num_hidden_layers=28,
            num_attention_heads=16,
            num_key_value_heads=8,
            head_dim=128,
            intermediate_size=6144,
        ),
        dict(
            depth=24,
            hidden_size=1024,
            num_heads=16,
            intermediate_size=4096,
            out_hidden_size=2048,
            deepstack_visual_indexes=[5, 11, 17],
        ),
        ROPE | dict(rope_theta=5e6, mrope_section=[24, 20, 20], mrope_interleaved=True),
    ),
}


def main(size, out):
    out.mkdir(parents=True)
    tokenizer = byte_level_bpe([QUESTION, *WORDS])
    write_tokenizer(out, tokenizer)
    family, *shape = SHAPES[size]
    family = next(known for known in FAMILIES if known.name == family)
    dump(out / "preprocessor_config.json", family.image_processor)

    torch.manual_seed(20261124)
    torch.set_default_dtype(torch.bfloat16)
    model = family.cls("ForConditionalGeneration")(config(family, *shape))
    model.save_pretrained(out, max_shard_size="4GB")
    dump(out / "generation_config.json", generation_config(tokenizer))
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")


def config(family, text, vision, rope):
    return family.cls("Config")(
        text_config=dict(
            text,
            vocab_size=EMBEDDING_ROWS,
            rms_norm_eps=1e-6,
            max_position_embeddings=128000,
            tie_word_embeddings=True,
            rope_parameters=rope,
            bos_token_id=151643,
            eos_token_id=151645,
        ),
        vision_config=vision,
        tie_word_embeddings=True,
    )


def byte_level_bpe(texts):
    """Every word of `texts`, with or without a space before it, is a token; other words fall apart into bytes."""
    pieces = dict(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PATTERN), "isolated"), pre_tokenizers.ByteLevel(**pieces)]
    )
    tokenizer.post_processor = processors.ByteLevel(**pieces)
    tokenizer.decoder = decoders.ByteLevel(**pieces)
    system = ["system\nYou are a helpful assistant.", "user\n", "assistant\n"]
    trainer = trainers.BpeTrainer(
        vocab_size=BASE_VOCABULARY,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    tokenizer.train_from_iterator([form for text in texts + system for form in (text, " " + text)], trainer)

    learned = json.loads(tokenizer.to_str())["model"]
    vocabulary = learned["vocab"]
    for token_id in range(len(vocabulary), BASE_VOCABULARY):
        vocabulary[f"<{token_id}>"] = token_id
    tokenizer.model = models.BPE(vocab=vocabulary, merges=[tuple(pair) for pair in learned["merges"]])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=False) for t in NOT_SPECIAL])
    for token, published in ("<|endoftext|>", 151643), ("<|im_end|>", 151645), ("<|image_pad|>", 151655):
        assert tokenizer.token_to_id(token) == published, (token, tokenizer.token_to_id(token))
    return tokenizer


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
