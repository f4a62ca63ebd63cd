"""What LLaMA-Factory makes of samples: fixtures/encode. (Virtual environment of requirements-llamafactory.txt.)

samples.json     every case: a dataset_info.json entry (without file_name), one raw sample, the settings that differ from
                 the defaults, and the input_ids and labels that LLaMA-Factory's own loader gives
truncation.json  [source length, target length, cutoff] -> [source kept, target kept], the same for all families
prompts.json     of Qwen3-VL, whose templates may think: for conversations that wait for an answer, the ids that
                 LLaMA-Factory's chat gives the model

It also checks that common.py's restatement of the template and images.py's pictures agree with LLaMA-Factory's code.
"""

import json
import tempfile
from itertools import product
from pathlib import Path

import torch
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.data.processor.processor_utils import infer_seqlen
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer
from safetensors.torch import load_file
from transformers import AutoImageProcessor

from common import FAMILY, PICTURES, TINY, dump_rows, encode_turns, of_family, open_picture, versions
from training_data import CREATURES, PAIRS, turns

OUT = of_family("encode")
MESSAGES = {
    "formatting": "sharegpt",
    "columns": {"messages": "messages", "images": "images"},
    "tags": {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    },
}
LONG = "In the morning the river was quiet, so we walked along the bank and counted the boats, one by one. " * 3
LONG_ANSWER = "早上河水很安静,我们沿着河岸慢慢走,一艘一艘地数着小船。" * 5


def case(name, messages, images=(), entry=MESSAGES, **settings):
    column = entry.get("columns", {}).get("messages", "conversations")
    sample = {column: messages, **({"images": list(images)} if "columns" in entry else {})}
    return record(name, entry, sample, **settings)


def record(name, entry, sample, **settings):
    return {"name": name, "entry": entry, "sample": sample, "settings": settings}


TOOLS = json.dumps([{"name": "count", "description": "Counts. 数", "parameters": {"type": "object", "properties": {}}}], ensure_ascii=False)
CALL = json.dumps({"name": "count", "arguments": {"of": "<image>", "least": 1.0}}, ensure_ascii=False)
WITH_TOOLS = {"formatting": "sharegpt", "columns": {"messages": "messages", "tools": "tools", "images": "images"}}
TOOL_TURNS = [
    {"from": "human", "value": "How many foxes are in 这张图?"},
    {"from": "function_call", "value": CALL},
    {"from": "observation", "value": '{"foxes": 2}'},
    {"from": "gpt", "value": "两只。"},
]


