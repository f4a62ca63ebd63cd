//! Pictures of plain shapes: one somewhere, several alike, two beside each other.

use image::RgbImage;
use rand_chacha::ChaCha8Rng;
use tunebook_data::creatures::canvas::{Canvas, MIDDLE, Placement, at};
use tunebook_data::creatures::{Colour, Words};
use tunebook_data::random::{below, shuffle};

use crate::scene::{Language, Scene, Topic, any, between, sentence, turn};
use crate::shape::Shape;

/// Width and height of the pictures.
const SIDE: u32 = 112;
/// The highest number that is counted to.
pub const MOST: usize = 5;

const NUMBERS: [Words; MOST] = [
    Words { en: "one", zh: "一" },
    Words { en: "two", zh: "两" },
    Words { en: "three", zh: "三" },
    Words { en: "four", zh: "四" },
    Words { en: "five", zh: "五" },
];

/// One shape in a picture that is 100 units wide and high.
struct Item {
    shape: Shape,
    colour: Colour,
    x: f32,
    y: f32,
    radius: f32,
}

fn draw(items: &[Item], rng: &mut ChaCha8Rng) -> RgbImage {
    let placement = |x: f32, y: f32| Placement {
        center: (x / 100.0, y / 100.0),
        scale: SIDE as f32 / 100.0,
        tilt: 0.0,
        mirrored: false,
    };
    let mut canvas = Canvas::new(SIDE, SIDE, placement(50.0, 50.0));
    for item in items {
        canvas.place(Placement { tilt: between(rng, -8.0, 8.0), ..placement(item.x, item.y) });
        let shade = between(rng, 0.9, 1.06);
        let colour = item.colour.rgb().map(|value| (value * shade).min(255.0));
        canvas.fill(item.shape.outline(at(MIDDLE.x, MIDDLE.y), item.radius), colour);
    }
    canvas.into_image()
}

/// A large or small shape in the middle or in a corner.
pub fn one(rng: &mut ChaCha8Rng) -> Scene {
    const PLACES: [(f32, f32, &str, &str); 5] = [
        (0.0, 0.0, "in the middle", "正中间"),
        (-1.0, -1.0, "at the top left", "左上角"),
        (1.0, -1.0, "at the top right", "右上角"),
        (-1.0, 1.0, "at the bottom left", "左下角"),
        (1.0, 1.0, "at the bottom right", "右下角"),
    ];
    let (shape, colour, large) = (any(&Shape::ALL, rng), any(&Colour::ALL, rng), below(rng, 2) == 0);
    let (dx, dy, place_en, place_zh) = any(&PLACES, rng);
    let (radius, away) = match large {
        true => (between(rng, 22.0, 27.0), 19.0),
        false => (between(rng, 10.0, 13.0), 27.0),
    };
    let (x, y) = (50.0 + dx * away + between(rng, -3.0, 3.0), 50.0 + dy * away + between(rng, -3.0, 3.0));
    let picture = draw(&[Item { shape, colour, x, y, radius }], rng);

    let language = Language::any(rng);
    let (shape, colour) = (language.word(shape.words()), language.word(colour.words()));
    let turns = match language {
        Language::English => {
            let size = if large { "large" } else { "small" };
            vec![
                turn(Topic::Shape, any(&["What shape is it?", "Which shape is this?"], rng), format!("A {shape}.")),
                turn(Topic::Colour, colour_question(language, rng), sentence(language, colour)),
                turn(Topic::Size, "Is it large or small?", sentence(language, size)),
                turn(
                    Topic::Place,
                    any(&["Where is it?", "Where in the picture is it?"], rng),
                    sentence(language, place_en),
                ),
                turn(
                    Topic::Caption,
                    caption_question(language, rng),
                    format!("There is a {size} {colour} {shape} {place_en}."),
                ),
            ]
        }
        Language::Chinese => {
            let size = if large { "大" } else { "小" };
            vec![
                turn(Topic::Shape, any(&["它是什么形状？", "这是什么形状？"], rng), sentence(language, shape)),
                turn(Topic::Colour, colour_question(language, rng), sentence(language, colour)),
                turn(Topic::Size, "它是大的还是小的？", format!("{size}的。")),
                turn(Topic::Place, any(&["它在哪里？", "它在图中的什么位置？"], rng), sentence(language, place_zh)),
                turn(
                    Topic::Caption,
                    caption_question(language, rng),
                    format!("图中{place_zh}有一个{colour}的{size}{shape}。"),
                ),
            ]
        }
    };
    Scene { picture: Some(picture), turns }
}

