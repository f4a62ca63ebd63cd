"""What LLaMA-Factory's recipes may say, and the command that its web page shows for a training.

Writes in fixtures/recipe
arguments.json  every argument of `llamafactory-cli train` with its default
commands.json   recipes as the web page saves them (training_args.yaml), with the text of its Preview button
parsed.json     recipes as people write them: which arguments LLaMA-Factory's own parser reads otherwise than those of the
                first one, or that it refuses the recipe
systems.json    what a conversation begins with, for every `default_system`, system message and list of tools

Run it in the environment of requirements-llamafactory.txt.
"""

import copy
import dataclasses
import itertools
import json
import os
import sys
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
from llamafactory.hparams import get_train_args
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


RECIPE = """### model
model_name_or_path: tiny
stage: sft
do_train: true
finetuning_type: lora
lora_target: all
dataset: first
dataset_dir: data
template: qwen2_vl
output_dir: saves/first
per_device_train_batch_size: 2
gradient_accumulation_steps: 2
learning_rate: 1.0e-4
lr_scheduler_type: cosine
use_cpu: true
"""

# Lines behind it, of which one with a key that it has takes that one's place.
RECIPES = {
    "as it is": "",
    "a system prompt": "default_system: You are a botanist.",
    "no system prompt": 'default_system: ""',
    "a list of modules": "lora_target: [q_proj, v_proj]",
    "a list of modules on lines": "lora_target:\n  - q_proj\n  - v_proj",
    "a number without a point": "learning_rate: 1e-4",
    "a number in quotes": "learning_rate: '1e-4'",
    "a service that is told": "report_to: wandb",
    "two services": "report_to: [wandb, tensorboard]",
    "no service": "report_to: none",
    "a share of steps to warm up": "warmup_steps: 0.1",
    "a ratio of steps to warm up": "warmup_ratio: 0.1",
    "steps to warm up with a point": "warmup_steps: 20.0",
    "four bits": "quantization_bit: 4\nquantization_method: bnb\ndouble_quantization: true",
    "mixed data sets": 'dataset: first,second\nmix_strategy: interleave_under\ninterleave_probs: "0.5,0.5"\nmax_steps: 2',
    "a list of shares": "dataset: first, second\nmix_strategy: interleave_under\ninterleave_probs: [0.5, 0.5]\nmax_steps: 2",
    "a seed for the order": "seed: 1\ndata_seed: 2",
    "packed": "neat_packing: true",
    "towers that train": "freeze_vision_tower: false\nfreeze_multi_modal_projector: false",
    "an early end": "val_size: 0.25\neval_strategy: steps\neval_steps: 1\nload_best_model_at_end: true\nearly_stopping_steps: 2\n"
    "save_steps: 1\nmetric_for_best_model: eval_loss\ngreater_is_better: false",
    "no thinking": "enable_thinking: false",
    "what only Python needs": "flash_attn: fa2\ngradient_checkpointing: true\nddp_timeout: 180000000\npreprocessing_num_workers: 16",
    "predictions": "do_train: false\ndo_predict: true\npredict_with_generate: true\neval_dataset: second\nmax_new_tokens: 8",
    "predictions behind a training": "do_predict: true\npredict_with_generate: true\nval_size: 0.1",
    "predictions that are not generated": "do_predict: true\neval_dataset: second",
    "predictions of nothing": "do_predict: true\npredict_with_generate: true",
    "an evaluation": "do_train: false\ndo_eval: true\neval_dataset: second",
    "an evaluation of nothing": "do_eval: true",
    "no data": "dataset: null",
    "a name of years ago": "evaluation_strategy: steps\nval_size: 0.1",
    "a slip": "per_device_train_batchsize: 4",
    "a template that is not there": "template: qwen2_5_vl",
    "a key twice": "learning_rate: 5e-5\nlearning_rate: 6e-5",
}


def recipe_text(lines):
    keys = [line.partition(":")[0] for line in lines.splitlines() if not line.startswith(" ")]
    kept = [line for line in RECIPE.splitlines() if line.partition(":")[0] not in keys]
    return "\n".join([*kept, *lines.splitlines(), ""])


def parsed():
    first, found = None, []
    for name, lines in RECIPES.items():
        text = recipe_text(lines)
        try:
            values = parse(text)
        except Exception as error:
            found.append({"name": name, "recipe": text, "refused": str(error).splitlines()[0]})
            continue
        first = first or values
        changed = {key: value for key, value in values.items() if value != first[key]}
        found.append({"name": name, "recipe": text, "values": changed})
    return found


def parse(text):
    path = Path("recipe.yaml")
    path.write_text(text, encoding="utf-8")
    sys.argv = ["llamafactory-cli", str(path)]
    values = {}
    for args in get_train_args():
        for field in dataclasses.fields(args):
            value = getattr(args, field.name)
            values[field.name] = value.value if isinstance(value, Enum) else value
    # These come of the machine and of the hour.
    return {key: value for key, value in values.items() if key not in ("run_name", "logging_dir", "model_max_length")}


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
            ("parsed", parsed()),
        ]:
            text = json.dumps(value, indent=1, ensure_ascii=False, default=str)
            (OUT / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        dump_rows(OUT / "systems.json", "cases", systems())


if __name__ == "__main__":
    main()
