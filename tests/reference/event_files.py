"""event_files.py

What stands in an event file: records as PyTorch's SummaryWriter and TensorBoard's RecordWriter write them, and their
bytes. Writes fixtures/tensorboard/records.json.
"""

import io
import json
from pathlib import Path

import tensorboard
import torch
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import scalar, text

OUT = Path(__file__).resolve().parent.parent / "fixtures" / "tensorboard" / "records.json"
TIME = 1764492705.125


def picture():
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), (200, 100, 50)).save(buffer, "png")
    return buffer.getvalue()


def summary(step, *summaries):
    values = [value for summary in summaries for value in summary.value]
    return Event(wall_time=TIME, step=step, summary=Summary(value=values))


def record(event):
    file = io.BytesIO()
    RecordWriter(file).write(event.SerializeToString())
    return file.getvalue().hex()


def main():
    png = picture()
    image = Summary.Image(height=2, width=3, colorspace=3, encoded_image_string=png)
    events = {
        "version": Event(wall_time=TIME, file_version="brain.Event:2"),
        "start": Event(wall_time=TIME, step=0, session_log=SessionLog(status=SessionLog.START)),
        "start_at_300": Event(wall_time=TIME, step=300, session_log=SessionLog(status=SessionLog.START)),
        "scalars": summary(70000, scalar("train/loss", 1.6875), scalar("train/epoch", 0.0), scalar("eval/loss", float("nan"))),
        "text": summary(0, text("probes/这是什么？", "皮卡丘 &#124; a<br>b")),
        "empty_text": summary(7, text("probes/x", "")),
        "image": summary(2, Summary(value=[Summary.Value(tag="probes/x/picture 1", image=image)])),
    }
    out = {
        "versions": {"tensorboard": tensorboard.version.VERSION, "torch": torch.__version__},
        "time": TIME,
        "png": png.hex(),
        "records": {name: record(event) for name, event in events.items()},
    }
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