/// One to five shapes that are alike, to count.
pub fn several(rng: &mut ChaCha8Rng) -> Scene {
    let (shape, colour, count) = (any(&Shape::ALL, rng), any(&Colour::ALL, rng), 1 + below(rng, MOST));
    let radius = between(rng, 10.0, 13.0);
    let mut cells: Vec<_> = (0..9).collect();
    shuffle(&mut cells, rng);
    let items: Vec<_> = cells[..count]
        .iter()
        .map(|cell| {
            let x = 20.0 + 30.0 * (cell % 3) as f32 + between(rng, -2.0, 2.0);
            let y = 20.0 + 30.0 * (cell / 3) as f32 + between(rng, -2.0, 2.0);
            Item { shape, colour, x, y, radius }
        })
        .collect();
    let picture = draw(&items, rng);

    let language = Language::any(rng);
    let number = language.word(NUMBERS[count - 1]);
    let color_word = language.word(colour.words());
    let turns = match language {
        Language::English => {
            let name = if count == 1 { shape.words().en } else { shape.plural() };
            let (are, counted) = (if count == 1 { "is" } else { "are" }, shape.plural());
            vec![
                turn(Topic::Count, format!("How many {counted} are there?"), sentence(language, number)),
                turn(
                    Topic::Count,
                    any(&["How many shapes are there?", "Count the shapes."], rng),
                    sentence(language, number),
                ),
                turn(
                    Topic::Colour,
                    any(&["What colour are they?", "Which colour do you see?"], rng),
                    sentence(language, color_word),
                ),
                turn(
                    Topic::Shape,
                    any(&["What shape are they?", "Which shape do you see?"], rng),
                    sentence(language, shape.plural()),
                ),
                turn(
                    Topic::Caption,
                    caption_question(language, rng),
                    format!("There {are} {number} {color_word} {name}."),
                ),
            ]
        }
        Language::Chinese => {
            let name = shape.words().zh;
            vec![
                turn(Topic::Count, format!("图中有几个{name}？"), format!("{number}个。")),
                turn(Topic::Count, any(&["图中有几个图形？", "数一数有几个图形。"], rng), format!("{number}个。")),
                turn(
                    Topic::Colour,
                    any(&["它们是什么颜色？", "你看到什么颜色？"], rng),
                    sentence(language, color_word),
                ),
                turn(Topic::Shape, any(&["它们是什么形状？", "你看到什么形状？"], rng), sentence(language, name)),
                turn(
                    Topic::Caption,
                    caption_question(language, rng),
                    format!("图中有{number}个{color_word}的{name}。"),
                ),
            ]
        }
    };
    Scene { picture: Some(picture), turns }
}

/// Two shapes of different form and colour, side by side or one above the other.
pub fn pair(rng: &mut ChaCha8Rng) -> Scene {
    let (mut shapes, mut colours) = (Shape::ALL, Colour::ALL);
    shuffle(&mut shapes, rng);
    shuffle(&mut colours, rng);
    let beside = below(rng, 2) == 0;
    let items: Vec<_> = [-1.0, 1.0]
        .iter()
        .zip(shapes)
        .zip(colours)
        .map(|((side, shape), colour)| {
            let (along, across) = (50.0 + side * between(rng, 22.0, 27.0), between(rng, 40.0, 60.0));
            let (x, y) = if beside { (along, across) } else { (across, along) };
            Item { shape, colour, x, y, radius: between(rng, 14.0, 18.0) }
        })
        .collect();
    let picture = draw(&items, rng);

    let language = Language::any(rng);
    let sides = match (language, beside) {
        (Language::English, true) => ["on the left", "on the right"],
        (Language::English, false) => ["at the top", "at the bottom"],
        (Language::Chinese, true) => ["左边", "右边"],
        (Language::Chinese, false) => ["上面", "下面"],
    };
    let (shape, colour) = (shapes.map(|shape| language.word(shape.words())), colours.map(|c| language.word(c.words())));
    let mut turns = Vec::new();
    for this in 0..2 {
        let (shape, colour, side) = (shape[this], colour[this], sides[this]);
        match language {
            Language::English => turns.extend([
                turn(Topic::Place, format!("What is {side}?"), format!("A {colour} {shape}.")),
                turn(Topic::Place, format!("Where is the {shape}?"), sentence(language, side)),
                turn(Topic::Place, format!("Where is the {colour} one?"), sentence(language, side)),
                turn(Topic::Colour, format!("What colour is the {shape}?"), sentence(language, colour)),
                turn(Topic::Shape, format!("What shape is the {colour} one?"), format!("A {shape}.")),
            ]),
            Language::Chinese => turns.extend([
                turn(Topic::Place, format!("{side}是什么？"), format!("{colour}的{shape}。")),
                turn(Topic::Place, format!("{shape}在哪里？"), sentence(language, side)),
                turn(Topic::Place, format!("{colour}的在哪里？"), sentence(language, side)),
                turn(Topic::Colour, format!("{shape}是什么颜色？"), sentence(language, colour)),
                turn(Topic::Shape, format!("{colour}的是什么形状？"), sentence(language, shape)),
            ]),
        }
    }
    let caption = language.pick(
        format!("A {} {} is {} and a {} {} is {}.", colour[0], shape[0], sides[0], colour[1], shape[1], sides[1]),
        format!("{}是{}的{}，{}是{}的{}。", sides[0], colour[0], shape[0], sides[1], colour[1], shape[1]),
    );
    turns.push(turn(Topic::Caption, caption_question(language, rng), caption));
    Scene { picture: Some(picture), turns }
}

fn colour_question(language: Language, rng: &mut ChaCha8Rng) -> &'static str {
    let questions =
        language.pick(["What colour is it?", "Which colour is this?"], ["它是什么颜色？", "这是什么颜色？"]);
    any(&questions, rng)
}

fn caption_question(language: Language, rng: &mut ChaCha8Rng) -> &'static str {
    let questions = language.pick(
        ["Describe this picture.", "What do you see?", "What is in this picture?"],
        ["请描述这张图片。", "你看到了什么？", "图中有什么？"],
    );
    any(&questions, rng)
}
