"""Write two small random checkpoints of a family for the parity tests.

fixtures/tiny         the layout in which the models are published: flat config.json, `visual.*`/`model.*` names,
                      two shards with an index, tied head
fixtures/tiny-nested  the layout that transformers 5 saves: nested config.json, `model.visual.*`/
                      `model.language_model.*` names, processor_config.json, one file, a head of its own

Both share one byte-level BPE tokenizer in Qwen2's form, trained on the text that `corpus` writes, with the added tokens
that the family has.

The shapes are such that no two sizes which a reader could take for one another are equal: in Qwen2-VL the width of the
vision tower (`embed_dim`) and that of what it gives (`hidden_size`), and an `mlp_ratio` that is not the default. In
Qwen3-VL the heads together are wider than the hidden states, and the table of positions has 5 x 5 (3 x 3) entries,
which no grid of a picture has; its image processor has other limits than the published one, so that pictures stay small.
"""

import json
import shutil
from itertools import product

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoProcessor

from common import FAMILY, dump, of_family

BASE_VOCABULARY = 1200
EMBEDDING_ROWS = 1280  # more rows than tokens, as in the published models
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = [
    f"<|{name}|>"
    for name in (
        "endoftext im_start im_end object_ref_start object_ref_end box_start box_end quad_start quad_end "
        "vision_start vision_end vision_pad image_pad video_pad"
    ).split()
]
NOT_SPECIAL = ["<tool_call>", "</tool_call>"] + [
    f"<|{name}|>" for name in "fim_prefix fim_middle fim_suffix fim_pad repo_name file_sep".split()
]
CHAT_TEMPLATE = """
{%- if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['content'] is string %}{{ message['content'] }}
{%- else %}
{%- for part in message['content'] %}
{%- if part['type'] == 'image' %}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- elif part['type'] == 'video' %}{{ '<|vision_start|><|video_pad|><|vision_end|>' }}
{%- else %}{{ part['text'] }}{% endif %}
{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}""".lstrip("\n")

NESTED_TEXT = dict(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, intermediate_size=80
)
FAMILIES = {
    "qwen2.5-vl": dict(
        text=dict(
            hidden_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, intermediate_size=160
        ),
        vision=dict(
            depth=4, hidden_size=48, num_heads=2, intermediate_size=100, out_hidden_size=64,
            fullatt_block_indexes=[1, 3],
        ),
        nested_text=NESTED_TEXT,
        nested_vision=dict(
            depth=2, hidden_size=32, num_heads=2, intermediate_size=64, out_hidden_size=32, fullatt_block_indexes=[1]
        ),
        rope={"rope_theta": 1e6, "mrope_section": [2, 3, 3]},
        not_special=NOT_SPECIAL,
        seeds=(20261128, 20261134),
    ),
    "qwen2-vl": dict(
        text=dict(
            hidden_size=48, num_hidden_layers=3, num_attention_heads=3, num_key_value_heads=1, intermediate_size=112
        ),
        vision=dict(depth=3, embed_dim=32, num_heads=2, mlp_ratio=3, hidden_size=48),
        nested_text=NESTED_TEXT,
        nested_vision=dict(depth=2, embed_dim=24, num_heads=2, mlp_ratio=2, hidden_size=32),
        rope={"rope_theta": 1e6, "mrope_section": [2, 3, 3]},
        not_special=[],
        seeds=(20261194, 20261133),
    ),
    "qwen3-vl": dict(
        text=dict(
            hidden_size=48, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
            intermediate_size=112,
        ),
        vision=dict(
            depth=5, hidden_size=32, num_heads=2, intermediate_size=72, out_hidden_size=48, num_position_embeddings=25,
            deepstack_visual_indexes=[0, 2, 3],
        ),
        nested_text=dict(
            hidden_size=32, num_hidden_layers=3, num_attention_heads=3, num_key_value_heads=1, head_dim=16,
            intermediate_size=80,
        ),
        nested_vision=dict(
            depth=3, hidden_size=24, num_heads=2, intermediate_size=40, out_hidden_size=32, num_position_embeddings=9,
            deepstack_visual_indexes=[1],
        ),
        rope={"rope_theta": 5e6, "mrope_section": [4, 2, 2], "mrope_interleaved": True},
        not_special=NOT_SPECIAL + ["<tool_response>", "</tool_response>", "<think>", "</think>"],
        processor={"size": {"longest_edge": 12288, "shortest_edge": 3072}},
        seeds=(20261176, 20261140),
    ),
}  # fmt: skip
SHAPES = FAMILIES[FAMILY.name]
IMAGE_PROCESSOR = FAMILY.image_processor | SHAPES.get("processor", {})


