"""What transformers computes with the tiny checkpoints of a family, in float32: fixtures/logits/CASE.safetensors and
cases.json.

Every case is a conversation that waits for an answer. Tensors (T tokens, N patches, M = N/4 merged patches):

input_ids [T], position_ids [3,T] (time, height, width), rope_deltas [1], inputs_embeds [T,hidden] (pictures put in),
hidden.I [T,hidden] (output of text layer I, before DeepStack adds to it), logits [T,vocabulary], or of other families
than Qwen2.5-VL [8,vocabulary] of the last positions
pixel_values [N,1176 or 1536], image_grid_thw [pictures,3], vision.cu_seqlens, vision.patch_embed [N,width] (raster
order),
vision.block.I [N,width] (output of block I, with windows in their order), vision.merged [M,hidden] (raster order)
vision.window_index [M], vision.cu_window_seqlens: where there are windows
vision.embedded [N,width] (patches with their learned positions), vision.deepstack.I [M,hidden] (added to the rows of
pictures after text layer I): Qwen3-VL
generated [24], generated_penalty [24]: greedy tokens with the cache, repetition_penalty 1.0 and 1.3, never stopping
"""

import shutil

import torch
from safetensors.torch import save_file
from transformers import AutoProcessor, GenerationConfig

from common import FAMILY, dump, model_inputs, of_family, versions

OUT = of_family("logits")
WINDOWS = FAMILY.name == "qwen2.5-vl"
POSITIONS = None if FAMILY.name == "qwen2.5-vl" else 8
NEW_TOKENS = 24
PENALTY = 1.3

CASES = {
    "text": (
        "tiny",
        [],
        [{"role": "user", "content": "What's a stone creature like? 请用一句话回答,谢谢!"}],
    ),
    "picture": (
        "tiny",
        ["wide.png"],
        [{"role": "user", "content": "<image>\nDescribe this picture in one short sentence."}],
    ),
    "two_pictures": (
        "tiny",
        ["square.png", "creature_3.png"],
        [
            {"role": "system", "content": "You look at pictures of little creatures."},
            {"role": "user", "content": "<image>这是什么颜色的小精灵?"},
            {"role": "assistant", "content": "这是一只红色的小精灵,耳朵尖尖的。"},
            {"role": "user", "content": "And this one: <image> Is it bigger than the first?"},
        ],
    ),
    "windows": (
        "tiny",
        ["windows.png"],
        [{"role": "user", "content": "Look at this: <image>\n它的耳朵是什么样子?"}],
    ),
    "second_turn": (
        "tiny",
        ["creature_1.png"],
        [
            {"role": "user", "content": "你好!"},
            {"role": "assistant", "content": "你好!很高兴认识你。"},
            {"role": "user", "content": "What do you see in <image>?"},
        ],
    ),
    # The first is enlarged to the least that the image processor allows, the second shrunk to the most (Qwen3-VL).
    "limits": (
        "tiny",
        ["icon.png", "windows.png" if FAMILY.name == "qwen3-vl" else "uneven.png"],
        [{"role": "user", "content": "<image><image>Which creature is bigger?"}],
    ),
    "nested_text": (
        "tiny-nested",
        [],
        [{"role": "user", "content": "Which type is the blue creature? 它住在湖边。"}],
    ),
    "nested_picture": (
        "tiny-nested",
        ["square.png"],
        [{"role": "user", "content": "<image>What do you see?"}],
    ),
}
for name in ["second_turn", "limits"] if WINDOWS else ["windows"]:
    del CASES[name]


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    cases = []
    for name, (checkpoint, pictures, messages) in CASES.items():
        folder = of_family(checkpoint)
        processor = AutoProcessor.from_pretrained(folder)
        model = FAMILY.load(folder, dtype=torch.float32, attn_implementation="eager").eval()
        inputs = model_inputs(processor, messages, pictures)
        tensors = run(model, inputs)
        tensors["generated"], margin = generate(model, inputs, 1.0)
        tensors["generated_penalty"], margin_penalty = generate(model, inputs, PENALTY)
        save_file({k: t.contiguous() for k, t in tensors.items()}, OUT / f"{name}.safetensors")
        (OUT / f"{name}.safetensors").chmod(0o644)
        least = min(margin, margin_penalty)
        assert least > 1e-3, "the best two tokens are too close for a comparison: take another seed"
        text = processor.tokenizer.decode(tensors["generated"])
        cases.append(
            {
                "name": name,
                "checkpoint": folder.name,
                "messages": messages,
                "images": pictures,
                "repetition_penalty": PENALTY,
                "tokens": inputs["input_ids"].shape[1],
                "generated_text": text,
                "least_margin": round(least, 6),
            }
        )
        print(f"{name}: {inputs['input_ids'].shape[1]} tokens, margin {cases[-1]['least_margin']}, {text!r}")
    dump(OUT / "cases.json", {"versions": versions("torch", "transformers", "pillow", "torchvision"), "cases": cases})


