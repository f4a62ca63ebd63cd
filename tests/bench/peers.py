"""What the Python peers do, line by line as tunebook does it: python peers.py FUNCTION ARGUMENTS

A line goes to standard output wherever bench.py wants to know the time; it notes when the line comes.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import torch

# <|endoftext|>, with which answers are padded that end before others.
PAD = 151643


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


def predict(checkpoint, dtype, data, batch, tokens, samples):
    """LLaMA-Factory's answers to the first samples of `bench`; `go` before them and after every batch.

    No recipe forbids an answer to end, so the model's generation config does. The scores come after the last `go`."""
    from llamafactory.train.tuner import run_exp
    from transformers import TrainerCallback

    class Batches(TrainerCallback):
        def on_init_end(self, args, state, control, model, **_):
            model.generation_config.min_new_tokens = int(tokens)
            generate = model.generate
            model.generate = lambda **inputs: whole(generate(**inputs), inputs, int(tokens))
            say("go")

        def on_prediction_step(self, args, state, control, **_):
            say("go")

    arguments = dict(
        model_name_or_path=checkpoint,
        infer_dtype=dtype,
        stage="sft",
        do_train=False,
        do_predict=True,
        predict_with_generate=True,
        eval_dataset="bench",
        dataset_dir=data,
        media_dir=data,
        template="qwen2_vl",
        cutoff_len=1024,
        max_samples=int(samples),
        per_device_eval_batch_size=int(batch),
        max_new_tokens=int(tokens),
        do_sample=False,
        overwrite_cache=True,
        report_to="none",
        use_cpu=True,
    )
    with tempfile.TemporaryDirectory() as out:
        run_exp(arguments | dict(output_dir=out), callbacks=[Batches()])


def generate(checkpoint, dtype, data, batch, tokens, samples):
    """transformers' answers to the first samples of `bench`; `go` before them and after every batch."""
    model, processor = opened(checkpoint, dtype)
    processor.tokenizer.padding_side = "left"
    chosen = json.loads((Path(data) / "bench.json").read_text())[: int(samples)]
    say("go")
    for at in range(0, len(chosen), int(batch)):
        asked = chosen[at : at + int(batch)]
        texts = [prompt(sample["messages"][0]["content"].removeprefix("<image>")) for sample in asked]
        pictures = [Path(data) / sample["images"][0] for sample in asked]
        answer(model, processor, texts, pictures, int(tokens), repetition_penalty=1.0)
        say("go")


def decode(checkpoint, question, *turns):
    """Greedy answers in bfloat16; a turn is `TOKENS:PICTURE`. `go` before, between and after."""
    model, processor = opened(checkpoint, "bfloat16")
    say("go")
    for turn in turns:
        tokens, picture = turn.split(":", 1)
        answer(model, processor, [prompt(question)], [picture], int(tokens))
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


def opened(checkpoint, dtype):
    from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(checkpoint, dtype=getattr(torch, dtype)).eval()
    return model, AutoProcessor.from_pretrained(checkpoint, use_fast=True)


def prompt(question):
    """A question about a picture in the chat template of Qwen2-VL."""
    return (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        f"<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{question}<|im_end|>\n<|im_start|>assistant\n"
    )


def answer(model, processor, prompts, pictures, tokens, **options):
    """Greedy answers of so many tokens to prompts with a picture each."""
    from PIL import Image

    images = [Image.open(picture) for picture in pictures]
    inputs = processor(text=prompts, images=images, padding=True, return_tensors="pt")
    options |= dict(max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
    with torch.no_grad():
        whole(model.generate(**inputs, **options), inputs, tokens)


def whole(answers, inputs, tokens):
    """`answers`, once it is sure that each has so many tokens: there is no padding behind any."""
    made = answers[:, inputs["input_ids"].shape[1] :]
    assert made.shape[1] == tokens and (made[:, -1] != PAD).all(), made
    return answers


def say(line):
    print(line, flush=True)


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).resolve().parent))
    peers = {peer.__name__: peer for peer in (train, predict, generate, decode, load, rate)}
    peers[sys.argv[1]](*sys.argv[2:])
