//! The descriptions of a creature, in English and Chinese.

use super::kind::Kind;

/// A conversation about the picture of `kind`: question, answer, question, answer … The form changes with `form`,
/// so that a dataset has captions and questions in both languages in turn.
pub(super) fn conversation(kind: Kind, form: usize) -> Vec<String> {
    let (colour, element) = (kind.colour.words(), kind.colour.element());
    let (ears, body, tail, temper) = (kind.ears.words(), kind.body.words(), kind.tail.words(), kind.tail.temper());
    let (name_en, name_zh) = (kind.name_en(), kind.name_zh());
    match form % 6 {
        0 => vec![
            "<image>请介绍一下图中的小精灵。".to_owned(),
            format!(
                "这是{name_zh}，一只{}系小精灵。它有{}的身体，颜色是{}，长着{}和{}，性格{}。",
                element.zh, body.zh, colour.zh, ears.zh, tail.zh, temper.zh
            ),
        ],
        1 => vec![
            "<image>Describe this creature.".to_owned(),
            format!(
                "This is {name_en}, a creature of the {} type. It has {} {} body, {} and a {}. It is {}.",
                element.en, body.en, colour.en, ears.en, tail.en, temper.en
            ),
        ],
        2 => vec![
            "<image>这只小精灵叫什么名字？".to_owned(),
            format!("它叫{name_zh}。"),
            "它是什么属性？你怎么知道的？".to_owned(),
            format!("它是{}系，因为它是{}的。", element.zh, colour.zh),
        ],
        3 => vec![
            "<image>Who is this?".to_owned(),
            format!("This is {name_en}."),
            "What type is it, and how can you tell?".to_owned(),
            format!("It is of the {} type, because it is {}.", element.en, colour.en),
        ],
        4 => vec![
            "<image>它长什么样子？".to_owned(),
            format!("它的身体是{}的，{}，有{}和{}。", colour.zh, body.zh, ears.zh, tail.zh),
            "它的性格怎么样？".to_owned(),
            format!("它有{}，所以性格{}。", tail.zh, temper.zh),
        ],
        _ => vec![
            "<image>What does it look like?".to_owned(),
            format!("It has {} {} body, {} and a {}.", body.en, colour.en, ears.en, tail.en),
            "What is its temper?".to_owned(),
            format!("It has a {}, so it is {}.", tail.en, temper.en),
        ],
    }
}