def main():
    tokenizer = train_tokenizer()
    write_published(of_family("tiny"), tokenizer)
    write_nested(of_family("tiny-nested"), tokenizer)


def write_published(out, tokenizer):
    fresh(out)
    write_tokenizer(out, tokenizer)
    config = model_config(SHAPES["text"], SHAPES["vision"], tokenizer, tied=True)
    model = random_model(config, SHAPES["seeds"][0])
    tensors = {
        published_name(name): p.detach().clone() for name, p in model.named_parameters() if name != "lm_head.weight"
    }
    write_shards(out, tensors)
    dump(out / "config.json", hub_nested(config) if FAMILY.name == "qwen3-vl" else flat_config(config))
    dump(out / "generation_config.json", generation_config(tokenizer))
    dump(out / "preprocessor_config.json", IMAGE_PROCESSOR)
    loaded, report = FAMILY.load(out, dtype="auto", output_loading_info=True)
    check_loaded(model, loaded, report)
    AutoProcessor.from_pretrained(out)
    say(out, model)


def write_nested(out, tokenizer):
    fresh(out)
    write_tokenizer(out, tokenizer)
    dump(out / "preprocessor_config.json", IMAGE_PROCESSOR)
    config = model_config(SHAPES["nested_text"], SHAPES["nested_vision"], tokenizer, tied=False)
    config.save_pretrained(out)  # which says what processor of videos there is
    processor = AutoProcessor.from_pretrained(out)
    model = random_model(config, SHAPES["seeds"][1])
    processor.save_pretrained(out)
    (out / "preprocessor_config.json").unlink()
    model.save_pretrained(out, save_original_format=False)  # by default it would write the published names again
    dump(out / "generation_config.json", generation_config(tokenizer))
    loaded, report = FAMILY.load(out, dtype="auto", output_loading_info=True)
    check_loaded(model, loaded, report)
    AutoProcessor.from_pretrained(out)
    say(out, model)


