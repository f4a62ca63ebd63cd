"""What LLaMA-Factory's recipes may say, and the command that its web page shows for a training.

Writes in fixtures/recipe
arguments.json  every argument of `llamafactory-cli train` with its default
commands.json   recipes as the web page saves them (training_args.yaml), with the text of its Preview button
systems.json    what a conversation begins with, for every `default_system`, system message and list of tools

Run it in the environment of requirements-llamafactory.txt.
"""

import copy
import dataclasses
import itertools
import json
import os
import tempfile
from enum import Enum
from pathlib import Path
from types import SimpleNamespace

import yaml
from llamafactory.data import template as templates
from llamafactory.extras.constants import DEFAULT_TEMPLATE
from llamafactory.hparams import DataArguments
from llamafactory.hparams import FinetuningArguments
from llamafactory.hparams import GeneratingArguments
from llamafactory.hparams import ModelArguments
from llamafactory.hparams import TrainingArguments
from llamafactory.webui.common import _clean_cmd
from llamafactory.webui.common import gen_cmd
from llamafactory.webui.runner import Runner
from transformers import AutoTokenizer

from common import dump_rows

OUT = Path(__file__).resolve().parent.parent / "fixtures" / "recipe"
CLASSES = [ModelArguments, DataArguments, TrainingArguments, FinetuningArguments, GeneratingArguments]
MODEL = "Qwen2.5-VL-3B-Instruct"

# The web page's elements as they are when it opens.
PAGE = {
    "top.model_name": MODEL,
    "top.model_path": "Qwen/Qwen2.5-VL-3B-Instruct",
    "top.finetuning_type": "lora",
    "top.checkpoint_path": None,
    "top.quantization_bit": "none",
    "top.quantization_method": "bnb",
    "top.template": DEFAULT_TEMPLATE[MODEL],
    "top.rope_scaling": "none",
    "top.booster": "auto",
    "train.training_stage": "Supervised Fine-Tuning",
    "train.dataset_dir": "data",
    "train.dataset": ["identity"],
    "train.cutoff_len": 2048,
    "train.learning_rate": "5e-5",
    "train.num_train_epochs": "3.0",
    "train.max_samples": "100000",
    "train.batch_size": 2,
    "train.gradient_accumulation_steps": 8,
    "train.lr_scheduler_type": "cosine",
    "train.max_grad_norm": "1.0",
    "train.logging_steps": 5,
    "train.save_steps": 100,
    "train.warmup_steps": 0,
    "train.neftune_alpha": 0,
    "train.packing": False,
    "train.neat_packing": False,
    "train.train_on_prompt": False,
    "train.mask_history": False,
    "train.resize_vocab": False,
    "train.use_llama_pro": False,
    "train.enable_thinking": True,
    "train.report_to": "none",
    "train.use_galore": False,
    "train.use_apollo": False,
    "train.use_badam": False,
    "train.use_swanlab": False,
    "train.output_dir": "saves/first",
    "train.compute_type": "bf16",
    "train.extra_args": '{"optim": "adamw_torch"}',
    "train.lora_rank": 8,
    "train.lora_alpha": 16,
    "train.lora_dropout": 0,
    "train.loraplus_lr_ratio": 0,
    "train.create_new_adapter": False,
    "train.use_rslora": False,
    "train.use_dora": False,
    "train.use_pissa": False,
    "train.lora_target": "",
    "train.additional_target": "",
    "train.freeze_vision_tower": True,
    "train.freeze_multi_modal_projector": True,
    "train.freeze_language_model": False,
    "train.image_max_pixels": "768*768",
    "train.image_min_pixels": "32*32",
    "train.video_max_pixels": "256*256",
    "train.video_min_pixels": "16*16",
    "train.val_size": 0,
    "train.ds_stage": "none",
    "train.ds_offload": False,
}

# What somebody sets there.
CASES = {
    "as it opens": {},
    "the tutorial": {
        "train.dataset_dir": "./pokemon_sharegpt",
        "train.dataset": ["pokemon_multimodal"],
        "train.learning_rate": "2e-4",
        "train.cutoff_len": 4096,
        "train.logging_steps": 10,
        "train.save_steps": 500,
        "train.lora_rank": 64,
        "train.lora_alpha": 128,
        "train.lora_dropout": 0.1,
        "train.output_dir": "saves/qwen25-vl-pokemon-lora",
    },
    "two data sets, small steps": {
        "train.dataset": ["identity", "creatures"],
        "train.learning_rate": "0.00002",
        "train.num_train_epochs": "1.5",
        "train.max_samples": "40",
        "train.batch_size": 1,
        "train.lr_scheduler_type": "linear",
        "train.max_grad_norm": "0",
        "train.warmup_steps": 20,
        "train.lora_target": "q_proj,v_proj",
        "train.train_on_prompt": True,
        "train.image_max_pixels": "262144",
        "train.extra_args": '{"optim": "adamw_torch", "seed": 7, "weight_decay": 0.01}',
    },
    "four bits": {"top.quantization_bit": "4"},
}




TOOLS = json.dumps([{"name": "count", "description": "Counts.", "parameters": {"type": "object", "properties": {}}}])


def systems():
    tokenizer = AutoTokenizer.from_pretrained(OUT.parent / "tiny")
    cases = []
    for default, system, tools in itertools.product([None, "", "You are a botanist."], ["", "Answer briefly."], ["", TOOLS]):
        args = SimpleNamespace(template="qwen2_vl", train_on_prompt=False, tool_format=None, default_system=default, enable_thinking=True)
        # It would keep the default of one case for the next.
        registered = templates.TEMPLATES["qwen2_vl"]
        templates.TEMPLATES["qwen2_vl"] = copy.deepcopy(registered)
        template = templates.get_template_and_fix_tokenizer(tokenizer, args)
        templates.TEMPLATES["qwen2_vl"] = registered
        messages = [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "A fern."}]
        ids, _ = template.encode_oneturn(tokenizer, messages, system, tools)
        cases.append({"default_system": default, "system": system, "tools": tools, "input_ids": ids})
    return cases


class Manager:
    """A page whose elements are their own names."""

    def get_elem_by_id(self, name):
        return name


def arguments():
    found = {}
    for kind in CLASSES:
        for field in dataclasses.fields(kind):
            if not field.init:
                continue
            default = field.default
            if default is dataclasses.MISSING:
                default = field.default_factory() if field.default_factory is not dataclasses.MISSING else None
            if isinstance(default, Enum):
                default = default.value
            found[field.name] = default
    return dict(sorted(found.items()))


def commands():
    runner = Runner(Manager(), demo_mode=False)
    cases = []
    for name, changes in CASES.items():
        args = runner._parse_train_args({**PAGE, **changes})
        command = gen_cmd(args).removeprefix("```bash\n").removesuffix("\n```")
        cases.append({"name": name, "recipe": yaml.safe_dump(_clean_cmd(args)), "command": command})
    return cases


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    # The page keeps what its user chose last in the working folder.
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, value in [
            ("arguments", arguments()),
            ("commands", commands()),
        ]:
            text = json.dumps(value, indent=1, ensure_ascii=False, default=str)
            (OUT / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        dump_rows(OUT / "systems.json", "cases", systems())


if __name__ == "__main__":
    main()
