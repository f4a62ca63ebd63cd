"""What the Python peers do, line by line as tunebook does it: python peers.py {train|decode|load|rate} ARGUMENTS

A line goes to standard output wherever bench.py wants to know the time; it notes when the line comes.
"""

import sys
import time
from pathlib import Path

import torch


def train(checkpoint, dtype, data, out, rank, batch, accumulation, epochs, dataset="bench", template="qwen2_vl"):
    """LLaMA-Factory's training with LoRA in this type; `step K` after every optimizer step."""
    from llamafactory.train.tuner import run_exp
    from transformers import TrainerCallback

    class Steps(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            say(f"step {state.global_step}")

    arguments = dict(
        model_name_or_path=checkpoint,
        stage="sft",
        do_train=True,
        finetuning_type="lora",
        lora_rank=int(rank),
        lora_alpha=2 * int(rank),
        lora_target="all",
        dataset=dataset,
        dataset_dir=data,
        media_dir=data,
        template=template,
        cutoff_len=1024,
        num_train_epochs=float(epochs),
        per_device_train_batch_size=int(batch),
        gradient_accumulation_steps=int(accumulation),
        learning_rate=2e-4,
        lr_scheduler_type="cosine",
        output_dir=out,
        overwrite_output_dir=True,
        overwrite_cache=True,
        logging_steps=1000,
        save_steps=1000,
        report_to="none",
        bf16=dtype == "bfloat16",
        use_cpu=True,
    )
    run_exp(arguments, callbacks=[Steps()])


def decode(checkpoint, question, *turns):
    """Greedy answers in bfloat16; a turn is `TOKENS:PICTURE`. `go` before, between and after."""
    from PIL import Image
    from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.bfloat16).eval()
    tokenizer_and_images = AutoProcessor.from_pretrained(checkpoint, use_fast=True)
    say("go")
    for turn in turns:
        tokens, picture = turn.split(":", 1)
        system = "You are a helpful assistant."
        text = (
            f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>"
            f"{question}<|im_end|>\n<|im_start|>assistant\n"
        )
        inputs = tokenizer_and_images(text=[text], images=[Image.open(picture)], return_tensors="pt")
        with torch.no_grad():
            answer = model.generate(**inputs, max_new_tokens=int(tokens), min_new_tokens=int(tokens), do_sample=False)
        assert answer.shape[1] == inputs["input_ids"].shape[1] + int(tokens)
        say("go")


def load(checkpoint):
    """`from_pretrained` in bfloat16, between two `go`: the imports are not counted."""
    from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

    say("go")
    Qwen2_5_VLForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.bfloat16)
    AutoProcessor.from_pretrained(checkpoint)
    say("go")


def rate(dtype, rows, *shapes):
    """`rate R`, the GFLOP/s of torch's products in this type, x wᵀ and y w over the linears of a layer, `OUTxIN` each."""
    x = {}
    weights = []
    for shape in shapes:
        out_features, in_features = map(int, shape.split("x"))
        weights.append(torch.randn(out_features, in_features, dtype=getattr(torch, dtype)))
        for width in (out_features, in_features):
            x.setdefault(width, torch.randn(int(rows), width, dtype=getattr(torch, dtype)))

    def layer():
        for w in weights:
            x[w.shape[1]] @ w.T
            x[w.shape[0]] @ w

    layer()
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        layer()
        best = min(best, time.perf_counter() - start)
    say(f"rate {4 * int(rows) * sum(w.numel() for w in weights) / best / 1e9}")


def say(line):
    print(line, flush=True)


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).resolve().parent))
    {"train": train, "decode": decode, "load": load, "rate": rate}[sys.argv[1]](*sys.argv[2:])
