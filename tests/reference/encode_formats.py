"""How LLaMA-Factory reads records: fixtures/encode. (Virtual environment of requirements-llamafactory.txt.)

formats.json      cases: a dataset_info.json entry, the name of its file and the file's text (or the name of a fixture), and
                  what the converter makes of each record: messages, system, tools, images; null where LLaMA-Factory
                  drops it. tools: [tools, their prompt]. calls: [a function message, as the model writes it]
pictures.parquet  records with pictures in them, as structs of bytes and path
codecs.parquet    a column for every way to compress a Parquet file
"""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from llamafactory.data.formatter import FunctionFormatter, ToolFormatter
from llamafactory.data.loader import _get_merged_dataset

from common import FIXTURES, PICTURES, dump, versions
from encode import arguments

OUT = FIXTURES / "encode"

WEATHER = {
    "name": "weather",
    "description": "Tells the weather. 天气",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "maximum": 1.0}}},
}
TOOLS = json.dumps([WEATHER], ensure_ascii=False)
CALL = json.dumps({"name": "weather", "arguments": {"city": "北京", "days": 2}}, ensure_ascii=False)
OPENAI_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "function_tag": "function",
    "system_tag": "system",
}


def say(*texts):
    return [dict(zip(("from", "value"), pair)) for pair in zip(texts[::2], texts[1::2])]


def openai(*texts):
    return [dict(zip(("role", "content"), pair)) for pair in zip(texts[::2], texts[1::2])]


def tool_calls(*functions):
    calls = [{"type": "function", "id": f"call_{i}", "function": f} for i, f in enumerate(functions)]
    return {"role": "assistant", "content": None, "tool_calls": calls}


FUNCTION = {"name": "weather", "arguments": '{"city": "北京"}'}
CASES = {
    "alpaca": (
        {},
        [
            {"instruction": "Add.", "input": "1 + 1", "output": "2"},
            {"instruction": "Say hello.", "input": "", "output": "Hello!"},
            {"instruction": "Say hello.", "input": None, "output": ""},
            {"instruction": "", "input": "你好", "output": "你好!"},
            {"instruction": "Unanswered.", "input": "", "output": None},
        ],
    ),
    "alpaca_columns": (
        {
            "columns": {
                "prompt": "question", "query": "more", "response": "answer", "history": "before", "system": "role",
                "tools": "tools", "images": "pictures",
            }
        },
        [
            {
                "question": "<image>And this?", "more": "In one word.", "answer": "A fox.", "role": "Be brief.",
                "before": [["Hello!", "Hi!"], ["<image>Which is it?", "A cat."]], "tools": TOOLS,
                "pictures": ["wide.png", "tall.png"],
            },
            {"question": "Alone.", "more": None, "answer": "Yes.", "role": None, "before": [], "tools": "", "pictures": []},
            {"question": "<image>", "more": None, "answer": "A.", "role": "", "before": None, "tools": None, "pictures": ["icon.png"]},
        ],
    ),
    "alpaca_one_picture": (
        {"columns": {"prompt": "q", "response": "a", "images": "picture"}},
        [{"q": "<image>Which?", "a": "This.", "picture": "wide.png"}, {"q": "None?", "a": "None.", "picture": None}],
    ),
    "sharegpt_tools": (
        {"formatting": "sharegpt", "columns": {"messages": "conversations", "system": "system", "tools": "tools"}},
        [
            {
                "conversations": say("human", "How is 北京?", "function_call", CALL, "observation", '{"sky": "blue"}', "gpt", "Fine."),
                "system": "Be kind.", "tools": TOOLS,
            },
            {"conversations": say("system", "First.", "human", "Q", "gpt", "A"), "system": "Column.", "tools": ""},
            {"conversations": say("human", "Q", "observation", "A"), "system": "", "tools": ""},
            {"conversations": say("human", "Q", "gpt", "A", "human", "Q"), "system": "", "tools": ""},
            {"conversations": say("gpt", "A", "human", "Q"), "system": "", "tools": ""},
            {"conversations": say("human", "Q", "function_call", CALL), "system": None, "tools": None},
        ],
    ),
    "openai": (
        {"formatting": "openai", "columns": {"messages": "messages", "tools": "tools"}, "tags": OPENAI_TAGS},
        [
            {"messages": openai("user", "Q", "assistant", "A"), "tools": None},
            {"messages": openai("system", "Be kind.", "user", "Q", "assistant", "A"), "tools": ""},
            {"messages": openai("system", "detailed thinking on", "user", "Q", "assistant", "A"), "tools": None},
            {
                "messages": openai("system", "Be kind.", "user", "Q")
                + [tool_calls(FUNCTION, FUNCTION)]
                + openai("tool", "rain", "tool", "sun", "assistant", "Mixed."),
                "tools": TOOLS,
            },
            {"messages": openai("user", "Q") + [tool_calls(FUNCTION)] + openai("tool", "rain"), "tools": TOOLS},
            {"messages": openai("user", "Q", "user", "Q"), "tools": None},
        ],
    ),
}  # fmt: skip

