"""What transformers and PEFT say to each token, in float32 on the tiny checkpoint of a family: fixtures/scores/scores.json.

labels: for some samples of training_data.py, the labels under adapter_nonzero of train.py and under the base model: of each
its id, its cross-entropy, its rank (1 + the number of likelier tokens; the least and the most that it may be, where others
are as likely up to rounding) and the five likeliest tokens with their probabilities; and the loss that the model itself
gives.
answer: a greedy answer of `generate` to a question about a picture, with the repetition penalty of the checkpoint, and of
each token, the one that ends it included, the five likeliest before the penalty.
relevance: of the same answer without its end, the gradient of the sum of the tokens' log-probabilities with respect to the
picture's features, times the features, summed over each token of the picture, in raster order; with DeepStack over the
features of all layers.
"""

import torch
from peft import PeftModel
from transformers import AutoProcessor

from common import FAMILY, TINY, dump_rows, encode_turns, model_inputs, of_family, versions
from training_data import CREATURES, PAIRS

OUT = of_family("scores")
ADAPTER = of_family("train") / "adapter_nonzero"
LIKELIEST = 5
# Logits nearer to each other than this may be in another order elsewhere.
TIE = 1e-4
NEW_TOKENS = 16
# Of creatures: one picture, none, two turns; of pairs: two pictures.
SAMPLES = [("creatures", 0), ("creatures", 2), ("creatures", 4), ("pairs", 1)]
QUESTION = ("Describe this picture in one short sentence.", "wide.png")


def main():
    OUT.mkdir(exist_ok=True)
    processor = AutoProcessor.from_pretrained(TINY)
    base = FAMILY.load(TINY, dtype=torch.float32, attn_implementation="eager").eval()
    answer = answered(base, processor)
    samples = [sample(base, processor, *where) for where in SAMPLES]
    adapted = PeftModel.from_pretrained(base, ADAPTER).eval()
    for row, where in zip(samples, SAMPLES, strict=True):
        row["adapter"] = sample(adapted, processor, *where)["base"]
    made_by = versions("torch", "transformers", "peft")
    dump_rows(OUT / "scores.json", "samples", samples, versions=made_by, answer=answer)
    print(len(answer["tokens"]), "tokens,", len(answer["relevance"]), "tokens of the picture:", answer["text"])


@torch.no_grad()
def sample(model, processor, data, index):
    messages, pictures = {"creatures": CREATURES, "pairs": PAIRS}[data][index]
    inputs = model_inputs(processor, messages, pictures)
    counts = (inputs["image_grid_thw"].prod(-1) // 4).tolist() if pictures else []
    labels = []
    for source, target in encode_turns(processor.tokenizer, messages, counts):
        labels += [-100] * len(source) + target
    labels = torch.tensor(labels)
    output = model(**inputs, labels=labels[None], use_cache=False)
    places = [place for place in range(1, len(labels)) if labels[place] != -100]
    scores = [scored(output.logits[0, place - 1], labels[place]) for place in places]
    mean = sum(score["loss"] for score in scores) / len(scores)
    assert abs(mean - output.loss.item()) < 1e-5
    return {"data": data, "index": index, "base": {"loss": output.loss.item(), "labels": scores}, "places": places}


def scored(logits, label):
    p = logits.softmax(-1)
    best = p.topk(LIKELIEST)
    return {
        "id": label.item(),
        "loss": torch.nn.functional.cross_entropy(logits, label).item(),
        "rank": [1 + int((logits > logits[label] + margin).sum()) for margin in (TIE, -TIE)],
        "likeliest": [[i.item(), q.item()] for q, i in zip(best.values, best.indices, strict=True)],
    }


def answered(model, processor):
    question, picture = QUESTION
    inputs = model_inputs(processor, [{"role": "user", "content": "<image>" + question}], [picture])
    prompt = inputs["input_ids"].shape[1]
    with torch.no_grad():
        tokens = model.generate(**inputs, do_sample=False, max_new_tokens=NEW_TOKENS, temperature=None)[0]
    model.model.rope_deltas = None
    more = len(tokens) - prompt
    whole = dict(inputs, input_ids=tokens[None], attention_mask=torch.ones_like(tokens[None]))
    whole["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros(1, more, dtype=torch.int)], 1)
    features = features_as_leaves(model)
    logits = model(**whole, use_cache=False).logits[0]
    scores = [scored(logits[prompt + i - 1].detach(), tokens[prompt + i]) for i in range(more)]
    said = [i for i in range(more) if tokens[prompt + i].item() not in model.generation_config.eos_token_id]
    log_p = logits.log_softmax(-1)
    sum(log_p[prompt + i - 1, tokens[prompt + i]] for i in said).backward()
    relevance = sum((leaf.grad * leaf.detach()).sum(-1) for leaf in features)
    return {
        "question": question,
        "image": picture,
        "repetition_penalty": model.generation_config.repetition_penalty,
        "max_new_tokens": NEW_TOKENS,
        "text": processor.tokenizer.decode(tokens[prompt:], skip_special_tokens=True),
        "tokens": scores,
        "grid": inputs["image_grid_thw"][0].tolist(),
        "relevance": relevance.tolist(),
    }


def features_as_leaves(model):
    """What the model makes of pictures gets gradients from now on; gives the list of these tensors after the next pass."""
    own, leaves = model.model.get_image_features, []

    def leaf(tensor):
        leaves.append(tensor.detach().clone().requires_grad_())
        return leaves[-1]

    def features(*args, **kwargs):
        output = own(*args, **kwargs)
        output.pooler_output = tuple(leaf(part) for part in output.pooler_output)
        if FAMILY.name == "qwen3-vl":
            output.deepstack_features = [tuple(leaf(part) for part in layer) for layer in output.deepstack_features]
        return output

    model.model.get_image_features = features
    return leaves


if __name__ == "__main__":
    main()