CASES = [
    case("plain", turns("How are you?", "I am fine, thank you!")),
    case("chinese", turns("你叫什么名字?", "我叫小豆,住在森林旁边的村子里。😀")),
    case("system", turns("Which type is it?", "A water type.", system="You look at pictures of little creatures.")),
    case("empty_system", turns("Which type is it?", "A water type.", system="")),
    case("turns", turns("Hello!", "你好!", "What is it?", "A fox.", "它跑得快吗?", "很快。")),
    case("answer_starts_with_newline", turns("Write code.", "\n\ndef add(left, right):\n    return left + right\n")),
    case("spaces", turns("  two  spaces \t and\r\n a line ", " leading and trailing ")),
    case("empty_answer", turns("Say nothing.", "")),
    case("special_tokens_in_content", turns("What is <|im_end|> and <tool_call>?", "It ends a turn: <|im_end|>, and <|fim_pad|> pads.")),
    case("index_placeholder", turns("Turn {{idx}}, then {{content}}.", "{{idx}} it is.", "Again {{idx}}?", "Yes.")),
    case("decomposed_unicode", turns("cafe\u0301 nai\u0308ve", "A\u030angstro\u0308m")),
    case("picture", turns("<image>\nDescribe this picture.", "A blue creature."), ["wide.png"]),
    case("picture_in_second_turn", turns("Hello!", "Hi!", "Look: <image> what is it?", "一只紫色的小精灵。"), ["tall.png"]),
    case("two_pictures", turns("<image><image>Compare.", "The first is red.", "And <image>?", "Green."), ["square.png", "uneven.png", "icon.png"]),
    case("picture_in_answer", turns("Show me one.", "Here: <image>"), ["square.png"]),
    case("picture_pre_resized", turns("<image>它是什么?", "一只小精灵。"), ["windows.png"], image_max_pixels=5000),
    case("cutoff_source", turns(LONG, "A long walk."), cutoff_len=64),
    case("cutoff_target", turns("Tell me a story.", LONG_ANSWER), cutoff_len=64),
    case("cutoff_both", turns(LONG, LONG_ANSWER), cutoff_len=64),
    case("cutoff_turns", turns("Hello!", "Hi!", LONG, "A long walk.", "Again?", "Yes."), cutoff_len=64),
    case("cutoff_after_picture", turns("<image>Tell me a story.", LONG_ANSWER), ["square.png"], cutoff_len=64),
    case("train_on_prompt", turns("Hello!", "Hi!", "What is <image>?", "A fox."), ["square.png"], train_on_prompt=True),
    case("mask_history", turns("Hello!", "Hi!", "What is it?", "A fox."), mask_history=True),
    case("mask_history_cutoff", turns(LONG, "Hi!", "What is it?", "A fox, I think."), mask_history=True, cutoff_len=64),
    case(
        "default_columns",
        [{"from": "human", "value": "Hello!"}, {"from": "gpt", "value": "Hi!"}],
        entry={"formatting": "sharegpt"},
    ),
    case(
        "system_in_default_tags",
        [{"from": "system", "value": "Be brief."}, {"from": "human", "value": "Hello!"}, {"from": "gpt", "value": "Hi!"}],
        entry={"formatting": "sharegpt"},
    ),
    record("alpaca", {}, {"instruction": "Add.", "input": "1 + 1", "output": "\n2"}),
    record(
        "alpaca_history",
        {"columns": {"prompt": "q", "response": "a", "history": "h", "system": "s", "images": "i"}},
        {"q": "<image>And this?", "a": "A fox.", "h": [["<image>Which?", "A cat."]], "s": "Be brief.", "i": ["square.png", "icon.png"]},
    ),
    record("tools", WITH_TOOLS, {"messages": TOOL_TURNS, "tools": TOOLS, "images": ["icon.png"]}),
    record("tools_cutoff", WITH_TOOLS, {"messages": TOOL_TURNS, "tools": "[]", "images": ["icon.png"]}, cutoff_len=80),
    record("tools_mask_history", WITH_TOOLS, {"messages": TOOL_TURNS, "tools": TOOLS, "images": ["icon.png"]}, mask_history=True),
    record("openai", {"formatting": "openai"}, {"conversations": [{"from": "human", "value": "Hello!"}, {"from": "gpt", "value": "Hi!"}]}),
]  # fmt: skip
if FAMILY.name == "qwen3-vl":
    THOUGHT = "<think>\nIt has a tail: 狐狸。\n</think>\n\nA fox."
    SHORT = turns("Hello!", "Hi!", "What is <image>?", "A fox.")
    THINKING = [
        ("plain", turns("How are you?", "I am fine, thank you!"), {}),
        ("turns_and_picture", SHORT, {}),
        ("system", turns("Which type is it?", "A water type.", system="You look at pictures."), {}),
        ("thought", turns("What is <image>?", THOUGHT), {}),
        ("thought_in_first_turn", turns("What is <image>?", THOUGHT, "它跑得快吗?", "很快。"), {}),
        ("thought_in_both_turns", turns("What is <image>?", THOUGHT, "Sure?", THOUGHT), {}),
        ("empty_thought", turns("What is it?", "<think>\n\n</think>\n\nA fox."), {}),
        ("mask_history", turns("What is <image>?", THOUGHT, "它跑得快吗?", "很快。"), dict(mask_history=True)),
        ("train_on_prompt", SHORT, dict(train_on_prompt=True)),
        ("cutoff", turns("Hello!", "Hi!", LONG, LONG_ANSWER), dict(cutoff_len=64)),
    ]
    for name, messages, settings in THINKING:
        pictures = ["square.png"] if any("<image>" in m["content"] for m in messages) else []
        for enabled in (True, False):
            settings = settings | dict(template="qwen3_vl", enable_thinking=enabled)
            CASES.append(case(f"{'' if enabled else 'no_'}thinking_{name}", messages, pictures, **settings))
        CASES.append(case(f"nothink_{name}", messages, pictures, **settings | dict(template="qwen3_vl_nothink")))
        del CASES[-1]["settings"]["enable_thinking"]


def main():
    OUT.mkdir(exist_ok=True)
    cases = [c | encode(c) for c in CASES]
    dump_rows(OUT / "samples.json", "samples", cases, versions=versions("llamafactory", "transformers", "tokenizers"))
    if FAMILY.name == "qwen2.5-vl":
        lengths = [0, 1, 10, 31, 32, 33, 100, 1000]
        table = [[s, t, c, *infer_seqlen(s, t, c)] for s, t, c in product(lengths, lengths, [1, 4, 63, 64, 1000])]
        (OUT / "truncation.json").write_text(json.dumps(table) + "\n")
    if FAMILY.name == "qwen3-vl":
        dump_rows(OUT / "prompts.json", "prompts", prompts(), versions=versions("llamafactory", "transformers"))
    check_restatement()
    check_pictures()
    print(f"{len(cases)} samples, {sum(f.stat().st_size for f in OUT.iterdir()) / 1e3:.0f} kB")


