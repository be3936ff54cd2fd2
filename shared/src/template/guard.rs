//! What templates may say. The library that fills them counts what a template does, but not all of it: a list that has another twice in it,
//! again and again, takes for ever to be compared or written, and a long chain of operators ends the process as it is read. So of its language
//! only a part is allowed, in which no value is larger than what it is made of. Pure.

/// The longest template, in bytes, and the longest expression.
pub(super) const TEXT_LIMIT_BYTES: usize = 16 * 1024;
pub(super) const EXPRESSION_LIMIT_BYTES: usize = 4 * 1024;
/// The most words and signs between `{{` and `}}`, or in an expression: each may be a step deeper for who reads it.
const TOKENS_LIMIT: usize = 200;
/// The most `{% … %}` of a template.
const TAGS_LIMIT: usize = 100;
/// What `{% … %}` may begin with.
const TAGS: [&str; 6] = ["if", "elif", "else", "endif", "for", "endfor"];
/// Signs of two characters.
const PAIRS: [&str; 5] = ["==", "!=", "<=", ">=", "//"];

/// A word or sign of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Name(&'a str),
    /// A string, or a number.
    Literal,
    Sign(&'a str),
}

/// What is wrong with a text template, with the line where that is.
pub(super) fn text(source: &str) -> Result<(), String> {
    if source.len() > TEXT_LIMIT_BYTES {
        return Err(format!("must be at most {TEXT_LIMIT_BYTES} bytes long"));
    }
    let (mut rest, mut tags) = (source, 0_usize);
    while let Some((kind, inside)) = next_opening(rest) {
        let at = |message: String| located(source, inside, message);
        let end = match kind {
            Opening::Comment => inside.find("#}").map(|end| (end, 2)),
            Opening::Value | Opening::Tag => {
                let close = if matches!(kind, Opening::Value) { "}}" } else { "%}" };
                let (tokens, end) = tokens(inside, Some(close)).map_err(at)?;
                if matches!(kind, Opening::Tag) {
                    tags = tags.saturating_add(1);
                    tag(&tokens).map_err(at)?;
                }
                checked(&tokens).map_err(at)?;
                Some((end, 2))
            }
        };
        let Some((end, width)) = end else { return Err(located(source, inside, "a comment has no end".to_owned())) };
        rest = inside.get(end.saturating_add(width)..).unwrap_or_default();
    }
    if tags > TAGS_LIMIT {
        return Err(format!("must have at most {TAGS_LIMIT} of {{% … %}}"));
    }
    Ok(())
}

/// What is wrong with an expression.
pub(super) fn expression(source: &str) -> Result<(), String> {
    if source.len() > EXPRESSION_LIMIT_BYTES {
        return Err(format!("must be at most {EXPRESSION_LIMIT_BYTES} bytes long"));
    }
    let (tokens, _) = tokens(source, None).map_err(|message| located(source, source, message))?;
    checked(&tokens).map_err(|message| located(source, source, message))
}

#[derive(Clone, Copy)]
enum Opening {
    Value,
    Tag,
    Comment,
}

/// The next `{{`, `{%` or `{#`, and what follows it.
fn next_opening(text: &str) -> Option<(Opening, &str)> {
    text.match_indices('{').find_map(|(at, _)| {
        let rest = text.get(at.saturating_add(1)..)?;
        let kind = match rest.as_bytes().first()? {
            b'{' => Opening::Value,
            b'%' => Opening::Tag,
            b'#' => Opening::Comment,
            _ => return None,
        };
        Some((kind, rest.get(1..)?))
    })
}

fn located(source: &str, rest: &str, message: String) -> String {
    let before = source.len().saturating_sub(rest.len());
    let lines = source.get(..before).unwrap_or_default().matches('\n').count();
    format!("line {}: {message}", lines.saturating_add(1))
}

