"""The server of a session, spoken to with OpenAI's own client.

    client.py http://127.0.0.1:8000/v1 --model BASE --model ADAPTER --picture FILE [--api-key KEY] [--prompt TEXT]
              [--too-long WORDS]

It knows nothing of the models but their names, in the order of /v1/models: what it expects of one answer it takes from
another one. `--too-long` is a number of words that is more than the models read.
"""

import argparse
import base64
import mimetypes
import sys
import threading
import unittest
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
from openai import OpenAI

CLIENTS = 64
GIVEN = argparse.Namespace()


def client(**options):
    """A client that does not ask again after an error."""
    key = GIVEN.api_key or "none is needed"
    return OpenAI(**{"base_url": GIVEN.url, "api_key": key, "max_retries": 0, "timeout": 300} | options)


def ask(messages=None, *, by=None, **options):
    """A completion, without chance unless the options say otherwise."""
    messages = messages or [{"role": "user", "content": GIVEN.prompt}]
    options = {"model": GIVEN.model[0], "temperature": 0, "max_tokens": 24} | options
    return (by or client()).chat.completions.create(messages=messages, **options)


def text_of(completion):
    return completion.choices[0].message.content


def streamed(chunks, choice=0):
    """The text, log-probabilities and reasons to finish of one choice of a stream."""
    ours = [it for chunk in chunks for it in chunk.choices if it.index == choice]
    tokens = [token for it in ours if it.logprobs for token in it.logprobs.content]
    reasons = [it.finish_reason for it in ours if it.finish_reason]
    return "".join(it.delta.content or "" for it in ours), tokens, reasons


def data_url(file):
    kind = mimetypes.guess_type(file)[0]
    return f"data:{kind};base64,{base64.b64encode(Path(file).read_bytes()).decode()}"


def shown(url, detail="auto"):
    picture = {"type": "image_url", "image_url": {"url": url, "detail": detail}}
    return [{"role": "user", "content": [picture, {"type": "text", "text": GIVEN.prompt}]}]


