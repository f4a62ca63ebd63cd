//! The kinds of creatures, and the rules by which their parts determine name, type and temper.

/// A creature's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    pub colour: Colour,
    pub ears: Ears,
    pub body: Body,
    pub tail: Tail,
}

/// Decides the type and the first syllable of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Red,
    Yellow,
    Green,
    Blue,
    Purple,
    Pink,
    Brown,
    Grey,
}

/// Decides the second syllable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ears {
    Pointed,
    Round,
    Long,
    Floppy,
    Antennae,
}

/// Decides the last syllable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Round,
    Egg,
    Square,
    Pear,
}

/// Decides the temper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    Curly,
    Bushy,
    Zigzag,
    Puffy,
}

/// The same in English and in Chinese.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    pub en: &'static str,
    pub zh: &'static str,
}

const fn words(en: &'static str, zh: &'static str) -> Words {
    Words { en, zh }
}

impl Kind {
    /// How many kinds differ in more than their tail.
    pub const COUNT: usize = Colour::ALL.len() * Ears::ALL.len() * Body::ALL.len();

    /// Whether this kind is kept out of the training set. Every colour, ear and body is seen in training, but not
    /// in these combinations: whoever names them has learned the rules, not the creatures.
    pub fn is_held_out(&self) -> bool {
        (self.colour as usize + 2 * self.ears as usize + 3 * self.body as usize).is_multiple_of(5)
    }

    /// Such as `Emkibo`.
    pub fn name_en(&self) -> String {
        [self.colour.syllable().en, self.ears.syllable().en, self.body.syllable().en].concat()
    }

    /// Such as `焰尖团`.
    pub fn name_zh(&self) -> String {
        [self.colour.syllable().zh, self.ears.syllable().zh, self.body.syllable().zh].concat()
    }

    /// Kind number `index` of [`Kind::COUNT`], with a tail.
    pub fn nth(index: usize, tail: Tail) -> Self {
        let (rest, colour) = (index / Colour::ALL.len(), index % Colour::ALL.len());
        let (body, ears) = (rest / Ears::ALL.len() % Body::ALL.len(), rest % Ears::ALL.len());
        Self { colour: Colour::ALL[colour], ears: Ears::ALL[ears], body: Body::ALL[body], tail }
    }
}

impl Colour {
    /// Every one.
    pub const ALL: [Self; 8] =
        [Self::Red, Self::Yellow, Self::Green, Self::Blue, Self::Purple, Self::Pink, Self::Brown, Self::Grey];

    /// Red, green and blue of its body, 0 to 255.
    pub fn rgb(self) -> [f32; 3] {
        match self {
            Self::Red => [238.0, 92.0, 78.0],
            Self::Yellow => [252.0, 208.0, 72.0],
            Self::Green => [122.0, 196.0, 104.0],
            Self::Blue => [96.0, 158.0, 236.0],
            Self::Purple => [158.0, 120.0, 214.0],
            Self::Pink => [250.0, 164.0, 196.0],
            Self::Brown => [174.0, 128.0, 92.0],
            Self::Grey => [166.0, 174.0, 186.0],
        }
    }

    /// What it is called.
    pub fn words(self) -> Words {
        match self {
            Self::Red => words("red", "红色"),
            Self::Yellow => words("yellow", "黄色"),
            Self::Green => words("green", "绿色"),
            Self::Blue => words("blue", "蓝色"),
            Self::Purple => words("purple", "紫色"),
            Self::Pink => words("pink", "粉色"),
            Self::Brown => words("brown", "棕色"),
            Self::Grey => words("grey", "灰色"),
        }
    }

    /// The type of creatures of this colour.
    pub fn element(self) -> Words {
        match self {
            Self::Red => words("fire", "火"),
            Self::Yellow => words("electric", "电"),
            Self::Green => words("grass", "草"),
            Self::Blue => words("water", "水"),
            Self::Purple => words("ghost", "幽灵"),
            Self::Pink => words("fairy", "妖精"),
            Self::Brown => words("rock", "岩石"),
            Self::Grey => words("steel", "钢"),
        }
    }

