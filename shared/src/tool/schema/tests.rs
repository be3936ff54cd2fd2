//! Schemas as agents have them, and schemas that are made to do harm.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, in its helper functions too, and may print"
)]

use std::time::{Duration, Instant};

use serde_json::json;

use super::*;

/// Longer than anything here may take, even where nothing is optimised and other tests run beside it.
const PATIENCE: Duration = Duration::from_secs(5);

fn weather() -> Value {
    json!({
        "type": "object",
        "properties": {
            "city": {"type": "string", "minLength": 1, "pattern": "^[^;]+$"},
            "days": {"type": "integer", "minimum": 1, "maximum": 14},
            "unit": {"enum": ["c", "f"]},
            "near": {"type": "array", "items": {"$ref": "#/$defs/place"}},
        },
        "required": ["city"],
        "additionalProperties": false,
        "$defs": {"place": {"type": "object", "properties": {"lat": {"type": "number"}}, "required": ["lat"]}},
    })
}

fn with(name: &str, schema: Value) -> Value {
    json!({"type": "object", "properties": {name: schema}})
}

fn refused(schema: &Value) -> String {
    let begun = Instant::now();
    let why = check(schema).expect_err("accepted");
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    why
}

#[test]
fn arguments_are_what_the_schema_says() {
    let schema = weather();
    check(&schema).unwrap();
    let read = arguments(&schema, r#" {"city": "Graz", "days": 3, "near": [{"lat": 47.1}]} "#).unwrap();
    assert_eq!(Value::Object(read), json!({"city": "Graz", "days": 3, "near": [{"lat": 47.1}]}));
    assert_eq!(arguments(&json!({"type": "object"}), " \n").unwrap(), Map::new());
    for (text, said) in [
        ("", "\"city\" is a required property"),
        (r#"{"city": 5}"#, "/city: 5 is not of type \"string\""),
        (r#"{"city": "a", "days": 15}"#, "/days: 15 is greater than the maximum of 14"),
        (r#"{"city": "a", "unit": "k"}"#, "/unit: \"k\" is not one of \"c\" or \"f\""),
        (r#"{"city": "a;b"}"#, "/city: \"a;b\" does not match \"^[^;]+$\""),
        (r#"{"city": "a", "near": [{"lat": 1}, {}]}"#, "/near/1: \"lat\" is a required property"),
        (r#"{"city": "a", "town": 1}"#, "Additional properties are not allowed ('town' was unexpected)"),
    ] {
        assert_eq!(arguments(&schema, text).unwrap_err(), said, "{text}");
    }
    let several = arguments(&schema, r#"{"city": "", "days": 0, "unit": 1}"#).unwrap_err();
    assert_eq!(several.lines().count(), 4, "{several}");
}

#[test]
fn what_is_no_json_object_is_never_arguments() {
    let schema = json!({"type": "object"});
    for (text, said) in [
        ("{", "the arguments are not valid JSON: EOF while parsing an object at line 1 column 1"),
        ("{} x", "the arguments are not valid JSON: trailing characters at line 1 column 4"),
        ("{}{}", "the arguments are not valid JSON: trailing characters at line 1 column 3"),
        (r#"{"a":1,"a":1}"#, "the arguments are not valid JSON: the key \"a\" is there twice at line 1 column 10"),
        (
            r#"{"b":[{"a":1,"a":2}]}"#,
            "the arguments are not valid JSON: the key \"a\" is there twice at line 1 column 16",
        ),
        (r#"{"a":NaN}"#, "the arguments are not valid JSON: expected value at line 1 column 6"),
        (r#"{"a":Infinity}"#, "the arguments are not valid JSON: expected value at line 1 column 6"),
        (r#"{"a":1e999}"#, "the arguments are not valid JSON: number out of range at line 1 column 10"),
        ("{'a':1}", "the arguments are not valid JSON: key must be a string at line 1 column 2"),
        ("null", "the arguments must be a JSON object"),
        ("[]", "the arguments must be a JSON object"),
        ("\"{}\"", "the arguments must be a JSON object"),
    ] {
        let told = arguments(&schema, text).unwrap_err();
        let column = |told: &str| told.split(" at line").next().unwrap().to_owned();
        assert_eq!(column(&told), column(said), "{text}");
    }
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    assert!(arguments(&schema, &deep).unwrap_err().contains("recursion limit"));
    assert!(arguments(&schema, &format!("{{\"a\":\"{}\"}}", "x".repeat(ARGUMENTS_LIMIT_BYTES))).is_err());
    let read = arguments(&schema, r#"{"a":[null,true,-1,18446744073709551615,1.5,"\u00e9"]}"#).unwrap();
    assert_eq!(Value::Object(read), json!({"a": [null, true, -1, u64::MAX, 1.5, "\u{e9}"]}));
}

#[test]
fn a_model_is_told_little_at_a_time() {
    let schema = with("list", json!({"type": "array", "items": {"type": "integer"}}));
    let told = validate(&schema, &json!({"list": vec!["x".repeat(1_000); 50]})).unwrap_err();
    let each = (0..5).map(|at| format!("/list/{at}: the value is not of type \"integer\""));
    assert_eq!(told, each.collect::<Vec<_>>());
    let long = with("x", json!({"enum": (0..100).collect::<Vec<_>>()}));
    let told = validate(&long, &json!({"x": "y".repeat(80)})).unwrap_err();
    assert!(told[0].starts_with("/x: the value is not one of 0, 1"), "{told:?}");
    let none = json!({"type": "object", "additionalProperties": false});
    let told = validate(&none, &json!({"a": 1})).unwrap_err();
    assert_eq!(told, ["only properties that the schema names are allowed"]);
    let unknown = json!({"type": "object", "properties": {"a": {}}, "additionalProperties": false});
    let told = validate(&unknown, &json!({"z".repeat(1_000): 1})).unwrap_err();
    assert!(told[0].ends_with('\u{2026}') && told[0].chars().count() == 300, "{told:?}");
    assert!(refused(&with("x", json!({"enum": [], "type": "y".repeat(5_000)}))).chars().count() <= 300);
}

#[test]
fn what_is_no_schema_of_an_object_is_refused() {
    for schema in
        [json!(null), json!(true), json!([]), json!({}), json!({"type": "array"}), json!({"type": ["object"]})]
    {
        assert!(refused(&schema).contains("\"type\": \"object\""), "{schema}");
    }
    for (schema, said) in [
        (json!({"type": "text"}), "/type"),
        (json!({"required": "a"}), "/required"),
        (json!({"properties": 5}), "/properties"),
        (json!({"minimum": "1"}), "/minimum"),
        (json!({"pattern": "("}), "/pattern"),
        (json!({"items": 5}), ""),
        (json!({"$schema": "https://json-schema.org/draft/2020-12/schema"}), "$schema"),
        (json!({"$id": "https://example.com/"}), "$id"),
        (json!({"$dynamicRef": "#a"}), "$dynamicRef"),
    ] {
        let why = refused(&with("a", schema.clone()));
        assert!(why.contains(said), "{schema}: {why}");
    }
    assert!(
        refused(&json!({"type": "object", "$schema": "http://json-schema.org/draft-04/schema#"})).contains("$schema")
    );
    let older = json!({
        "$schema": "http://json-schema.org/draft-07/schema#", "$id": "https://example.com/a", "type": "object",
        "properties": {"a": {"$ref": "#/definitions/b"}}, "definitions": {"b": {"items": [{"type": "string"}]}},
    });
    check(&older).unwrap();
    assert!(validate(&older, &json!({"a": [1]})).is_err());
}

#[test]
fn a_schema_is_neither_too_large_nor_too_deep() {
    let nested = |levels| (0..levels).fold(json!({"type": "string"}), |inner, _| json!({"not": inner}));
    check(&with("a", nested(29))).unwrap();
    assert!(refused(&with("a", nested(30))).contains("32 deep"));
    assert!(refused(&with("a", nested(100))).contains("32 deep"));
    let large = |count| json!({"type": "object", "description": "x".repeat(count)});
    check(&large(SCHEMA_LIMIT_BYTES - 100)).unwrap();
    assert!(refused(&large(SCHEMA_LIMIT_BYTES)).contains("larger than 65536"));
}

#[test]
fn only_references_into_the_schema_are_followed() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let url = format!("http://{}/schema.json", server.local_addr().unwrap());
    let file = concat!("file://", env!("CARGO_MANIFEST_DIR"), "/data/prices.json");
    for reference in [
        &*url,
        file,
        "other.json",
        "https://json-schema.org/draft/2020-12/schema",
        "#nowhere",
        "#/nowhere",
        "",
        "#/%2f",
        "#/properties/a/enum/00",
    ] {
        let schema = with("a", json!({"enum": [{}], "$ref": reference}));
        assert!(refused(&schema).contains("$ref"), "{reference}");
        assert!(validate(&schema, &json!({})).is_err(), "not even when nobody checked it");
        let hidden = json!({"type": "object", "unused": {"$ref": reference}, "$ref": "#/unused"});
        assert!(refused(&hidden).contains("$ref"), "{reference}");
        let unused = json!({"type": "object", "$defs": {"a": {"not": {"$ref": reference}}}});
        assert!(refused(&unused).contains("$ref"), "{reference}");
    }
    assert!(refused(&with("a", json!({"$ref": 5}))).contains("$ref"));
    assert_eq!(server.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "something was fetched");
    let named = json!({"type": "object", "properties": {"$ref": {"type": "string"}, "a": {"const": {"$ref": url}}}});
    check(&named).unwrap();
    let escaped =
        json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/x%20y"}}, "$defs": {"x y": {"type": "null"}}});
    check(&escaped).unwrap();
    assert!(validate(&escaped, &json!({"a": 1})).is_err());
}

#[test]
fn a_loop_of_references_is_refused() {
    for schema in [
        json!({"type": "object", "$ref": "#"}),
        json!({"type": "object", "allOf": [{"$ref": "#"}]}),
        json!({"type": "object", "$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
        json!({"type": "object", "not": {"anyOf": [{"if": {"$ref": "#/not"}}]}}),
        json!({"type": "object", "dependentSchemas": {"a": {"$ref": "#"}}}),
    ] {
        assert!(refused(&schema).contains("too long"), "{schema}");
        assert!(validate(&schema, &json!({"a": 1})).is_err(), "{schema}");
    }
}

#[test]
fn a_tree_is_allowed_as_deep_as_its_alternatives_let_it_be() {
    let tree = json!({"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "value": {"type": "number"}}});
    check(&tree).unwrap();
    let deep =
        |leaf: Value| (0..50).fold(json!({"value": leaf}), |inner, _| json!({"left": inner, "right": {"value": 1}}));
    validate(&tree, &deep(json!(1))).unwrap();
    assert!(validate(&tree, &deep(json!("x"))).unwrap_err()[0].ends_with("/value: \"x\" is not of type \"number\""));
    let filter = json!({
        "type": "object",
        "properties": {"filter": {"$ref": "#/$defs/filter"}},
        "$defs": {"filter": {"anyOf": [
            {"type": "object", "properties": {"op": {"const": "and"}, "of": {"type": "array", "items": {"$ref": "#/$defs/filter"}}}, "required": ["op", "of"]},
            {"type": "object", "properties": {"op": {"const": "or"}, "of": {"type": "array", "items": {"$ref": "#/$defs/filter"}}}, "required": ["op", "of"]},
            {"type": "object", "properties": {"op": {"const": "is"}, "field": {"type": "string"}}, "required": ["op", "field"]},
        ]}},
    });
    check(&filter).unwrap();
    let is = json!({"op": "is", "field": "a"});
    let and = json!({"op": "and", "of": [is, {"op": "or", "of": [is, is]}]});
    validate(&filter, &json!({"filter": and})).unwrap();
    let too_deep = (0..40).fold(is, |inner, _| json!({"op": "and", "of": [inner]}));
    let begun = Instant::now();
    assert!(validate(&filter, &json!({"filter": too_deep})).unwrap_err()[0].contains("too long"));
    assert!(begun.elapsed() < PATIENCE);
}

/// What compiling a schema costs: printed, to see whether it is worth remembering.
#[test]
fn a_usual_schema_is_compiled_quickly() {
    let fields = (0..20).map(|number| {
        let field = json!({"type": "string", "description": "a field that a model fills", "minLength": number, "maxLength": 200});
        (format!("field_{number}"), field)
    });
    let schema = json!({"type": "object", "properties": fields.collect::<Map<_, _>>(), "required": ["field_1"]});
    let text = json!({"field_1": "a text", "field_2": "another text"}).to_string();
    arguments(&schema, &text).unwrap();
    let begun = Instant::now();
    for _ in 0..20 {
        arguments(&schema, &text).unwrap();
    }
    println!("{} bytes of schema: {:?} for a call", schema.to_string().len(), begun.elapsed() / 20);
    assert!(begun.elapsed() < PATIENCE);
}

/// Each level refers `times` to the next.
fn doubling(levels: usize, times: usize, refer: impl Fn(Vec<Value>) -> Value) -> Value {
    let definitions: Map<String, Value> = (0..levels)
        .map(|level| {
            let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
            (format!("d{level}"), refer(vec![next; times]))
        })
        .chain([(format!("d{levels}"), json!({"type": "string"}))])
        .collect();
    json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": definitions})
}

#[test]
fn work_that_doubles_with_each_level_is_refused() {
    for keyword in ["allOf", "anyOf", "oneOf"] {
        assert!(refused(&doubling(40, 2, |next| json!({keyword: next}))).contains("too long"), "{keyword}");
        check(&doubling(4, 2, |next| json!({keyword: next}))).unwrap();
    }
    // Down two properties it is the instance that would have to double.
    let wide = doubling(60, 2, |mut next| json!({"properties": {"a": next.pop(), "b": next.pop()}}));
    check(&wide).unwrap();
    let instance = (0..60).fold(json!(1), |inner, _| json!({"a": inner}));
    let begun = Instant::now();
    assert!(validate(&wide, &json!({"a": instance})).is_err());
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    let long = doubling(1_500, 1, |mut next| next.pop().unwrap());
    assert!(refused(&long).contains("too long"));
}

#[test]
fn the_most_that_is_allowed_takes_little_time() {
    let codes: Vec<String> = (0..5_000).map(|number| format!("code-{number}")).collect();
    let schemas = [
        ("a huge enum", with("a", json!({"items": {"enum": codes}})), json!(vec!["none"; 700])),
        ("alternatives", doubling(9, 2, |next| json!({"anyOf": next})), json!(1)),
        (
            "patterns",
            with(
                "a",
                json!({"items": {"allOf": (0..40).map(|n| json!({"pattern": format!("(x+x+)+y{n}")})).collect::<Vec<_>>()}}),
            ),
            json!(vec!["x".repeat(500); 100]),
        ),
        ("unique items", with("a", json!({"uniqueItems": true})), json!((0..40_000).chain([7]).collect::<Vec<_>>())),
        (
            "unevaluated",
            with(
                "a",
                (0..12).fold(
                    json!({"unevaluatedProperties": false}),
                    |inner, _| json!({"anyOf": [inner, {"type": "null"}], "unevaluatedProperties": false}),
                ),
            ),
            json!({"x": 1, "y": {"z": 2}}),
        ),
        (
            "references, as high as the stack may be",
            doubling(95, 1, |next| json!({"items": {"allOf": [{"anyOf": next}]}})),
            (0..95).fold(json!(1), |inner, _| json!([inner])),
        ),
        (
            "large patterns",
            with(
                "a",
                json!({"allOf": (0..50).map(|n| json!({"pattern": format!("^[\\p{{L}}\\d]{{1,12}}{n}$")})).collect::<Vec<_>>()}),
            ),
            json!("\u{e9}".repeat(100_000)),
        ),
    ];
    for (name, schema, instance) in schemas {
        check(&schema).unwrap_or_else(|why| panic!("{name}: {why}"));
        let begun = Instant::now();
        let outcome = validate(&schema, &json!({"a": instance}));
        println!("{name}: {:?} {outcome:?}", begun.elapsed());
        assert!(outcome.is_err(), "{name}");
        assert!(begun.elapsed() < PATIENCE, "{name}: {:?}", begun.elapsed());
    }
}

#[test]
fn a_pattern_is_matched_in_linear_time_or_refused() {
    let schema = with("a", json!({"type": "string", "pattern": "^(a+)+$"}));
    check(&schema).unwrap();
    let begun = Instant::now();
    assert!(validate(&schema, &json!({"a": format!("{}!", "a".repeat(200_000))})).is_err());
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    for pattern in ["(a)\\1", "(?=a)b", "(?<!a)b", "((a{1,200}){1,200}){1,200}", &"a".repeat(1_001)] {
        assert!(refused(&with("a", json!({"pattern": pattern}))).contains("pattern"), "{pattern}");
        let named: Map<String, Value> = [(pattern.to_owned(), json!(true))].into_iter().collect();
        assert!(refused(&json!({"type": "object", "patternProperties": named})).contains("pattern"), "{pattern}");
    }
    let many: Vec<Value> = (0..51).map(|number| json!({"pattern": format!("a{number}")})).collect();
    assert!(refused(&with("a", json!({"anyOf": many}))).contains("patterns"));
    let email = json!({"pattern": "^[\\w.+-]{1,64}@[\\p{L}\\d.-]{1,20}$"});
    check(&with("a", email)).unwrap();
}