def random_model(config, seed):
    """Weights with which every part of the model shows in the logits: unit gain in the linears, norms away from 1,
    biases away from 0."""
    torch.manual_seed(seed)
    model = FAMILY.cls("ForConditionalGeneration")(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim == 1 and name.endswith("bias"):
                p.copy_(torch.randn_like(p) * 0.1)
            elif p.ndim == 1:
                p.copy_(1 + torch.randn_like(p) * 0.2)
            elif "pos_embed" in name:
                p.copy_(torch.randn_like(p) * 0.5)
            elif "embed_tokens" in name or "lm_head" in name:
                p.copy_(torch.randn_like(p) * 0.15)  # small, so that the tied head does not just repeat its input
            else:
                p.copy_(torch.randn_like(p) * p[0].numel() ** -0.5)
    return model.eval()


def model_config(text, vision, tokenizer, tied):
    head_dim = text.get("head_dim", text["hidden_size"] // text["num_attention_heads"])
    assert head_dim == 2 * sum(SHAPES["rope"]["mrope_section"])
    special = dict(
        bos_token_id=tokenizer.token_to_id("<|endoftext|>"), eos_token_id=tokenizer.token_to_id("<|im_end|>")
    )
    windows = dict(max_window_layers=text["num_hidden_layers"]) if "head_dim" not in text else {}
    of_windows = dict(tokens_per_second=2) if "fullatt_block_indexes" in vision else {}
    return FAMILY.cls("Config")(
        text_config=dict(
            text,
            vocab_size=EMBEDDING_ROWS,
            max_position_embeddings=4096,
            **windows,
            rms_norm_eps=1e-6,
            tie_word_embeddings=tied,
            rope_parameters={"rope_type": "default", **SHAPES["rope"]},
            **special,
        ),
        vision_config=vision | of_windows,
        tie_word_embeddings=tied,
        image_token_id=tokenizer.token_to_id("<|image_pad|>"),
        video_token_id=tokenizer.token_to_id("<|video_pad|>"),
        vision_start_token_id=tokenizer.token_to_id("<|vision_start|>"),
        vision_end_token_id=tokenizer.token_to_id("<|vision_end|>"),
        **special,
    )


def flat_config(config):
    """config.json as the hub publishes Qwen2-VL and Qwen2.5-VL: the text model's fields at the top."""
    text, vision = config.text_config, config.vision_config
    return {
        "architectures": [FAMILY.classes + "ForConditionalGeneration"],
        "attention_dropout": 0.0,
        "bos_token_id": text.bos_token_id,
        "eos_token_id": text.eos_token_id,
        "vision_start_token_id": config.vision_start_token_id,
        "vision_end_token_id": config.vision_end_token_id,
        "vision_token_id": config.vision_end_token_id + 1,
        "image_token_id": config.image_token_id,
        "video_token_id": config.video_token_id,
        "hidden_act": "silu",
        "hidden_size": text.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": text.intermediate_size,
        "max_position_embeddings": text.max_position_embeddings,
        "max_window_layers": text.max_window_layers,
        "model_type": FAMILY.model_type,
        "num_attention_heads": text.num_attention_heads,
        "num_hidden_layers": text.num_hidden_layers,
        "num_key_value_heads": text.num_key_value_heads,
        "rms_norm_eps": text.rms_norm_eps,
        "rope_theta": 1000000.0,
        "sliding_window": 32768,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "transformers_version": "4.41.2",
        "use_cache": True,
        "use_sliding_window": False,
        "vision_config": flat_vision(vision),
        "rope_scaling": {"type": "mrope", "mrope_section": SHAPES["rope"]["mrope_section"]},
        "vocab_size": text.vocab_size,
    }


def flat_vision(vision):
    if FAMILY.name == "qwen2-vl":
        return {
            "depth": vision.depth,
            "embed_dim": vision.embed_dim,
            "mlp_ratio": vision.mlp_ratio,
            "num_heads": vision.num_heads,
            "in_chans": 3,
            "hidden_size": vision.hidden_size,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "spatial_patch_size": 14,
            "temporal_patch_size": 2,
        }
    return {
        "depth": vision.depth,
        "hidden_act": "silu",
        "hidden_size": vision.hidden_size,
        "intermediate_size": vision.intermediate_size,
        "num_heads": vision.num_heads,
        "in_chans": 3,
        "out_hidden_size": vision.out_hidden_size,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "spatial_patch_size": 14,
        "window_size": 112,
        "fullatt_block_indexes": vision.fullatt_block_indexes,
        "tokens_per_second": 2,
        "temporal_patch_size": 2,
    }


def hub_nested(config):
    """config.json as the hub publishes Qwen3-VL."""
    text, vision = config.text_config, config.vision_config
    return {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "image_token_id": config.image_token_id,
        "model_type": "qwen3_vl",
        "text_config": {
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": text.bos_token_id,
            "dtype": "float32",
            "eos_token_id": text.eos_token_id,
            "head_dim": text.head_dim,
            "hidden_act": "silu",
            "hidden_size": text.hidden_size,
            "initializer_range": 0.02,
            "intermediate_size": text.intermediate_size,
            "max_position_embeddings": text.max_position_embeddings,
            "model_type": "qwen3_vl_text",
            "num_attention_heads": text.num_attention_heads,
            "num_hidden_layers": text.num_hidden_layers,
            "num_key_value_heads": text.num_key_value_heads,
            "rms_norm_eps": text.rms_norm_eps,
            "rope_scaling": {
                "mrope_interleaved": True,
                "mrope_section": SHAPES["rope"]["mrope_section"],
                "rope_type": "default",
            },
            "rope_theta": int(SHAPES["rope"]["rope_theta"]),
            "tie_word_embeddings": True,
            "use_cache": True,
            "vocab_size": text.vocab_size,
        },
        "tie_word_embeddings": True,
        "transformers_version": "4.57.0.dev0",
        "video_token_id": config.video_token_id,
        "vision_config": {
            "deepstack_visual_indexes": vision.deepstack_visual_indexes,
            "depth": vision.depth,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": vision.hidden_size,
            "in_channels": 3,
            "initializer_range": 0.02,
            "intermediate_size": vision.intermediate_size,
            "model_type": "qwen3_vl",
            "num_heads": vision.num_heads,
            "num_position_embeddings": vision.num_position_embeddings,
            "out_hidden_size": vision.out_hidden_size,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        "vision_end_token_id": config.vision_end_token_id,
        "vision_start_token_id": config.vision_start_token_id,
    }


def generation_config(tokenizer):
    if FAMILY.name == "qwen3-vl":
        im_end, endoftext = (tokenizer.token_to_id(t) for t in ("<|im_end|>", "<|endoftext|>"))
        return {
            "bos_token_id": endoftext,
            "pad_token_id": endoftext,
            "do_sample": True,
            "eos_token_id": [im_end, endoftext],
            "top_p": 0.8,
            "top_k": 20,
            "temperature": 0.7,
            "repetition_penalty": 1.0,
            "transformers_version": "4.56.0",
        }
    im_end, endoftext = (tokenizer.token_to_id(t) for t in ("<|im_end|>", "<|endoftext|>"))
    return {
        "bos_token_id": endoftext,
        "pad_token_id": endoftext,
        "do_sample": True,
        "eos_token_id": [im_end, endoftext],
        "repetition_penalty": 1.05,
        "temperature": 0.000001,
        "transformers_version": "4.49.0",
    }


def published_name(name):
    if FAMILY.name == "qwen3-vl":
        return name
    return name.replace("model.visual.", "visual.", 1).replace("model.language_model.", "model.", 1)


def write_shards(out, tensors):
    """Two files, the second beginning in the middle of the text model, so that one layer lies in both."""
    names = sorted(tensors)
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    first = [n for n in names if n < published_name("model.language_model.layers.1.self_attn")]
    weight_map = {n: files[0] if n in first else files[1] for n in names}
    for file in files:
        save_file({n: tensors[n] for n in names if weight_map[n] == file}, out / file, metadata={"format": "pt"})
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    dump(out / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})


def train_tokenizer():
    tokenizer = Tokenizer(models.BPE(dropout=None, unk_token=None, continuing_subword_prefix="", end_of_word_suffix=""))
    byte_level = dict(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PATTERN), "isolated"), pre_tokenizers.ByteLevel(**byte_level)]
    )
    tokenizer.post_processor = processors.ByteLevel(**byte_level)
    tokenizer.decoder = decoders.ByteLevel(**byte_level)
    trainer = trainers.BpeTrainer(
        vocab_size=BASE_VOCABULARY,
        max_token_length=12,  # the creatures repeat: without a limit whole sentences would become one token
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    assert tokenizer.get_vocab_size() == BASE_VOCABULARY, tokenizer.get_vocab_size()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=False) for t in SHAPES["not_special"]])
    return tokenizer


