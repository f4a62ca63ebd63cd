//! Creatures, described plainly: their parts, but neither their names nor their types.

use rand_chacha::ChaCha8Rng;
use tunebook_data::creatures::{Body, Colour, Ears, Kind, Sizes, Tail, draw};
use tunebook_data::random::below;
use tunebook_demo::scene::{Language, Scene, Topic, any, sentence, turn};

pub(crate) fn creature(rng: &mut ChaCha8Rng) -> Scene {
    let kind = Kind {
        colour: any(&Colour::ALL, rng),
        ears: any(&Ears::ALL, rng),
        body: any(&Body::ALL, rng),
        tail: any(&Tail::ALL, rng),
    };
    let sizes = if below(rng, 5) == 0 { Sizes::MIXED } else { Sizes::SMALL };
    let picture = draw(kind, sizes, rng);
    let language = Language::any(rng);
    let [colour, ears, body, tail] = [kind.colour.words(), kind.ears.words(), kind.body.words(), kind.tail.words()]
        .map(|words| language.word(words));
    let turns = match language {
        Language::English => {
            let shape = body.split_once(' ').map_or(body, |(_, shape)| shape);
            let looks = format!("It has {body} {colour} body, {ears} and a {tail}.");
            let plain = format!("a {colour} creature with {ears}");
            vec![
                turn(
                    Topic::Colour,
                    any(&["What colour is it?", "Which colour is its body?"], rng),
                    sentence(language, colour),
                ),
                turn(
                    Topic::Parts,
                    any(&["What ears does it have?", "What is on its head?"], rng),
                    sentence(language, ears),
                ),
                turn(Topic::Parts, any(&["What tail does it have?", "Describe its tail."], rng), format!("A {tail}.")),
                turn(
                    Topic::Parts,
                    any(&["What shape is its body?", "Describe its body."], rng),
                    sentence(language, shape),
                ),
                turn(Topic::Parts, "What does it look like?", looks.as_str()),
                turn(
                    Topic::Caption,
                    any(&["Describe this creature.", "Describe this picture.", "What do you see?"], rng),
                    format!("This is a {colour} creature. {looks}"),
                ),
                turn(
                    Topic::Caption,
                    any(&["Who is this?", "What is its name?", "What type is it?"], rng),
                    format!("I do not know. It is {plain}."),
                ),
            ]
        }
        Language::Chinese => {
            let looks = format!("它的身体是{colour}的，{body}，有{ears}和{tail}。");
            vec![
                turn(Topic::Colour, any(&["它是什么颜色？", "它的身体是什么颜色？"], rng), sentence(language, colour)),
                turn(Topic::Parts, any(&["它有什么样的耳朵？", "它的头上有什么？"], rng), sentence(language, ears)),
                turn(Topic::Parts, any(&["它有什么样的尾巴？", "请描述它的尾巴。"], rng), sentence(language, tail)),
                turn(Topic::Parts, any(&["它的身体是什么形状？", "请描述它的身体。"], rng), sentence(language, body)),
                turn(Topic::Parts, "它长什么样子？", looks.as_str()),
                turn(
                    Topic::Caption,
                    any(&["请介绍一下图中的小精灵。", "请描述这张图片。", "你看到了什么？"], rng),
                    format!("这是一只{colour}的小精灵。{looks}"),
                ),
                turn(
                    Topic::Caption,
                    any(&["这只小精灵叫什么名字？", "它是谁？", "它是什么属性？"], rng),
                    format!("我不知道。这是一只{colour}的小精灵，长着{ears}。"),
                ),
            ]
        }
    };
    Scene { picture: Some(picture), turns }
}
