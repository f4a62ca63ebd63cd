"""events.py RUN: what the real TensorBoard reads of a run, as JSON; by what its web page reads with, which forgets also
texts and pictures of steps that were undone.

scalars  tag -> [step, value]
texts    tag -> [step, text]
images   tag -> [step, width, height], as the file in it says"""

import io
import json
import sys

from PIL import Image
from tensorboard.backend.event_processing.plugin_event_accumulator import DEFAULT_SIZE_GUIDANCE, EventAccumulator
from tensorboard.util import tensor_util


def number(tensor):
    return tensor_util.make_ndarray(tensor).item()


def text(tensor):
    return tensor.string_val[0].decode()


def size(tensor):
    width, height, *files = tensor.string_val
    (size,) = {Image.open(io.BytesIO(file)).size for file in files}
    assert size == (int(width), int(height)), size
    return size


def main(run):
    # Nothing is left out of what it samples otherwise.
    everything = {kind: 0 for kind in DEFAULT_SIZE_GUIDANCE}
    events = EventAccumulator(run, size_guidance=everything).Reload()

    def tags(plugin, value):
        found = events.PluginTagToContent(plugin) if plugin in events.ActivePlugins() else {}
        return {tag: [(event.step, value(event.tensor_proto)) for event in events.Tensors(tag)] for tag in found}

    images = tags("images", size)
    out = dict(
        scalars=tags("scalars", number),
        texts=tags("text", text),
        images={tag: [(step, *size) for step, size in points] for tag, points in images.items()},
    )
    print(json.dumps(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