# What json.dumps writes and json.loads or pandas read, though it is no JSON.
PYTHON_JSON = (
    '[{"instruction": "Half a pair \\ud83d here.", "input": "A whole one: \\ud83d\\ude00", "output": "NaN", "score": NaN},\n'
    ' {"instruction": "A tab\tand a line\nfeed.", "input": null, "output": "-Infinity\x01", "score": -Infinity},\n'
    ' {"instruction": "C:\\\\ud83d", "input": "", "output": "\x7f", "score": Infinity}]'
)
PYTHON_JSONL = '\ufeff{"instruction": "你好", "input": "", "output": "NaN", "score": NaN}\n{"instruction": "Q", "input": "", "output": "A", "score": Infinity}\n'
CODEC_COLUMNS = {"prompt": "zstd", "query": "gzip", "response": "brotli", "system": "lz4", "tools": "snappy", "images": "none"}

CSV = 'instruction,input,output\nAdd.,1 + 1,two\n"Say ""hi"", please.",,"Hi,\nthere!"\nNothing.,,\n'

FUNCTION_MESSAGES = [
    CALL,
    f"[{CALL}, {CALL}]",
    '{"arguments": {}, "more": 1, "name": "f"}',
    '{"name": "f", "arguments": "{\\"a\\": 1}"}',
    '{"name": "f", "arguments": {"a": [1.0, 1e-7, true, null, "é\\n\\u0001"]}}',
    f"<think>\nI should look.\n</think>\n\n{CALL}",
    f"Let me see.\n<tool_call>\n{CALL}\n</tool_call> That is it.",
]
TOOL_LISTS = [
    TOOLS,
    "[]",
    json.dumps([WEATHER, {"type": "function", "function": {"name": "f"}}]),
    json.dumps([{"type": "object", "name": "g"}]),
]


def main():
    OUT.mkdir(exist_ok=True)
    cases = [case(name, entry, "data.json", json.dumps(records, ensure_ascii=False)) for name, (entry, records) in CASES.items()]
    lines = "\n".join(json.dumps(record) for record in CASES["alpaca"][1]) + "\n"
    cases.append(case("jsonl", {}, "data.jsonl", lines))
    cases.append(case("csv", {}, "data.csv", CSV))
    cases.append(case("python_json", {}, "data.json", PYTHON_JSON))
    cases.append(case("python_jsonl", {}, "data.jsonl", PYTHON_JSONL))
    cases.append(case("marked_csv", {}, "data.csv", "\ufeff" + CSV))
    write_codecs()
    cases.append(case("codecs", {"columns": {column: column for column in CODEC_COLUMNS}}, "codecs.parquet", None))
    write_parquet()
    entry = {"formatting": "sharegpt", "columns": {"messages": "messages", "images": "images"}}
    cases.append(case("parquet", entry, "pictures.parquet", None))
    call, tool = FunctionFormatter(slots=["{{content}}"], tool_format="qwen"), ToolFormatter(tool_format="qwen")
    marks = {"thought_words": ("<think>\n", "\n</think>\n\n"), "tool_call_words": ("<tool_call>", "</tool_call>")}
    dump(
        OUT / "formats.json",
        {
            "versions": versions("llamafactory", "datasets", "pandas", "pyarrow"),
            "cases": cases,
            "tools": [{"tools": tools, "prompt": tool.apply(content=tools)[0]} for tools in TOOL_LISTS],
            "calls": [{"content": text, "text": call.apply(content=text, **marks)[0]} for text in FUNCTION_MESSAGES],
        },
    )


def case(name, entry, file_name, text):
    with tempfile.TemporaryDirectory() as folder:
        if text is None:
            shutil.copy(OUT / file_name, folder)
        else:
            Path(folder, file_name).write_text(text)
        info = {"data": {"file_name": file_name, **entry}}
        Path(folder, "dataset_info.json").write_text(json.dumps(info))
        model_args, data_args, training_args, *_ = arguments(folder)
        rows = [converted(row) for row in _get_merged_dataset(["data"], model_args, data_args, training_args, "sft")]
    return {"name": name, "entry": entry, "file": file_name, "text": text, "samples": rows}


def converted(row):
    if len(row["_prompt"]) % 2 != 1 or len(row["_response"]) != 1:
        return None
    messages = [[message["role"], message["content"]] for message in row["_prompt"] + row["_response"]]
    images = [picture(image) for image in row["_images"] or []]
    return {"messages": messages, "system": row["_system"] or "", "tools": row["_tools"] or "", "images": images}


def picture(image):
    """The file name, or the hash of a picture that lies in the data set itself."""
    if isinstance(image, str):
        return Path(image).name
    return hashlib.sha1(image["bytes"]).hexdigest() if image["bytes"] else image["path"]


def write_codecs():
    """Rows enough that every codec has something to find."""
    rows = [
        {
            "prompt": f"<image>Question {i}: which of these creatures lives in the water?", "query": f"Look at row {i}. 看第{i}行。",
            "response": f"The blue one, number {i}.", "system": "Be brief." if i % 2 else None, "tools": "",
            "images": ["wide.png" if i % 3 else "tall.png"],
        }
        for i in range(12)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), OUT / "codecs.parquet", compression=CODEC_COLUMNS | {"images.list.element": "none"})


def write_parquet():
    def struct(name, inside=True):
        return {"bytes": (PICTURES / name).read_bytes() if inside else None, "path": name}

    messages = [say("human", text, "gpt", "Yes.") for text in ("<image>Is it?", "<image><image>Are they?", "Nothing?")]
    images = [[struct("icon.png")], [struct("square.png"), struct("wide.png", inside=False)], []]
    table = Dataset.from_dict({"messages": messages, "images": images}).to_pandas()
    table.to_parquet(OUT / "pictures.parquet")


if __name__ == "__main__":
    main()
