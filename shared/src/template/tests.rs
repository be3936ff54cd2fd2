//! What templates come to, and that none of them does harm.

use std::time::{Duration, Instant};

use serde_json::json;

use super::*;

fn event(body: Json) -> Known {
    Known::of_event([
        ("body", body),
        ("headers", json!({"x-github-event": "push"})),
        ("trigger", json!({"name": "deploys"})),
        ("event", json!({"id": "e1", "received_at": "2026-05-28T20:26:40.000Z"})),
    ])
}

fn text(body: Json, source: &str) -> Result<String, String> {
    event(body).text("message", source).map_err(|problem| format!("{}: {}", problem.field, problem.message))
}

#[test]
fn an_event_becomes_a_text() {
    let body =
        json!({"a": {"b": "x<y>&"}, "n": 1, "f": 1.5, "t": true, "z": null, "list": [{"name": "p"}, {"name": "q"}]});
    for (source, expected) in [
        ("{{ body.a.b }}", "x<y>&"),
        ("{{ body['n'] }} {{ body.f }} {{ body.t }} [{{ body.z }}] [{{ body.none.at.all }}]", "1 1.5 true [] []"),
        ("{{ body.list }}", r#"[{"name":"p"},{"name":"q"}]"#),
        ("{{ body.list | map(attribute='name') | join('+') }}", "p+q"),
        ("{% for one in body.list %}{{ loop.index }}{{ one.name }} {% endfor %}", "1p 2q "),
        ("{% for name, value in body.a | items %}{{ name }}={{ value }}{% endfor %}", "b=x<y>&"),
        ("{% if body.n > 0 and 'x' in body.a.b %}yes{% else %}no{% endif %}", "yes"),
        ("{{ body.a | tojson }} {{ body.list | length }} {{ body.list[1].name }}", r#"{"b":"x<y>&"} 2 q"#),
        (
            "{{ headers['x-github-event'] }} {{ trigger.name }} {{ event.id }} {{ event.received_at[:4] }}",
            "push deploys e1 2026",
        ),
        ("plain { text } 100 %", "plain { text } 100 %"),
    ] {
        assert_eq!(text(body.clone(), source), Ok(expected.to_owned()), "{source}");
    }
}

#[test]
fn inputs_keep_their_types() {
    let body = json!({"n": 7, "list": [1, 2], "deep": {"x": null}, "s": "text"});
    let inputs = json!({"n": "{{ body.n }}", "sum": "{{ body.n + 1 }}", "list": "{{ body.list }}", "deep": {"in": ["{{body.deep}}", 1]},
        "text": "n is {{ body.n }}", "gone": "{{ body.nothing }}", "plain": "as it is", "bool": true, "cmp": "{{- body.n > 3 -}}"});
    let filled = event(body).prompt(&Prompt::Inputs(inputs.as_object().unwrap().clone())).unwrap();
    let expected = json!({"n": 7, "sum": 8, "list": [1, 2], "deep": {"in": [{"x": null}, 1]}, "text": "n is 7", "plain": "as it is",
        "bool": true, "cmp": true});
    assert_eq!(filled, Prompt::Inputs(expected.as_object().unwrap().clone()));
}

#[test]
fn a_filter_holds_or_not() {
    let event = event(json!({"action": "opened", "n": 0}));
    for (source, holds) in [
        ("body.action == 'opened'", true),
        ("body.action in ['closed', 'reopened']", false),
        ("body.pull_request.draft == false", false),
        ("body.n", false),
        ("headers['x-github-event'] == 'push' and not body.n", true),
    ] {
        assert_eq!(event.holds("filter", source).unwrap(), holds, "{source}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_field_and_line() {
    for (source, expected) in [
        ("a\n{{ body.", "message: line 2: }} is missing"),
        ("\n\n{% if body %}", "message: line 3: syntax error"),
        ("{{ body | nothing }}", "message: line 1: there is no filter"),
        ("{{ range(9) }}", "message: line 1: "),
    ] {
        let said = check_text("message", source).and_then(|()| event(json!({})).text("message", source));
        let said = said.map_err(|problem| format!("{}: {}", problem.field, problem.message)).unwrap_err();
        assert!(said.starts_with(expected), "{source}: {said}");
    }
    let mut problems = Vec::new();
    let inputs = json!({"a": {"b": ["{{ x", "ok"]}, "c": "{{ 1 * 1 }}"});
    check_prompt(&Prompt::Inputs(inputs.as_object().unwrap().clone()), &mut problems);
    let fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["inputs.a.b[0]", "inputs.c"]);
}

#[test]
fn every_filter_that_is_allowed_is_there_and_no_other() {
    let environment = environment();
    for name in guard::FILTERS.into_iter().chain(FILTERS_OUT) {
        let source = format!("1 | {name}");
        let outcome = environment.compile_expression(&source).unwrap().eval(Value::from(()));
        let unknown = outcome.is_err_and(|wrong| wrong.kind() == ErrorKind::UnknownFilter);
        assert_eq!(unknown, FILTERS_OUT.contains(&name), "{name}");
    }
}

#[test]
fn rows_are_told_apart() {
    let event = event(json!({"items": [{"n": 1}, "two"], "no": 1}));
    let rows = event.rows("rows", "body['items']").unwrap();
    assert_eq!(rows[0].text("message", "{{ row.n }}").unwrap(), "1");
    assert_eq!(rows[1].text("message", "{{ row }} of {{ trigger.name }}").unwrap(), "two of deploys");
    for source in ["body.no", "body.nothing", "'text'", "[]"] {
        assert!(event.rows("rows", source).is_err(), "{source}");
    }
}

/// What is tried to use up memory, time or the stack: on a stack of the size that threads have.
#[test]
fn no_template_does_harm() {
    let objects: Vec<Json> = (0..30_000).map(|n| json!({"a": n, "b": "text"})).collect();
    let same = json!([[objects.clone()], [objects.clone()]]);
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    let body = json!({"objects": objects, "same": same, "deep": deep, "long": "a".repeat(500_000), "n": (0..9_000).collect::<Vec<u32>>()});
    let sources = harmful();
    let harmless = move || {
        for source in sources {
            let event = event(body.clone());
            let begun = Instant::now();
            let outcome = event.text("message", &source);
            let took = begun.elapsed();
            let shown: String = source.chars().take(80).collect();
            println!("{took:?} {shown}: {:.80}", format!("{outcome:?}"));
            assert!(outcome.as_ref().is_ok_and(|text| text.len() <= RENDERED_LIMIT_BYTES) || outcome.is_err());
            assert!(took < Duration::from_secs(10), "{took:?}: {shown}");
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(harmless).unwrap().join().unwrap();
}

/// What is tried, of an event with such a body.
#[allow(clippy::too_many_lines, reason = "it is a list")]
fn harmful() -> Vec<String> {
    // A list that has the same long text in it very often.
    let many = |then: &str| format!("{{{{ body.n | map(attribute='x') | map('default', body.long) {then} }}}}");
    let chain = |with: &str| {
        format!(
            "{{{{ 1{} }}}}",
            with.repeat(199 / with.split(' ').filter(|p| !p.is_empty()).count().max(with.trim().len().min(2)))
        )
    };
    vec![
        "{{ 'a' * 1000000000 }}".to_owned(),
        "{{ body.long | replace('a', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa') | replace('a', 'aaaaaaaaaaaaaa') | length }}".to_owned(),
        "{% for a in body.n %}{% for b in body.n %}{% for c in body.n %}{% endfor %}{% endfor %}{% endfor %}".to_owned(),
        "{% for a in body.n %}{% if body.same[0] == body.same[1] %}{% endif %}{% endfor %}".to_owned(),
        "{% for a in body.n %}{{ body.same[0] in body.same }}{% endfor %}".to_owned(),
        "{% for a in body.n %}{{ body.objects | unique | length }}{% endfor %}".to_owned(),
        "{% for a in body.n %}{{ body.objects | sort(attribute='b') | length }}{% endfor %}".to_owned(),
        "{% for a in body.n %}{{ body.objects | tojson | length }}{% endfor %}".to_owned(),
        "{% for a in body.n %}{{ body.n | tojson | length }}{% endfor %}".to_owned(),
        "{% for a in body.n %}{{ body.long == body.long ~ 'b' }}{% endfor %}".to_owned(),
        "{% for a in body.n %}{{ body.long }}{% endfor %}".to_owned(),
        "{% for a in body.n %}{{ body.n | join(body.long) | length }}{% endfor %}".to_owned(),
        many("| list | string | length"),
        many("| string | length"),
        many("~ 'a'"),
        many("| list | upper | length"),
        many("| join | length"),
        many("| tojson | length"),
        many("| unique | list | length"),
        many("| list == body.n"),
        many("| list | sort | length"),
        many("| list | replace('a', 'b') | length"),
        many("| list | trim | length"),
        many("| list in 'text'"),
        "{{ body }}".to_owned(),
        "{{ body.objects | tojson(indent=100000000) }}".to_owned(),
        "{{ body.deep }}{{ body.deep | string }}{{ body.deep == body.deep[0] }}".to_owned(),
        "{{ body.objects | map('string') | join | length }}".to_owned(),
        "{{ body.objects | string | length }}".to_owned(),
        "{{ (body ~ body) | length }}".to_owned(),
        "{{ body.long | list | length }}{{ body.long | split('') | length }}".to_owned(),
        "{{ 1.5 | round(1000000000) }}".to_owned(),
        "{{ 10 ** 100000 }}".to_owned(),
        "{{ body.long[::-1] | upper | title | length }}".to_owned(),
        format!("{{{{ {}1{} }}}}", "(".repeat(99), ")".repeat(99)),
        format!("{}{}", "{%if 1%}".repeat(50), "{%endif%}".repeat(50)),
        format!("{{%if 0%}}{}{{%endif%}}", "{%elif 0%}".repeat(98)),
        format!("{{{{ {}1 }}}}", "not ".repeat(198)),
        format!("{{{{ {}1 }}}}", "-".repeat(198)),
        format!("{{{{ {}1 }}}}", "not ".repeat(8_000)),
        "{{".repeat(8_000),
        "{%".repeat(8_000),
        "{{ [".repeat(4_000),
        chain("+1"),
        chain(" if 1 else 1"),
        chain("|d"),
        chain(".d"),
        chain(" and 1"),
        chain("~1"),
        chain(" is true"),
    ]
}

#[test]
fn what_rows_come_to_is_bounded_together() {
    let event = event(json!({"l": vec![0; 1_000], "x": "a".repeat(250_000)}));
    let inputs = json!({"a": vec!["{{ body.x }}"; 100]}).as_object().unwrap().clone();
    let prompt = Prompt::Inputs(inputs);
    let failed = event.rows("rows", "body.l").unwrap().iter().find_map(|row| row.prompt(&prompt).err()).unwrap();
    assert_eq!(failed.message, "comes to too much, together with the others");
    let small = Prompt::Inputs(json!({"a": vec!["{{ 1 }}"; 100]}).as_object().unwrap().clone());
    let event = self::event(json!({"l": vec![0; 1_000]}));
    let failed = event.rows("rows", "body.l").unwrap().iter().find_map(|row| row.prompt(&small).err()).unwrap();
    assert_eq!(failed.message, "does too much");
}