@torch.no_grad()
def run(model, inputs):
    """One forward over the whole prompt, with what each part of the model gives on the way."""
    seen, hooks = {}, []

    def keep(name):
        def hook(_module, _args, output):
            seen[name] = (output[0] if isinstance(output, tuple) else output).detach().clone().squeeze(0)

        return hook

    visual, text = model.model.visual, model.model.language_model
    for i, layer in enumerate(text.layers):
        hooks.append(layer.register_forward_hook(keep(f"hidden.{i}")))
    hooks.append(text.register_forward_pre_hook(lambda _m, _a, kw: seen.update(kw_inputs=kw), with_kwargs=True))
    if "pixel_values" in inputs:
        hooks.append(visual.patch_embed.register_forward_hook(keep("vision.patch_embed")))
        if FAMILY.name == "qwen3-vl":
            hooks.append(visual.blocks[0].register_forward_pre_hook(lambda _m, a: seen.update(embedded=a[0].clone())))
        for i, block in enumerate(visual.blocks):
            hooks.append(block.register_forward_hook(keep(f"vision.block.{i}")))
            hooks.append(
                block.register_forward_pre_hook(
                    lambda _m, a, kw, i=i: seen.update({f"cu.{i}": kw["cu_seqlens"]}), with_kwargs=True
                )
            )
    logits = model(**inputs, use_cache=False).logits[0]
    for hook in hooks:
        hook.remove()

    text_inputs = seen.pop("kw_inputs")
    position_ids = text_inputs["position_ids"]
    tensors = {
        "input_ids": inputs["input_ids"][0],
        "inputs_embeds": text_inputs["inputs_embeds"][0],
        "logits": logits if POSITIONS is None else logits[-POSITIONS:],
    }
    if "pixel_values" in inputs:
        grid = inputs["image_grid_thw"]
        expected, deltas = model.model.get_rope_index(
            inputs["input_ids"], image_grid_thw=grid, mm_token_type_ids=inputs["mm_token_type_ids"]
        )
        assert torch.equal(expected, position_ids[-3:])
        flat = torch.arange(logits.shape[0]).expand(3, 1, -1)
        one_dimensional = model(**inputs, position_ids=flat, use_cache=False).logits[0]
        assert (logits - one_dimensional).abs().max() > 0.1, "wrong positions would not show"
        cu_seqlens = [seen.pop(f"cu.{i}") for i in range(len(visual.blocks))]
        full = model.config.vision_config.fullatt_block_indexes[0] if WINDOWS else 0
        tensors |= {
            "pixel_values": inputs["pixel_values"],
            "image_grid_thw": grid,
            "vision.cu_seqlens": cu_seqlens[full].long(),
            "vision.merged": model.model.get_image_features(inputs["pixel_values"], grid).pooler_output,
        }
        if WINDOWS:
            tensors |= {
                "vision.cu_window_seqlens": cu_seqlens[0].long(),
                "vision.window_index": window_index(model, grid),
            }
        if FAMILY.name == "qwen3-vl":
            tensors["vision.embedded"] = seen.pop("embedded")
            deepstack = model.model.get_image_features(inputs["pixel_values"], grid).deepstack_features
            for i, features in enumerate(deepstack):
                tensors[f"vision.deepstack.{i}"] = torch.cat(list(features))
        if isinstance(tensors["vision.merged"], (tuple, list)):
            tensors["vision.merged"] = torch.cat(list(tensors["vision.merged"]))
    else:
        length = inputs["input_ids"].shape[1]
        position_ids, deltas = torch.arange(length).expand(3, 1, length), torch.zeros(1, 1, dtype=torch.long)
    tensors |= {"position_ids": position_ids[-3:, 0], "rope_deltas": deltas[0]}
    return tensors | seen


def window_index(model, grid):
    from transformers.vision_utils import get_vision_window_index

    vision = model.config.vision_config
    index, _ = get_vision_window_index(grid, vision.spatial_merge_size, vision.window_size, vision.patch_size)
    return index.long()


@torch.no_grad()
def generate(model, inputs, penalty):
    """Greedy tokens from `generate`, checked against a forward of the whole sequence with 3-D positions. The margin is
    the least distance between the best and the second best score."""
    plain = GenerationConfig(
        do_sample=False, max_new_tokens=NEW_TOKENS, repetition_penalty=penalty, use_cache=True, eos_token_id=None
    )
    model.generation_config = plain
    prompt = inputs["input_ids"].shape[1]
    tokens = model.generate(**inputs)[0]
    if "image_grid_thw" in inputs:
        assert model.model.rope_deltas.item() < 0, "transformers generated with 1-D positions"
    assert tokens.shape[0] == prompt + NEW_TOKENS

    model.model.rope_deltas = None
    whole = dict(inputs, input_ids=tokens[None])
    more = torch.zeros(1, NEW_TOKENS, dtype=torch.int)
    whole["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], more], 1)
    whole["attention_mask"] = torch.ones_like(whole["input_ids"])
    scores = model(**whole, use_cache=False).logits[0]
    margin = float("inf")
    for i in range(NEW_TOKENS):
        row = scores[prompt + i - 1].clone()
        used = tokens[: prompt + i].unique()
        row[used] = torch.where(row[used] > 0, row[used] / penalty, row[used] * penalty)
        best = row.topk(2)
        assert best.indices[0] == tokens[prompt + i], (i, best, tokens[prompt + i])
        margin = min(margin, (best.values[0] - best.values[1]).item())
    return tokens[prompt:], margin


if __name__ == "__main__":
    main()
