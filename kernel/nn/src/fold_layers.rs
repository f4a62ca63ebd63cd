//! Long lists of tensor names, abbreviated.

use std::collections::BTreeMap;

use tunebook_quote::quote;

/// Names that differ only in their first number are one: `model.layers.{0..35}.x`. In the order of what is around the
/// number, and cut as quotations are.
pub(crate) fn fold_layers(names: &[&str]) -> Vec<String> {
    let mut folded: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for name in names {
        let (before, number, after) = split_at_number(name);
        folded.entry((before, after)).or_default().extend(number);
    }
    let whole = |((before, after), mut numbers): ((&str, &str), Vec<usize>)| {
        numbers.sort_unstable();
        quote(&format!("{before}{}{after}", ranges(&numbers)))
    };
    folded.into_iter().map(whole).collect()
}

/// What is before and after the first part that is a number, and the number; all of it is before where there is none.
fn split_at_number(name: &str) -> (&str, Option<usize>, &str) {
    let mut start = 0;
    for part in name.split('.') {
        let end = start + part.len();
        if let Ok(number) = part.parse() {
            return (&name[..start], Some(number), &name[end..]);
        }
        start = end + 1;
    }
    (name, None, "")
}

/// Ascending numbers: `7`, `{0..35}`, `{0..3,7}`; nothing for none.
fn ranges(numbers: &[usize]) -> String {
    let runs = numbers.chunk_by(|a, b| *b <= a + 1).map(|run| match run {
        [first, .., last] => format!("{first}..{last}"),
        run => run.iter().map(usize::to_string).collect(),
    });
    let runs: Vec<_> = runs.collect();
    match numbers {
        [] | [_] => runs.concat(),
        _ => format!("{{{}}}", runs.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_one_name() {
        let names = [
            "lm_head.weight",
            "model.layers.0.a.weight",
            "model.layers.1.a.weight",
            "model.layers.1.b",
            "model.layers.10.a.weight",
            "model.layers.2.a.weight",
            "merger.mlp.0.bias",
        ];
        assert_eq!(
            fold_layers(&names),
            ["lm_head.weight", "merger.mlp.0.bias", "model.layers.{0..2,10}.a.weight", "model.layers.1.b"]
        );
        assert!(fold_layers(&[]).is_empty());
    }
}