    /// What it gives to the name.
    pub fn syllable(self) -> Words {
        match self {
            Self::Red => words("Em", "焰"),
            Self::Yellow => words("Vol", "雷"),
            Self::Green => words("Fer", "叶"),
            Self::Blue => words("Mar", "浪"),
            Self::Purple => words("Noc", "夜"),
            Self::Pink => words("Ros", "樱"),
            Self::Brown => words("Ter", "岩"),
            Self::Grey => words("Zin", "铁"),
        }
    }
}

impl Ears {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Pointed, Self::Round, Self::Long, Self::Floppy, Self::Antennae];

    /// What they are called.
    pub fn words(self) -> Words {
        match self {
            Self::Pointed => words("pointed ears", "尖耳朵"),
            Self::Round => words("round ears", "圆耳朵"),
            Self::Long => words("long ears", "长耳朵"),
            Self::Floppy => words("floppy ears", "垂耳朵"),
            Self::Antennae => words("antennae", "触角"),
        }
    }

    /// What it gives to the name.
    pub fn syllable(self) -> Words {
        match self {
            Self::Pointed => words("ki", "尖"),
            Self::Round => words("mo", "圆"),
            Self::Long => words("ra", "长"),
            Self::Floppy => words("lu", "垂"),
            Self::Antennae => words("zi", "须"),
        }
    }
}

impl Body {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Round, Self::Egg, Self::Square, Self::Pear];

    /// With its article in English.
    pub fn words(self) -> Words {
        match self {
            Self::Round => words("a round", "圆滚滚"),
            Self::Egg => words("an egg-shaped", "鸡蛋形"),
            Self::Square => words("a square", "方方正正"),
            Self::Pear => words("a pear-shaped", "梨形"),
        }
    }

    /// What it gives to the name.
    pub fn syllable(self) -> Words {
        match self {
            Self::Round => words("bo", "团"),
            Self::Egg => words("lin", "蛋"),
            Self::Square => words("dor", "砖"),
            Self::Pear => words("pu", "梨"),
        }
    }
}

impl Tail {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Curly, Self::Bushy, Self::Zigzag, Self::Puffy];

    /// What it is called.
    pub fn words(self) -> Words {
        match self {
            Self::Curly => words("curly tail", "卷尾巴"),
            Self::Bushy => words("bushy tail", "大尾巴"),
            Self::Zigzag => words("zigzag tail", "闪电尾巴"),
            Self::Puffy => words("puffy tail", "绒球尾巴"),
        }
    }

    /// The temper of creatures with this tail.
    pub fn temper(self) -> Words {
        match self {
            Self::Curly => words("playful", "调皮"),
            Self::Bushy => words("gentle", "温柔"),
            Self::Zigzag => words("quick", "敏捷"),
            Self::Puffy => words("shy", "害羞"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_out_kinds_are_new_combinations_of_known_parts() {
        let kinds: Vec<_> = (0..Kind::COUNT).map(|index| Kind::nth(index, Tail::Curly)).collect();
        let names: std::collections::HashSet<_> = kinds.iter().map(Kind::name_en).collect();
        assert_eq!(names.len(), Kind::COUNT);
        for held_out in [false, true] {
            let some: Vec<_> = kinds.iter().filter(|kind| kind.is_held_out() == held_out).collect();
            for colour in Colour::ALL {
                assert!(some.iter().any(|kind| kind.colour == colour), "{colour:?} {held_out}");
            }
            for ears in Ears::ALL {
                assert!(some.iter().any(|kind| kind.ears == ears), "{ears:?} {held_out}");
            }
            for body in Body::ALL {
                assert!(some.iter().any(|kind| kind.body == body), "{body:?} {held_out}");
            }
        }
    }

    #[test]
    fn a_name_follows_from_the_parts() {
        let kind = Kind { colour: Colour::Red, ears: Ears::Pointed, body: Body::Round, tail: Tail::Bushy };
        assert_eq!((kind.name_en().as_str(), kind.name_zh().as_str()), ("Emkibo", "焰尖团"));
    }
}
