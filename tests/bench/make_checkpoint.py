"""Write a Qwen2.5-VL checkpoint in bfloat16 with random weights: python make_checkpoint.py {mid|3b} OUT

mid  0.56 billion parameters, 24 text layers of width 896 and 12 vision layers: for speed
3b   the shapes of Qwen2.5-VL-3B-Instruct, 3.75 billion parameters: for memory and loading

The vocabulary has the published size and special tokens at their published ids. Of its other tokens only those that
the benchmarks' texts need can come out of a text; the rest are there to be predicted.
"""

import json
import sys
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from make_data import QUESTION, WORDS

sys.path.append(str(Path(__file__).resolve().parent.parent / "reference"))
from common import IMAGE_PROCESSOR, dump  # noqa: E402
from make_tiny import NOT_SPECIAL, PATTERN, SPECIAL, generation_config, write_tokenizer  # noqa: E402

EMBEDDING_ROWS = 151936
BASE_VOCABULARY = 151643

# text model, vision tower, mrope_section
SHAPES = {
    "mid": (
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
        [8, 12, 12],
    ),
    "3b": (
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
        [16, 24, 24],
    ),
}


def main(size, out):
    out.mkdir(parents=True)
    tokenizer = byte_level_bpe([QUESTION, *WORDS])
    write_tokenizer(out, tokenizer)
    dump(out / "preprocessor_config.json", IMAGE_PROCESSOR)

    torch.manual_seed(20261124)
    torch.set_default_dtype(torch.bfloat16)
    model = Qwen2_5_VLForConditionalGeneration(config(*SHAPES[size]))
    model.save_pretrained(out, max_shard_size="4GB")
    dump(out / "generation_config.json", generation_config(tokenizer))
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")


def config(text, vision, mrope_section):
    return Qwen2_5_VLConfig(
        text_config=dict(
            text,
            vocab_size=EMBEDDING_ROWS,
            rms_norm_eps=1e-6,
            max_position_embeddings=128000,
            tie_word_embeddings=True,
            rope_parameters=dict(rope_type="default", rope_theta=1e6, mrope_section=mrope_section),
            bos_token_id=151643,
            eos_token_id=151645,
        ),
        vision_config=dict(vision, tokens_per_second=2),
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
