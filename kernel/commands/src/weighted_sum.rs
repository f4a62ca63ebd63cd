//! `NEW=0.7*a+0.3*b`: a new adapter as the weighted sum of others.

use tunebook_quote::quote;

use crate::lang::Localized;
use crate::localized;

/// The new name, and the adapters with their weights.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WeightedSum {
    pub name: String,
    pub terms: Vec<(String, f64)>,
}

/// Reads `NAME = [SIGN] [WEIGHT *] ADAPTER [SIGN [WEIGHT *] ADAPTER]…`; blanks may stand between all of it.
///
/// An adapter may be called `default-2` or `1e-4`. Where a name can begin, the longest of `adapters` counts, so that
/// `default-2` is one while there is an adapter of that name, and `default - 2` is not.
///
/// # Errors
/// Says what is wrong, and how it is written. Whether there are such adapters is not checked.
pub(crate) fn parse(text: &str, adapters: &[String]) -> Result<WeightedSum, Localized<String>> {
    let Some((name, sum)) = text.split_once('=') else {
        return Err(localized!(
            "`{text}` has no name for the new adapter: write NEW=0.7*a+0.3*b",
            "`{text}` 没有给新适配器取名：请写 NEW=0.7*a+0.3*b",
            text = quote(text)
        ));
    };
    let name = name.trim();
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(localized!(
            "`{name}` cannot be the name of the new adapter: write one word in front of `=`",
            "`{name}` 不能作为新适配器的名称：`=` 前请写一个词",
            name = quote(name)
        ));
    }
    let mut terms: Vec<(String, f64)> = Vec::new();
    let mut rest = sum.trim();
    while !rest.is_empty() || terms.is_empty() {
        let (sign, behind) = match rest.chars().next() {
            Some('+') => (1.0, rest[1..].trim_start()),
            Some('-') => (-1.0, rest[1..].trim_start()),
            _ if terms.is_empty() => (1.0, rest),
            _ => {
                let before = &terms[terms.len() - 1].0;
                return Err(localized!(
                    "`{rest}` cannot follow `{before}`: write + or - between adapters, and a weight in front of its \
                     adapter, as in 0.7*a-0.3*b",
                    "`{before}` 之后不能是 `{rest}`：适配器之间写 + 或 -，权重写在适配器之前，如 0.7*a-0.3*b",
                    rest = quote(rest),
                    before = quote(before)
                ));
            }
        };
        let (weight, behind) = weight(behind)?;
        let Some(adapter) = adapter(behind, adapters) else {
            return Err(localized!(
                "`{behind}` is not the name of an adapter: a sum is written as 0.7*a+0.3*b, without brackets",
                "`{behind}` 不是适配器的名称：加权和写作 0.7*a+0.3*b，不用括号",
                behind = quote(behind)
            ));
        };
        terms.push((adapter.to_string(), sign * weight));
        rest = behind[adapter.len()..].trim_start();
    }
    Ok(WeightedSum { name: name.to_string(), terms })
}

/// The weight in front of an adapter, and what follows it; 1 where there is none.
fn weight(text: &str) -> Result<(f64, &str), Localized<String>> {
    let Some((number, behind)) = text.split_once('*').filter(|_| text.starts_with(is_of_number)) else {
        return Ok((1.0, text));
    };
    match number.trim().parse::<f64>() {
        Ok(weight) if weight.is_finite() => Ok((weight, behind.trim_start())),
        // The `*` may belong to a later term.
        _ if number.contains(['+', '-']) => Ok((1.0, text)),
        _ => Err(localized!(
            "`{number}` is not a weight: write a number, as in 0.7*a",
            "`{number}` 不是权重：请写一个数，如 0.7*a",
            number = quote(number.trim())
        )),
    }
}

fn is_of_number(c: char) -> bool {
    c.is_ascii_digit() || c == '.'
}

/// The adapter whose name `text` begins with.
fn adapter<'a>(text: &'a str, adapters: &[String]) -> Option<&'a str> {
    let ends = |rest: &str| rest.is_empty() || rest.starts_with(|c: char| c.is_whitespace() || c == '+' || c == '-');
    let known = adapters.iter().filter(|name| text.strip_prefix(name.as_str()).is_some_and(ends));
    let length = match known.map(String::len).max() {
        Some(length) => length,
        None => text.find(|c: char| c.is_whitespace() || "+-*/()".contains(c)).unwrap_or(text.len()),
    };
    Some(&text[..length]).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(sum: &str) -> Vec<(String, f64)> {
        let adapters = ["a", "b", "default", "default-2", "1e-4", "two words"].map(str::to_string);
        let parsed = parse(&format!("new={sum}"), &adapters).unwrap_or_else(|why| panic!("{}", why.en));
        assert_eq!(parsed.name, "new");
        parsed.terms
    }

    #[test]
    fn a_sum_has_signs_weights_and_adapters() {
        for (sum, expected) in [
            ("0.7*a+0.3*b", &[("a", 0.7), ("b", 0.3)][..]),
            (" 0.7 * a + .3 * b ", &[("a", 0.7), ("b", 0.3)]),
            ("a-b", &[("a", 1.0), ("b", -1.0)]),
            ("-a-2e-1*b", &[("a", -1.0), ("b", -0.2)]),
            ("a + a", &[("a", 1.0), ("a", 1.0)]),
            ("0.5*default", &[("default", 0.5)]),
            ("0.5*default-2-default", &[("default-2", 0.5), ("default", -1.0)]),
            ("default-2*a", &[("default", 1.0), ("a", -2.0)]),
            ("1e-4-0.5*1e-4", &[("1e-4", 1.0), ("1e-4", -0.5)]),
            ("two words+b", &[("two words", 1.0), ("b", 1.0)]),
            ("unknown-b", &[("unknown", 1.0), ("b", -1.0)]),
        ] {
            let found = terms(sum);
            let found: Vec<_> = found.iter().map(|(name, weight)| (name.as_str(), *weight)).collect();
            assert_eq!(found, expected, "{sum}");
        }
    }

    #[test]
    fn what_is_no_sum_is_answered_with_how_it_is_written() {
        for (text, part) in [
            ("0.7*a+0.3*b", "has no name for the new adapter: write NEW=0.7*a+0.3*b"),
            ("=a+b", "`` cannot be the name"),
            ("my new=a+b", "`my new` cannot be the name"),
            ("new=", "`` is not the name of an adapter"),
            ("new=a+", "`` is not the name of an adapter"),
            ("new=a++b", "`+b` is not the name of an adapter"),
            (
                "new=0.5*(a+b)",
                "`(a+b)` is not the name of an adapter: a sum is written as 0.7*a+0.3*b, without brackets",
            ),
            ("new=a*0.7", "`*0.7` cannot follow `a`: write + or - between adapters, and a weight in front"),
            ("new=a b", "`b` cannot follow `a`"),
            ("new=0.7x*a", "`0.7x` is not a weight"),
            ("new=1e999*a", "`1e999` is not a weight"),
        ] {
            let problem = parse(text, &["a".to_string(), "b".to_string()]).unwrap_err();
            assert!(problem.en.contains(part), "{text}: {}", problem.en);
        }
    }
}