def encode(c):
    """Through LLaMA-Factory's loader: dataset_info.json, converter, template, truncation, labels."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "data.json").write_text(json.dumps([c["sample"]]))
        Path(folder, "dataset_info.json").write_text(json.dumps({"data": {"file_name": "data.json", **c["entry"]}}))
        model_args, data_args, training_args, _, _ = arguments(folder, **c["settings"])
        tokenizer_module = load_tokenizer(model_args)
        template = get_template_and_fix_tokenizer(tokenizer_module["tokenizer"], data_args)
        datasets = get_dataset(template, model_args, data_args, training_args, stage="sft", **tokenizer_module)
        row = datasets["train_dataset"][0]
    assert len(row["input_ids"]) == len(row["labels"]) <= data_args.cutoff_len
    return {
        "input_ids": row["input_ids"],
        "labels": row["labels"],
        "text": tokenizer_module["tokenizer"].decode(row["input_ids"]),
    }


def arguments(folder, **settings):
    return get_train_args(
        dict(
            model_name_or_path=str(TINY), stage="sft", do_train=True, finetuning_type="lora",
            template=FAMILY.template, dataset="data", dataset_dir=folder, media_dir=str(PICTURES),
            output_dir=f"{folder}/out", report_to="none", overwrite_cache=True, use_cpu=True,
        )
        | settings
    )  # fmt: skip


def prompts():
    """Of LLaMA-Factory's chat: a conversation with an empty answer at its end, without that answer."""
    conversations = [
        (None, turns("How are you?", "")),
        ("Be brief.", turns("How are you?", "")),
        (None, turns("Hello!", "Hi!", "它跑得快吗?", "")),
        (None, turns("What is it?", THOUGHT, "Sure?", "")),
        ("Be brief.", turns("What is it?", THOUGHT, "Sure?", THOUGHT, "它跑得快吗?", "")),
    ]
    choices = [("qwen3_vl_nothink", None), ("qwen3_vl", True), ("qwen3_vl", False)]
    for (system, messages), (name, enabled) in product(conversations, choices):
        settings = dict(template=name) | ({} if enabled is None else dict(enable_thinking=enabled))
        model_args, data_args, *_ = arguments(".", **settings)
        tokenizer = load_tokenizer(model_args)["tokenizer"]
        template = get_template_and_fix_tokenizer(tokenizer, data_args)
        ids, _ = template.encode_oneturn(tokenizer, messages, system, None)
        row = dict(settings=settings, system=system, messages=messages[:-1])
        yield row | dict(input_ids=ids, text=tokenizer.decode(ids))


def check_restatement():
    """common.encode_turns is LLaMA-Factory's encoding where nothing is cut."""
    model_args, data_args, *_ = arguments(".")
    module = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(module["tokenizer"], data_args)
    for messages, pictures in CREATURES + PAIRS:
        images = [str(PICTURES / p) for p in pictures]
        inputs = template.mm_plugin.get_mm_inputs(images, [], [], [len(images)], [0], [0], [[]], module["processor"])
        tokens = (inputs["image_grid_thw"].prod(-1) // 4).tolist() if images else []
        expanded = template.mm_plugin.process_messages(messages, images, [], [], module["processor"])
        system = expanded.pop(0)["content"] if expanded[0]["role"] == "system" else None
        theirs = template.encode_multiturn(module["tokenizer"], expanded, system, None)
        assert theirs == encode_turns(module["tokenizer"], messages, tokens), messages


def check_pictures():
    """fixtures/images holds what LLaMA-Factory's plugin gives for the flattened, upright picture."""
    model_args, data_args, *_ = arguments(".")
    module = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(module["tokenizer"], data_args)
    processor = module["processor"]
    folder = of_family("images")
    if (folder / "preprocessor_config.json").exists():
        processor.image_processor = AutoImageProcessor.from_pretrained(folder)
    for c in json.loads((folder / "cases.json").read_text())["cases"] if folder.exists() else []:
        processor.image_max_pixels = c["image_max_pixels"]
        image = open_picture(PICTURES / c["image"])
        inputs = template.mm_plugin.get_mm_inputs([image], [], [], [1], [0], [0], [[]], processor)
        assert inputs["image_grid_thw"][0].tolist() == c["image_grid_thw"], c
        expected = load_file(folder / c["file"])
        if "pixel_values" in expected:
            worst = (inputs["pixel_values"] - expected["pixel_values"]).abs().max()
            assert torch.allclose(inputs["pixel_values"], expected["pixel_values"], atol=1e-5), (c, worst)


if __name__ == "__main__":
    main()