def get(path):
    """A path beside the API, as Prometheus or a load balancer asks for it."""
    request = urllib.request.Request(GIVEN.url.removesuffix("/v1") + path)
    if GIVEN.api_key:
        request.add_header("Authorization", f"Bearer {GIVEN.api_key}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status, answer.read().decode()


class Models(unittest.TestCase):
    def test_base_and_adapters_are_models(self):
        models = client().models.list().data
        self.assertEqual([model.id for model in models], GIVEN.model)
        for model in GIVEN.model:
            found = client().models.retrieve(model)
            self.assertEqual((found.id, found.object, found.owned_by), (model, "model", "tunebook"))

    def test_every_model_answers(self):
        for model in GIVEN.model:
            answer = ask(model=model)
            self.assertEqual(answer.model, model)
            self.assertTrue(text_of(answer), f"{model} says nothing")

    def test_another_model_is_not_found(self):
        with self.assertRaises(openai.NotFoundError) as found:
            ask(model="of-nobody")
        self.assertEqual((found.exception.code, found.exception.param), ("model_not_found", "model"))
        with self.assertRaises(openai.NotFoundError):
            client().models.retrieve("of-nobody")


class Completions(unittest.TestCase):
    def test_an_answer_without_chance_is_repeated(self):
        first, second = ask(), ask()
        self.assertEqual(text_of(first), text_of(second))
        self.assertEqual((first.object, first.choices[0].message.role), ("chat.completion", "assistant"))
        self.assertIn(first.choices[0].finish_reason, ("stop", "length"))
        usage = first.usage
        self.assertEqual(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
        self.assertGreater(usage.prompt_tokens, 0)
        self.assertTrue(1 <= usage.completion_tokens <= 24, usage)

    def test_it_is_as_long_as_asked_for(self):
        for option in ("max_tokens", "max_completion_tokens"):
            options = {"max_tokens": openai.omit, option: 2}
            answer = ask(**options)
            self.assertEqual((answer.usage.completion_tokens, answer.choices[0].finish_reason), (2, "length"), option)
            self.assertTrue(text_of(ask()).startswith(text_of(answer)), option)

    def test_a_conversation_is_read_whole(self):
        short = ask()
        messages = [
            {"role": "system", "content": "You are brief."},
            {"role": "user", "content": GIVEN.prompt},
            {"role": "assistant", "content": text_of(short)},
            {"role": "user", "content": [{"type": "text", "text": "And "}, {"type": "text", "text": "then?"}]},
        ]
        self.assertGreater(ask(messages).usage.prompt_tokens, short.usage.prompt_tokens)

    def test_a_seed_repeats_choices_by_chance(self):
        def choices(seed):
            answer = ask(temperature=2, seed=seed, n=8)
            self.assertEqual([choice.index for choice in answer.choices], list(range(8)))
            return [choice.message.content for choice in answer.choices]

        first = choices(7)
        self.assertEqual(choices(7), first)
        self.assertGreater(len(set(first)), 1, "all choices are the same")

    def test_a_stop_string_ends_it(self):
        whole = text_of(ask())
        self.assertGreater(len(whole), 5, "too short for this test")
        third = len(whole) // 3
        stop = whole[third : third + 3]
        expected = whole[: whole.index(stop)]
        for stops in (stop, ["never said by anybody", stop]):
            answer = ask(stop=stops)
            self.assertEqual((text_of(answer), answer.choices[0].finish_reason), (expected, "stop"))
            text, _, reasons = streamed(list(ask(stop=stops, stream=True)))
            self.assertEqual((text, reasons), (expected, ["stop"]))

    def test_log_probabilities_are_those_of_the_text(self):
        whole = ask(logprobs=True, top_logprobs=3)
        tokens = whole.choices[0].logprobs.content
        self.assertEqual(b"".join(bytes(token.bytes) for token in tokens).decode(), text_of(whole))
        for token in tokens:
            self.assertLessEqual(token.logprob, 0)
            top = [likely.logprob for likely in token.top_logprobs]
            self.assertEqual((len(top), top), (3, sorted(top, reverse=True)))
            self.assertEqual((token.top_logprobs[0].token, top[0]), (token.token, token.logprob), "not the likeliest")
        text, pieces, _ = streamed(list(ask(logprobs=True, top_logprobs=3, stream=True)))
        self.assertEqual(text, text_of(whole))
        self.assertEqual([token.token for token in pieces], [token.token for token in tokens])
        self.assertEqual(ask(logprobs=True).choices[0].logprobs.content[0].top_logprobs, [])

    def test_tools_are_offered(self):
        weather = {"name": "weather", "description": "The weather of a city", "parameters": {"type": "object"}}
        tools = [{"type": "function", "function": weather}]
        offered = ask(tools=tools, tool_choice="auto")
        self.assertIsInstance(text_of(offered), str)
        call = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}
        messages = [
            {"role": "user", "content": "How is the weather?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "a", "content": "Sunny"},
        ]
        self.assertIsInstance(text_of(ask(messages, tools=tools)), str)


class Streams(unittest.TestCase):
    def test_a_stream_has_the_same_text(self):
        whole = ask()
        chunks = list(ask(stream=True))
        text, _, reasons = streamed(chunks)
        self.assertEqual((text, reasons), (text_of(whole), [whole.choices[0].finish_reason]))
        self.assertEqual(len({chunk.id for chunk in chunks}), 1)
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        self.assertTrue(all(chunk.usage is None for chunk in chunks))

    def test_it_ends_with_its_usage(self):
        whole = ask(n=2)
        chunks = list(ask(n=2, stream=True, stream_options={"include_usage": True}))
        for choice in range(2):
            text, _, reasons = streamed(chunks, choice)
            self.assertEqual(text, whole.choices[choice].message.content)
            self.assertEqual(reasons, [whole.choices[choice].finish_reason])
        self.assertEqual(chunks[-1].choices, [])
        self.assertEqual(chunks[-1].usage.completion_tokens, whole.usage.completion_tokens)
        self.assertEqual(chunks[-1].usage.prompt_tokens, whole.usage.prompt_tokens)

    def test_it_may_be_left(self):
        with ask(stream=True, max_tokens=512, n=4) as chunks:
            next(iter(chunks))
        self.assertTrue(text_of(ask()))


class Pictures(unittest.TestCase):
    def test_a_picture_is_read(self):
        without = ask()
        shown_once = ask(shown(data_url(GIVEN.picture)))
        self.assertGreater(shown_once.usage.prompt_tokens, without.usage.prompt_tokens)
        again = ask(shown(data_url(GIVEN.picture), detail="low"))
        self.assertEqual(text_of(again), text_of(shown_once))

    def test_what_is_no_picture_is_refused(self):
        for url in ("data:image/png;base64,bm8gcGljdHVyZQ==", "data:image/png;base64,*", f"file://{GIVEN.picture}"):
            with self.assertRaises(openai.BadRequestError, msg=url):
                ask(shown(url))

    def test_nothing_is_fetched_for_strangers(self):
        for url in ("http://127.0.0.1:1/a.png", "http://169.254.169.254/latest/meta-data/"):
            with self.assertRaises(openai.BadRequestError, msg=url) as found:
                ask(shown(url))
            self.assertEqual(found.exception.param, "messages[0].content[0].image_url.url")


class Errors(unittest.TestCase):
    def test_what_is_wrong_is_named(self):
        for options, param in [
            ({"temperature": 3}, "temperature"),
            ({"top_p": 2}, "top_p"),
            ({"n": 0}, "n"),
            ({"stop": list("abcde")}, "stop"),
            ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
            ({"max_tokens": 0}, "max_tokens"),
            ({"frequency_penalty": 1}, "frequency_penalty"),
            ({"logit_bias": {"1": 5}}, "logit_bias"),
            ({"response_format": {"type": "json_object"}}, "response_format.type"),
            ({"tool_choice": "required", "tools": []}, "tool_choice"),
        ]:
            with self.assertRaises(openai.BadRequestError, msg=options) as found:
                ask(**options)
            self.assertEqual(found.exception.param, param)
        with self.assertRaises(openai.BadRequestError) as found:
            ask([{"role": "user", "content": "x"}, {"role": "nobody", "content": "x"}])
        self.assertEqual(found.exception.param, "messages[1].role")

    def test_a_prompt_that_is_too_long_is_refused(self):
        if GIVEN.too_long is None:
            self.skipTest("no --too-long")
        with self.assertRaises(openai.BadRequestError) as found:
            ask([{"role": "user", "content": "word " * GIVEN.too_long}])
        self.assertEqual(found.exception.code, "context_length_exceeded")

    def test_another_key_is_refused(self):
        if GIVEN.api_key is None:
            self.skipTest("no --api-key")
        for key in ("wrong", GIVEN.api_key + "x", GIVEN.api_key[:-1]):
            with self.assertRaises(openai.AuthenticationError, msg=key):
                ask(by=client(api_key=key))
            with self.assertRaises(openai.AuthenticationError, msg=key):
                client(api_key=key).models.list()
        with self.assertRaises(openai.AuthenticationError, msg="a long request"):
            ask([{"role": "user", "content": "x" * 5_000_000}], by=client(api_key="wrong"))

    def test_a_client_without_patience_gives_up(self):
        with self.assertRaises(openai.APITimeoutError):
            ask(by=client(timeout=0.001))
        self.assertTrue(text_of(ask()))


class Crowd(unittest.TestCase):
    def test_each_of_many_gets_its_own_answer(self):
        prompts = [f"{GIVEN.prompt} {number}" for number in range(4)]
        expected = [text_of(ask([{"role": "user", "content": prompt}])) for prompt in prompts]
        all_at_once = threading.Barrier(CLIENTS)

        def one(number):
            messages = [{"role": "user", "content": prompts[number % len(prompts)]}]
            by = client()
            all_at_once.wait()
            if number % 2:
                return streamed(list(ask(messages, by=by, stream=True)))[0]
            return text_of(ask(messages, by=by))

        with ThreadPoolExecutor(CLIENTS) as threads:
            answers = list(threads.map(one, range(CLIENTS)))
        for number, answer in enumerate(answers):
            self.assertEqual(answer, expected[number % len(prompts)], f"client {number}")


class Beside(unittest.TestCase):
    def test_health(self):
        self.assertEqual(get("/health")[0], 200)

    def test_metrics(self):
        def generated():
            lines = get("/metrics")[1].splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("tunebook_generation_tokens_total "))

        before = generated()
        self.assertEqual(generated() - before, 0)
        tokens = ask().usage.completion_tokens
        self.assertEqual(generated() - before, tokens)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--picture", required=True)
    parser.add_argument("--api-key")
    parser.add_argument("--prompt", default="Which creature is this, and what does it do?")
    parser.add_argument("--too-long", type=int)
    parser.parse_args(namespace=GIVEN)
    unittest.main(argv=sys.argv[:1], verbosity=2)


if __name__ == "__main__":
    main()