def write_tokenizer(out, tokenizer):
    parts = json.loads(tokenizer.to_str())
    parts["model"]["merges"] = [" ".join(pair) for pair in parts["model"]["merges"]]  # as the published file has them
    parts["decoder"] = parts["post_processor"]
    dump(out / "tokenizer.json", parts)
    decoder = {str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in parts["added_tokens"]}
    dump(
        out / "tokenizer_config.json",
        {
            "add_bos_token": False,
            "add_prefix_space": False,
            "added_tokens_decoder": decoder,
            "additional_special_tokens": SPECIAL[1:],
            "bos_token": None,
            "chat_template": CHAT_TEMPLATE if FAMILY.system else "".join(CHAT_TEMPLATE.splitlines(True)[1:]),
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|im_end|>",
            "errors": "replace",
            "model_max_length": 131072,
            "pad_token": "<|endoftext|>",
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
        },
    )


def corpus():
    """Sentences about small creatures in English and Chinese, and some that are about nothing in particular."""
    bodies = {"round": "圆圆", "long": "长长", "square": "方方", "tall": "高高", "flat": "扁扁"}
    colours = {
        "red": "红色",
        "blue": "蓝色",
        "green": "绿色",
        "yellow": "黄色",
        "purple": "紫色",
        "orange": "橙色",
        "pink": "粉色",
    }
    ears = {"pointed": "尖尖", "floppy": "下垂", "short": "短短", "curled": "卷曲"}
    tails = {"bushy": "蓬松", "thin": "细长", "forked": "分叉", "striped": "带条纹"}
    types = {"fire": "火系", "water": "水系", "grass": "草系", "electric": "电系", "stone": "岩系"}
    for body, colour, ear, tail, kind in product(bodies, colours, ears, tails, types):
        yield f"This is a {kind} creature with a {body} {colour} body, {ear} ears and a {tail} tail."
        yield f"这是一只{types[kind]}小精灵,身体{bodies[body]}的,呈{colours[colour]},耳朵{ears[ear]},尾巴{tails[tail]}。"
    for colour, ear, kind in product(colours, ears, types):
        yield f"What colour is its body? It is {colour}. Which type is it? A {kind} type, with {ear} ears."
        yield f"它的身体是什么颜色?{colours[colour]}。它是什么属性?{types[kind]}。耳朵是什么样子?{ears[ear]}的。"
    yield from GENERAL * 4