/// The words and signs up to what closes them (or the end), and where that is.
fn tokens<'a>(text: &'a str, close: Option<&str>) -> Result<(Vec<Token<'a>>, usize), String> {
    let (mut all, mut rest) = (Vec::new(), text);
    loop {
        rest = rest.trim_start();
        let at = text.len().saturating_sub(rest.len());
        let Some(first) = rest.chars().next() else {
            return close.map_or(Ok((all, at)), |close| Err(format!("{close} is missing")));
        };
        if let Some(close) = close {
            let trimmed = rest.strip_prefix(['-', '+']).filter(|trimmed| trimmed.starts_with(close));
            if rest.starts_with(close) || trimmed.is_some() {
                return Ok((all, at.saturating_add(usize::from(trimmed.is_some()))));
            }
        }
        let (token, length) = match first {
            '"' | '\'' => (Token::Literal, quoted(rest, first).ok_or("a string has no end")?),
            _ if first.is_ascii_digit() => (Token::Literal, length(rest, |c| c.is_ascii_alphanumeric() || c == '.')),
            _ if first.is_alphanumeric() || first == '_' => {
                let length = length(rest, |c| c.is_alphanumeric() || c == '_');
                (Token::Name(rest.get(..length).unwrap_or_default()), length)
            }
            _ => {
                let pair = PAIRS.iter().find(|pair| rest.starts_with(**pair));
                let length = pair.map_or(first.len_utf8(), |pair| pair.len());
                (Token::Sign(rest.get(..length).unwrap_or_default()), length)
            }
        };
        all.push(token);
        if all.len() > TOKENS_LIMIT {
            return Err(format!("an expression may have at most {TOKENS_LIMIT} words and signs"));
        }
        rest = rest.get(length..).unwrap_or_default();
    }
}

fn length(text: &str, fits: impl Fn(char) -> bool) -> usize {
    text.find(|c: char| !fits(c)).unwrap_or(text.len())
}

/// The length of the string that begins here, with its quotes.
fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Some(at.saturating_add(1)),
            _ => {}
        }
    }
    None
}

