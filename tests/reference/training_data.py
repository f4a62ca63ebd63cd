"""The conversations that train.py trains on: (messages, pictures), in English and Chinese."""


def turns(*texts, system=None):
    roles = ["user", "assistant"] * (len(texts) // 2)
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
    return ([{"role": "system", "content": system}] if system else []) + messages


ENGLISH = "<image>Describe this creature."
CHINESE = "<image>请描述这只小精灵。"

# 21 samples: with one picture, without any, over two turns, with a system message of their own, short and long.
CREATURES = [
    (turns(ENGLISH, "This is a fire creature with a round red body and pointed ears."), ["creature_0.png"]),
    (turns(CHINESE, "这是一只水系小精灵,身体高高的,呈蓝色,耳朵下垂。"), ["creature_1.png"]),
    (turns("Which type likes the lake?", "A water creature lives near lakes."), []),
    (turns(ENGLISH, "A green creature. It has short ears and a thin tail."), ["creature_2.png"]),
    (turns("<image>\n它的身体是什么颜色?", "黄色。", "耳朵呢?", "耳朵尖尖的,很好看。"), ["creature_3.png"]),
    (turns(ENGLISH, "It is purple."), ["creature_4.png"]),
    (turns("你叫什么名字?", "我叫小豆,住在森林旁边的村子里。"), []),
    (turns(CHINESE, "这是一只红色的小精灵,站在草地上,尾巴细长。"), ["creature_5.png"]),
    (turns("What is in <image> this picture?", "One red creature, and the sky behind it."), ["square.png"]),
    (
        turns(
            "<image>What colour is its body?",
            "It is blue.",
            "And which type is it?",
            "A water type, with floppy ears; when night comes, it glows softly and sings to its young.",
            system="You look at pictures of little creatures.",
        ),
        ["creature_1.png"],
    ),
    (turns("Hello!", "你好!很高兴认识你。"), []),
    (turns("How are you?", "I am fine, thank you!"), []),
    (turns(CHINESE, "一只绿色的小精灵。"), ["creature_2.png"]),
    (turns(ENGLISH, "This is an electric creature with a flat yellow body and pointed ears."), ["creature_3.png"]),
    (
        turns("早上好!", "早上好,今天天气很好。", "Look: <image>", "A small purple creature with floppy ears."),
        ["creature_4.png"],
    ),
    (turns(ENGLISH, "\nA red creature with short ears."), ["creature_5.png"]),
    (turns("<image>Does it look happy?", "It looks friendly."), ["creature_0.png"]),
    (turns("比较火系和水系。", "火系在晴天更强,水系在雨天更强。"), []),
    (turns("<image>这是什么颜色的小精灵?", "蓝色的,身体扁扁的,耳朵下垂。"), ["wide.png"]),
    (turns("Count: <image>", "1"), ["creature_2.png"]),
    (
        turns("<image>Write one sentence.", "In the morning the yellow creature walked along the river."),
        ["creature_3.png"],
    ),
]

# 16 samples of two pictures, in one turn or over two.
PAIRS = []
for i in range(16):
    first, second = f"creature_{i % 6}.png", f"creature_{(i * 5 + 1) % 6}.png"
    if i % 4 == 0:
        text = turns("<image><image>Which creature is bigger?", f"The {['first', 'second'][i % 3 % 2]} one is bigger.")
    elif i % 4 == 1:
        text = turns("第一张:<image>\n第二张:<image>\n哪一只颜色更深?", "第一张的颜色更深,第二张的更亮。")
    elif i % 4 == 2:
        text = turns(
            "<image>What do you see?", "A little creature.", "<image>And here?", "Another one, with other ears."
        )
    else:
        text = turns(
            "<image>它是什么属性?", "草系。", "Now compare it with <image> please.", "它们的耳朵和尾巴不一样。"
        )
    PAIRS.append((text, [first, second]))
