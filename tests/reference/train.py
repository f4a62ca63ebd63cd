"""Train LoRA on the tiny checkpoint of a family with LLaMA-Factory itself: fixtures/train. (Virtual environment of
requirements-llamafactory.txt.)

dataset_info.json, creatures.json, pairs.json   the data, of all families
adapter_*                                       initial adapters as PEFT saves them; B is zero in adapter_zero
gradients.safetensors                           one sample's loss and the gradient of every tensor of adapter_nonzero
RUN/recipe.yaml      what LLaMA-Factory was given; paths are relative to tests/fixtures
RUN/steps.json       loss, grad_norm (before clipping), learning_rate and epoch of every optimizer step
RUN/logits.safetensors  logits [T,vocabulary] of the trained model on fixtures/logits/picture.safetensors, or of the
                     last position only ([1,vocabulary])
RUN/adapter          the adapter at the end, for three of the runs

Other families than Qwen2.5-VL have some of the runs: the order of the steps is the same for all.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import torch
import yaml
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor

from common import FAMILY, FIXTURES, TINY, dump, dump_rows, encode_turns, model_inputs, of_family, versions
from training_data import CREATURES, PAIRS

OUT = of_family("train")
DATA = FIXTURES / "train"
FIRST = OUT == DATA
NEUTRAL_NAME = TINY.name

COMMON = {
    "model_name_or_path": TINY.name,
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "lora",
    "dataset_dir": "train",
    "template": FAMILY.template,
    "cutoff_len": 512,
    "preprocessing_num_workers": 1,
    "overwrite_cache": True,
    "disable_shuffling": True,
    "logging_steps": 1,
    "save_steps": 1000,
    "report_to": "none",
    "overwrite_output_dir": True,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 4,
    "learning_rate": 1.0e-3,
    "bf16": False,
    "use_cpu": True,
    "seed": 42,
}
RUNS = {
    # 21 samples are 11 micro-batches, the last of one sample: windows of 4, 4 and 3 micro-batches, 3 steps an epoch.
    "cosine": dict(
        dataset="creatures",
        adapter_name_or_path="train/adapter_zero",
        num_train_epochs=4.0,
        lr_scheduler_type="cosine",
        max_grad_norm=0.5,
    ),
    "two_pictures": dict(
        dataset="pairs",
        adapter_name_or_path="train/adapter_nonzero",
        num_train_epochs=6.0,
        lr_scheduler_type="cosine",
        max_grad_norm=1.0,
    ),
    "linear_warmup": dict(
        dataset="creatures",
        adapter_name_or_path="train/adapter_nonzero",
        num_train_epochs=4.0,
        lr_scheduler_type="linear",
        warmup_steps=3,
        weight_decay=0.1,  # large enough to show in the gradient norms
        max_grad_norm=2.2,  # clips some steps and leaves others
    ),
    "loraplus": dict(
        dataset="creatures",
        adapter_name_or_path="train/adapter_nonzero",
        num_train_epochs=4.0,
        learning_rate=1.0e-4,
        loraplus_lr_ratio=16.0,
        lr_scheduler_type="polynomial",
        warmup_steps=2,
        weight_decay=0.1,
    ),
    "rslora": dict(
        dataset="creatures",
        adapter_name_or_path="train/adapter_rslora",
        num_train_epochs=4.0,
        lr_scheduler_type="inverse_sqrt",
        warmup_steps=2,
    ),
    "dora": dict(
        dataset="creatures",
        adapter_name_or_path="train/adapter_dora",
        num_train_epochs=4.0,
        lr_scheduler_type="warmup_stable_decay",
        adam_beta1=0.8,
        adam_beta2=0.99,
    ),
    # The start is fixed by the weights alone, up to signs that nothing depends on.
    "pissa": dict(
        dataset="creatures",
        pissa_init=True,
        pissa_iter=-1,
        lora_rank=4,
        num_train_epochs=4.0,
        learning_rate=1.0e-4,
        lr_scheduler_type="constant",
    ),
    "additional_target": dict(
        dataset="creatures",
        adapter_name_or_path="train/adapter_additional",
        num_train_epochs=4.0,
        lr_scheduler_type="linear",
    ),
    "vision": dict(
        dataset="pairs",
        adapter_name_or_path="train/adapter_vision",
        freeze_vision_tower=False,
        num_train_epochs=6.0,
        lr_scheduler_type="cosine",
    ),
    "freeze": dict(
        dataset="creatures",
        finetuning_type="freeze",
        freeze_trainable_layers=2,
        freeze_trainable_modules="mlp,input_layernorm",
        freeze_extra_modules="embed_tokens",
        num_train_epochs=4.0,
        learning_rate=1.0e-4,
        weight_decay=0.5,
        lr_scheduler_type="linear",
    ),
    "full": dict(
        dataset="creatures",
        finetuning_type="full",
        num_train_epochs=4.0,
        learning_rate=1.0e-4,
        weight_decay=0.5,
        lr_scheduler_type="cosine",
    ),
    "full_with_vision": dict(
        dataset="creatures",
        finetuning_type="full",
        freeze_vision_tower=False,
        freeze_multi_modal_projector=False,
        num_train_epochs=4.0,
        learning_rate=1.0e-4,
        weight_decay=0.5,
        lr_scheduler_type="cosine",
    ),
    "projector": dict(
        dataset="pairs",
        finetuning_type="full",
        freeze_multi_modal_projector=False,
        freeze_language_model=True,
        num_train_epochs=6.0,
        lr_scheduler_type="cosine_with_restarts",
    ),
}
# These keep what they end with in full, for a close look; of the others the loss says enough.
KEPT = ["cosine", "two_pictures", "linear_warmup"] if FIRST else ["cosine"]
if not FIRST:
    others = "cosine two_pictures dora vision freeze full full_with_vision projector"
    RUNS = {name: RUNS[name] for name in others.split()}
for settings in RUNS.values():
    if "adapter_name_or_path" in settings:
        settings["adapter_name_or_path"] = f"{OUT.name}/{Path(settings['adapter_name_or_path']).name}"


def main():
    runs = sys.argv[1:] or list(RUNS)
    if not sys.argv[1:]:
        shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True, exist_ok=True)
    if FIRST:
        write_data()
    write_adapter("adapter_zero", 1, linears(load_base(), "language_model"), nonzero=False)
    write_adapter("adapter_nonzero", 2, linears(load_base(), "language_model"))
    if FIRST:
        names = ["q_proj", "v_proj"]
        write_adapter("adapter_rslora", 3, linears(load_base(), "language_model", names), r=4, use_rslora=True)
    write_adapter("adapter_dora", 4, linears(load_base(), "language_model", ["k_proj", "down_proj"]), r=4, use_dora=True)
    tower = linears(load_base(), "visual.blocks") + linears(load_base(), "visual.deepstack_merger_list")
    write_adapter("adapter_vision", 5, tower + linears(load_base(), "layers.1."), r=4)
    if FIRST:
        write_adapter(
            "adapter_additional",
            6,
            linears(load_base(), "layers.2."),
            r=4,
            modules_to_save=["merger.mlp.2", "language_model.norm"],
        )
    write_gradients()
    for run in runs:
        train(run)


def write_data():
    columns = {"messages": "messages", "images": "images"}
    tags = {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    }
    info = {}
    for name, samples in (("creatures", CREATURES), ("pairs", PAIRS)):
        samples = [{"messages": m, "images": [f"../pictures/{p}" for p in pictures]} for m, pictures in samples]
        dump(OUT / f"{name}.json", samples)
        info[name] = {"file_name": f"{name}.json", "formatting": "sharegpt", "columns": columns, "tags": tags}
    dump(OUT / "dataset_info.json", info)


def linears(model, part, names=None):
    """The linear layers in a part of the model: all of them, or those of these names."""
    found = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and part in n]
    return [n for n in found if names is None or n.split(".")[-1] in names]


def write_adapter(name, seed, targets, nonzero=True, r=8, **kind):
    torch.manual_seed(seed)
    config = LoraConfig(task_type="CAUSAL_LM", r=r, lora_alpha=16, lora_dropout=0.0, target_modules=targets, **kind)
    model = get_peft_model(load_base(), config)
    if nonzero:
        for parameter_name, p in model.named_parameters():
            if "lora_B" in parameter_name:
                torch.nn.init.normal_(p, std=0.05)
            elif "magnitude" in parameter_name or "modules_to_save" in parameter_name:
                p.data *= 1 + 0.1 * torch.randn_like(p)
    save_adapter(model, OUT / name)


def write_gradients():
    """Forward and backward over one sample, for looking at a single step closely."""
    processor = AutoProcessor.from_pretrained(TINY)
    model = PeftModel.from_pretrained(load_base(), OUT / "adapter_nonzero", is_trainable=True)
    messages, pictures = CREATURES[0]
    inputs = model_inputs(processor, messages, pictures)
    tokens = (inputs["image_grid_thw"].prod(-1) // 4).tolist()
    labels = []
    for source, target in encode_turns(processor.tokenizer, messages, tokens):
        labels += [-100] * len(source) + target
    inputs["labels"] = torch.tensor([labels])
    loss = model(**inputs).loss
    loss.backward()
    gradients = {k.replace(".default.", "."): p.grad for k, p in model.named_parameters() if p.requires_grad}
    assert all(g is not None and g.abs().max() > 0 for g in gradients.values())
    kept = {k: inputs[k] for k in ("pixel_values", "image_grid_thw")} | {
        k: inputs[k][0] for k in ("input_ids", "labels")
    }
    norm = torch.stack([g.norm() for g in gradients.values()]).norm()
    save(OUT / "gradients.safetensors", gradients | kept | {"loss": loss.detach()[None], "grad_norm": norm[None]})


def train(run):
    from llamafactory.train.tuner import run_exp

    out = OUT / run
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    recipe = {**COMMON, **RUNS[run]}
    (out / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "output_dir": f"saves/{run}"}, sort_keys=False))
    os.chdir(FIXTURES)
    with tempfile.TemporaryDirectory() as saves:
        run_exp({**recipe, "output_dir": saves})
        history = json.loads(Path(saves, "trainer_state.json").read_text())["log_history"]
        if recipe["finetuning_type"] == "lora":
            model = PeftModel.from_pretrained(load_base(), saves)
        else:
            model = load_base(saves)
        if run in KEPT:
            final = load_file(f"{saves}/adapter_model.safetensors")
            save_adapter(model, out / "adapter")
            saved = load_file(out / "adapter" / "adapter_model.safetensors")
            assert saved.keys() == final.keys() and all(torch.equal(saved[k], final[k]) for k in final)

    steps = [e for e in history if "loss" in e]
    keys = ("step", "epoch", "loss", "grad_norm", "learning_rate")
    assert len(steps) == 12, len(steps)
    clipped = sum(s["grad_norm"] > recipe.get("max_grad_norm", 1.0) for s in steps)
    made_by = versions("llamafactory", "torch", "transformers", "peft", "accelerate", "datasets", "pillow")
    rows = [{k: s[k] for k in keys} for s in steps]
    dump_rows(out / "steps.json", "steps", rows, versions=made_by, clipped_steps=clipped)
    case = load_file(of_family("logits") / "picture.safetensors")
    with torch.no_grad():
        logits = model(
            input_ids=case["input_ids"][None],
            attention_mask=torch.ones_like(case["input_ids"])[None],
            position_ids=case["position_ids"][:, None],
            pixel_values=case["pixel_values"],
            image_grid_thw=case["image_grid_thw"],
        ).logits[0]
    logits = logits[-len(case["logits"]) :]
    moved = (logits - case["logits"]).abs().max().item()
    save(out / "logits.safetensors", {"logits": logits if run in KEPT else logits[-1:]})
    print(
        f"{run}: loss {steps[0]['loss']:.4f} -> {steps[-1]['loss']:.4f}, {clipped} of 12 steps clipped, logits moved by {moved:.3f}"
    )


def load_base(folder=TINY):
    return FAMILY.load(folder, dtype=torch.float32).eval()


def save_adapter(model, folder):
    model.peft_config["default"].base_model_name_or_path = NEUTRAL_NAME
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["target_modules"] = sorted(config["target_modules"])  # a set, in no order
    dump(folder / "adapter_config.json", config)
    for file in folder.iterdir():
        file.chmod(0o644)


def save(path, tensors):
    save_file({k: t.detach().contiguous() for k, t in tensors.items()}, path)
    path.chmod(0o644)


if __name__ == "__main__":
    main()