/// Whether a tag is one that is allowed.
fn tag(tokens: &[Token<'_>]) -> Result<(), String> {
    let named = tokens.iter().find(|token| !matches!(token, Token::Sign("-" | "+")));
    match named {
        Some(Token::Name(name)) if TAGS.contains(name) => {}
        _ => return Err(format!("{{% … %}} must begin with one of {}", TAGS.join(", "))),
    }
    if tokens.contains(&Token::Name("recursive")) {
        return Err("a loop must not be recursive".to_owned());
    }
    Ok(())
}

/// Refuses what makes a value that is larger than its parts: `*`, lists with anything but plain values in them, `(a, b)`, `{a: b}`.
fn checked(tokens: &[Token<'_>]) -> Result<(), String> {
    known(tokens)?;
    // Of each bracket that is open: whether commas may stand in it, and whether only plain values may.
    let mut open: Vec<(bool, bool)> = Vec::new();
    let mut before: Option<Token<'_>> = None;
    for token in tokens {
        let within = open.last().copied();
        let after_value = match before {
            Some(Token::Name(name)) => !WORDS.contains(&name),
            Some(Token::Literal | Token::Sign(")" | "]")) => true,
            Some(Token::Sign(_)) | None => false,
        };
        match token {
            Token::Sign("[") => open.push((!after_value, !after_value)),
            Token::Sign("(") => open.push((after_value, false)),
            Token::Sign("]" | ")") => {
                open.pop();
            }
            Token::Sign("*" | "{" | "}") => return Err("`*` and `{a: b}` are not allowed".to_owned()),
            Token::Sign(",") if within.is_some_and(|(commas, _)| !commas) => {
                return Err("several values in parentheses are not allowed".to_owned());
            }
            Token::Sign(",") if within.is_none() && !tokens.contains(&Token::Name("for")) => {
                return Err("several values are not allowed".to_owned());
            }
            Token::Name(name) if within.is_some_and(|(_, plain)| plain) && !PLAIN.contains(name) => {
                return Err("a list may have strings, numbers, true, false and none in it".to_owned());
            }
            Token::Sign(_) | Token::Name(_) | Token::Literal => {}
        }
        if matches!(token, Token::Sign("[" | "(")) && within.is_some_and(|(_, plain)| plain) {
            return Err("a list may have strings, numbers, true, false and none in it".to_owned());
        }
        before = Some(*token);
    }
    Ok(())
}

/// Refuses filters and tests that there are not: who fills a template would only see it then.
fn known(tokens: &[Token<'_>]) -> Result<(), String> {
    for (at, token) in tokens.iter().enumerate() {
        let back = |steps: usize| at.checked_sub(steps).and_then(|at| tokens.get(at));
        let Token::Name(name) = token else { continue };
        if back(1) == Some(&Token::Sign("|")) && !FILTERS.contains(name) {
            return Err(format!("there is no filter '{name}'; known: {}", FILTERS.join(", ")));
        }
        let is = |steps: usize| {
            back(steps) == Some(&Token::Name("is")) && back(steps.saturating_add(1)) != Some(&Token::Sign("."))
        };
        let tests = is(1) && *name != "not" || back(1) == Some(&Token::Name("not")) && is(2);
        if tests && !TESTS.contains(name) {
            return Err(format!("there is no test '{name}'; known: {}", TESTS.join(", ")));
        }
    }
    Ok(())
}

/// The filters that there are: of the library's, those that make nothing larger than what they are given.
pub(super) const FILTERS: [&str; 36] = [
    "abs",
    "attr",
    "bool",
    "capitalize",
    "count",
    "d",
    "default",
    "dictsort",
    "first",
    "float",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "sort",
    "split",
    "string",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
];
/// The tests that there are: all of the library's that have a name.
const TESTS: [&str; 36] = [
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "equalto",
    "even",
    "false",
    "float",
    "ge",
    "gt",
    "greaterthan",
    "in",
    "int",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "startingwith",
    "string",
    "true",
    "undefined",
    "upper",
    "safe",
    "escaped",
    "filter",
    "test",
];

/// Words after which a bracket begins a value, and is not about the one before.
const WORDS: [&str; 10] = ["in", "not", "and", "or", "if", "elif", "else", "is", "for", "recursive"];
const PLAIN: [&str; 6] = ["true", "false", "none", "True", "False", "None"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_is_allowed() {
        for source in [
            "",
            "plain { text } 100 % # done",
            "{{ body.a['b'][0] | default('x', true) | upper }}",
            "{# a comment with {{ x * y }} #}{{- body.x -}}",
            "{% if body.a in ['x', 'y', 1, none] and not (body.b or body.c) %}{{ '}}' }}{% else %}b{% endif %}",
            "{%- for name, value in body | items -%}{{ loop.index }}: {{ name }}={{ value | tojson }}{% endfor %}",
            "{{ body.list | map(attribute='name') | join(', ') }} {{ (body.a + 1) / 2 }} {{ 'it''s' }}",
            "{{ 'a' if body.x is defined else \"b\\\"}}\" }}",
        ] {
            assert_eq!(text(source), Ok(()), "{source}");
        }
        for source in [
            "body.action == 'opened' and body.x not in ['a']",
            "body.items",
            "body.is and body.is.nothing",
            "a is not defined",
            "headers['x-github-event'] == \"push\"",
        ] {
            assert_eq!(expression(source), Ok(()), "{source}");
        }
    }

    #[test]
    fn what_grows_is_refused_with_its_line() {
        for (source, wrong) in [
            ("\n{{ 'a' * 9 }}", "line 2: `*`"),
            ("{{ 2 ** 9 }}", "line 1: `*`"),
            ("{% set x = 1 %}", "line 1: {% … %} must begin"),
            ("{% with x = 1 %}", "line 1: {% … %} must begin"),
            ("{%- macro x() %}", "line 1: {% … %} must begin"),
            ("{% for x in y recursive %}", "line 1: a loop"),
            ("{% for x in [[y, y]] %}", "line 1: a list may"),
            ("{% for x in [y] %}", "line 1: a list may"),
            ("{% for x in (y, y) %}", "line 1: several values in"),
            ("{{ x, x }}", "line 1: several values are"),
            ("{{ (x, x) }}", "line 1: several values in"),
            ("{{ not (x, x) }}", "line 1: several values in"),
            ("{{ [x, x] == [x] }}", "line 1: a list may"),
            ("{{ ['a', ['b']] }}", "line 1: a list may"),
            ("{{ {'a': x} }}", "line 1: `*` and"),
            ("{{ f([x]) }}", "line 1: a list may"),
            ("{{ x | nothing }}", "line 1: there is no filter 'nothing'"),
            ("{{ x | batch(9) }}", "line 1: there is no filter 'batch'"),
            ("{% if x is nothing %}", "line 1: there is no test 'nothing'"),
            ("{% if x is not nothing %}", "line 1: there is no test 'nothing'"),
            ("{{ 'a", "line 1: a string has no end"),
            ("{{ a", "line 1: }} is missing"),
            ("{# a", "line 1: a comment"),
        ] {
            let said = text(source).unwrap_err();
            assert!(said.starts_with(wrong), "{source}: {said}");
        }
        let long = format!("{{{{ 1{} }}}}", "+1".repeat(100));
        assert!(text(&long).unwrap_err().contains("200 words"));
        assert!(text(&"{%if 1%}{%endif%}".repeat(51)).unwrap_err().contains("at most 100"));
        assert!(text(&"x".repeat(TEXT_LIMIT_BYTES + 1)).is_err() && expression(&"x".repeat(4097)).is_err());
        assert!(expression("x * 2").is_err() && expression("[x]").is_err() && expression("a, b").is_err());
    }
}