GENERAL = """
You are a helpful assistant.
system user assistant
Describe this picture. What do you see in the image? Please answer in one short sentence.
请描述这张图片。你在图中看到了什么?请用一句话回答。
How are you? I am fine, thank you! And what's your name? I'm called Pip; they've named me after a seed.
你好!很高兴认识你。你叫什么名字?我叫小豆,住在森林旁边的村子里。
Compare the first picture with the second one: which creature is bigger, and which is darker?
比较第一张图片和第二张图片:哪一只更大?哪一只颜色更深?
The quick brown fox jumps over the lazy dog while seven clouds drift slowly above the valley.
In the morning the river was quiet, so we walked along the bank and counted the boats, one by one.
It doesn't matter how slowly you go as long as you do not stop, she'd say, and we'd believe her.
早上河水很安静,我们沿着河岸慢慢走,一艘一艘地数着小船。
Numbers: 0 1 2 3 4 5 6 7 8 9, 2024, 3.14 and 100% of them are written with digits.
天气很好,我们去山上看日出,回来的时候带了一篮子蘑菇和野花。
There is a small house on the hill, and behind the house there is a garden where beans and roses grow.
老师问:这个问题怎么解决?学生说:先看清楚,再想一想,最后动手做。
def add(left, right):\n    return left + right\n
A good tool does one thing well; a better one also tells you what went wrong, where, and what to do next.
The creature lives near lakes; when night comes, it glows softly and sings to its young.
这种小精灵喜欢住在湖边,夜晚会发出柔和的光,给孩子们唱歌。
It looks friendly. It looks angry. It looks sleepy. It looks happy. It seems to be running, jumping, or hiding.
它看起来很友好。它看起来很生气。它看起来很困。它看起来很开心。它好像在奔跑、跳跃或者躲藏。
There are two animals: the left one has a spotted back, the right one has wings, horns and bright eyes.
图中有两只动物:左边的背上有斑点,右边的有翅膀、犄角和明亮的眼睛。
""".strip().split("\n")


def fresh(out):
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)


def check_loaded(model, loaded, report):
    assert not report["missing_keys"] and not report["unexpected_keys"], report
    theirs = dict(loaded.named_parameters())
    for name, p in model.named_parameters():
        assert torch.equal(p, theirs[name]), name


def say(out, model):
    for file in out.iterdir():
        file.chmod(0o644)
    size = sum(f.stat().st_size for f in out.iterdir())
    print(f"{out.name}: {sum(p.numel() for p in model.parameters())} parameters, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
