//! template.yaml: what it says is what the route table, the store and the OpenAPI document say.

use std::{collections::BTreeSet, path::Path};

use functions::{
    Route,
    route::{Access, Wait},
};

use crate::http::ask;

const NAME: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml");

/// CloudFormation takes so many resources in a stack.
const RESOURCE_LIMIT: usize = 500;

/// So many functions are still to come, each with its role and its log.
const ROOM_FOR: usize = 8;

#[test]
#[allow(clippy::disallowed_methods, reason = "the tests have no configuration of their own")]
fn the_template_is_what_the_route_table_makes_of_it() {
    let rendered = template::render().unwrap();
    if std::env::var("UPDATE_TEMPLATE").is_ok() {
        std::fs::write(NAME, &rendered).unwrap();
    }
    let written = std::fs::read_to_string(Path::new(NAME)).unwrap();
    let other = written.lines().zip(rendered.lines()).find(|(written, rendered)| written != rendered);
    assert!(written == rendered, "template.yaml is not up to date (`cargo run -p template`); first: {other:?}");
}

/// The lines of a resource, without its name.
fn resource<'a>(template: &'a str, id: &str) -> &'a str {
    let start = template.find(&format!("\n  {id}:\n")).unwrap_or_else(|| panic!("{id} is not in the template"));
    let body = &template[start + id.len() + 5..];
    let end = body.match_indices("\n  ").find(|(at, _)| body.as_bytes()[at + 3] != b' ').map(|(at, _)| at + 1);
    &body[..end.unwrap_or(body.len())]
}

#[tokio::test]
async fn every_operation_of_the_openapi_document_is_a_function_behind_its_path() {
    let written = std::fs::read_to_string(NAME).unwrap();
    let (_, _, document) = ask("GET", "/openapi.json").await;
    let embedded_only = Route::all().filter(|route| !route.operation.deployed).map(|route| route.name);
    assert_eq!(embedded_only.collect::<Vec<_>>(), ["upload_file"]);
    let mut names = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            if !Route::named(name).unwrap().operation.deployed {
                assert!(!written.contains(&format!("Handler: {name}\n")), "{name}");
                continue;
            }
            let id = template::logical_id(name);
            assert!(resource(&written, &id).contains(&format!("      Handler: {name}\n")), "{name}");
            let api = resource(&written, "Api");
            let entry = api.split(&format!("\n          {path}:\n")).nth(1).unwrap_or_else(|| panic!("{path}"));
            let entry = entry.split("\n          /").next().unwrap();
            let entry = entry.split(&format!("            {method}:\n")).nth(1).unwrap_or_else(|| panic!("{name}"));
            assert!(entry.starts_with(&format!("              operationId: {name}\n")), "{name}");
            assert!(entry.contains(&format!("${{{id}.Arn}}")), "{name}");
            names.insert(name.to_owned());
        }
    }
    let written: BTreeSet<String> =
        written.lines().filter_map(|line| line.trim().strip_prefix("operationId: ")).map(str::to_owned).collect();
    assert_eq!(written, names);
    assert_eq!(written.len(), template::deployed().count());
}

#[test]
fn every_function_has_a_role_of_its_own_with_what_it_needs_and_nothing_else() {
    let written = std::fs::read_to_string(NAME).unwrap();
    assert!(!written.contains("Resource: \"*\"") && !written.contains("Resource: '*'") && !written.contains("- \"*\""));
    for function in template::all() {
        let id = template::logical_id(function.name);
        let properties = resource(&written, &id);
        assert!(properties.contains(&format!("Role: !GetAtt {id}Role.Arn")), "{id}");
        assert!(properties.contains(&format!("LogGroup: !Ref {id}Log")), "{id}");
        assert!(resource(&written, &format!("{id}Log")).contains("RetentionInDays"), "{id}");
    }
    let role = |name: &str| resource(&written, &format!("{}Role", template::logical_id(name)));
    let writes = |name: &str, table: &str| {
        let mut statements = role(name).split("- Effect: Allow");
        statements.any(|statement| statement.contains("PutItem") && statement.contains(&format!("{table}Table.Arn")))
    };
    assert!(!writes("get_agent", "Agents") && role("get_agent").contains("AgentsTable.Arn"));
    assert!(writes("create_agent", "Agents") && !role("create_agent").contains("MessagesTable"));
    assert!(!role("list_runs").contains("sqs:") && role("create_run").contains("sqs:SendMessage"));
    assert!(!role("fallback").contains("dynamodb:") && !role("coagent_health").contains("dynamodb:"));
    assert!(role("worker").contains("sqs:ReceiveMessage") && !writes("worker", "ApiKeys"));
}

#[test]
fn only_rules_of_the_same_account_and_region_may_send_events() {
    let written = std::fs::read_to_string(NAME).unwrap();
    let permission = resource(&written, "ReceiveEventPermission");
    for part in [
        "FunctionName: !Ref ReceiveEvent\n",
        "Principal: events.amazonaws.com\n",
        "SourceAccount: !Ref AWS::AccountId\n",
        "SourceArn: !Sub \"arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:rule/*\"\n",
    ] {
        assert!(permission.contains(part), "{part}");
    }
    assert_eq!(written.matches("Principal: events.amazonaws.com").count(), 1);
    assert!(!resource(&written, "ReceiveHookRole").contains("ApiKeysTable"), "who comes without a key needs no keys");
}

#[test]
fn only_functions_that_take_files_away_may_delete_objects() {
    let written = std::fs::read_to_string(NAME).unwrap();
    let may = |name: &str, action: &str| {
        resource(&written, &format!("{}Role", template::logical_id(name))).contains(&format!("s3:{action}"))
    };
    let with = |action: &str| {
        template::all().map(|function| function.name).filter(|name| may(name, action)).collect::<BTreeSet<_>>()
    };
    assert_eq!(with("DeleteObject"), BTreeSet::from(["delete_file", "reaper"]));
    assert!(may("create_file", "PutObject") && !may("worker", "PutObject") && !may("delete_file", "PutObject"));
    assert!(!written.contains("Allow, Action: s3:*") && written.matches("s3:*").count() == 1);
}

#[test]
fn only_functions_that_move_a_schedules_time_may_set_timers() {
    let written = std::fs::read_to_string(NAME).unwrap();
    let role = |name: &str| resource(&written, &format!("{}Role", template::logical_id(name)));
    let sets = |name: &&str| role(name).contains("scheduler:UpdateSchedule") && role(name).contains("iam:PassRole");
    let found: BTreeSet<&str> = template::all().map(|function| function.name).filter(sets).collect();
    let cotool = ["cotool_save_trigger", "cotool_update_trigger", "cotool_set_trigger_status"];
    let own = ["create_schedule", "update_schedule", "delete_schedule", "worker", "reaper"];
    assert_eq!(found, own.into_iter().chain(cotool).collect());
    assert_eq!(written.matches("scheduler:").count(), found.len() * 4, "each on the timers of the stack alone");
    assert!(resource(&written, "TimerRole").contains("Action: [sqs:SendMessage], Resource: !GetAtt WorkerQueue.Arn }"));
}

#[test]
fn the_bucket_refuses_what_comes_by_plain_http() {
    let written = std::fs::read_to_string(NAME).unwrap();
    let policy = resource(&written, "FilesBucketPolicy");
    for part in [
        "Bucket: !Ref FilesBucket\n",
        "Effect: Deny\n",
        "Principal: \"*\"\n",
        "Action: s3:*\n",
        "Resource: [!GetAtt FilesBucket.Arn, !Sub \"${FilesBucket.Arn}/*\"]\n",
        "Condition: { Bool: { aws:SecureTransport: \"false\" } }\n",
    ] {
        assert!(policy.contains(part), "{part}");
    }
}

#[test]
fn only_functions_that_run_runs_may_invoke_what_the_operator_names() {
    let written = std::fs::read_to_string(NAME).unwrap();
    let invokes = |name: &str| {
        let role = resource(&written, &format!("{}Role", template::logical_id(name)));
        role.contains("CallsFunctions\n")
            && role.contains("Action: [lambda:InvokeFunction], Resource: !Ref ToolFunctions }")
    };
    // A route that may wait for minutes and may send to the queue runs the run itself.
    let runs = |route: &&Route| route.operation.wait == Wait::Long && route.operation.access.contains(&Access::Send);
    let expected: BTreeSet<&str> = Route::all().filter(runs).map(|route| route.name).chain(["worker"]).collect();
    let found: BTreeSet<&str> = template::all().map(|function| function.name).filter(|name| invokes(name)).collect();
    assert_eq!(found, expected);
    assert!(found.contains("cotera_chat"), "{found:?}");
    // Actions that invoke, but for the gateway's, are in no other place.
    assert_eq!(written.matches("[lambda:InvokeFunction]").count(), found.len());
}

#[test]
fn the_api_may_invoke_what_is_behind_it_and_nothing_else() {
    let written = std::fs::read_to_string(NAME).unwrap();
    let mut named: Vec<&str> = Vec::new();
    for number in 1.. {
        if !written.contains(&format!("\n  ApiPolicy{number}:\n")) {
            break;
        }
        let policy = resource(&written, &format!("ApiPolicy{number}"));
        assert!(policy.contains("Roles: [!Ref ApiRole]") && policy.matches("Action:").count() == 1, "{policy}");
        let arns = policy.lines().filter_map(|line| line.trim().strip_prefix("- !GetAtt ")?.strip_suffix(".Arn"));
        // 140 characters an ARN stay below the 6,144 of a policy.
        assert!(arns.clone().count() <= 40);
        named.extend(arns);
    }
    let mut expected: Vec<String> = template::deployed().map(|route| template::logical_id(route.name)).collect();
    expected.push("Fallback".to_owned());
    expected.sort_unstable();
    named.sort_unstable();
    assert_eq!(named, expected);
    // Every integration goes by that role.
    let api = resource(&written, "Api");
    assert_eq!(api.matches("type: aws_proxy\n").count(), api.matches("credentials: !GetAtt ApiRole.Arn\n").count());
}

/// A function hands a whole answer over only up to 6 MB.
#[test]
fn answers_without_a_bound_are_streamed() {
    let written = std::fs::read_to_string(NAME).unwrap();
    for name in [
        "cotool_list_agents",
        "cotool_update_agents",
        "cotool_list_agent_versions",
        "cotool_list_system_prompts",
        "cotool_get_run_result",
        "cotool_get_chat_history",
        "coagent_list_agents",
        "cotera_list_chat_messages",
        "list_agents",
        "update_agents",
        "list_agent_versions",
        "list_run_messages",
        "list_batch_results",
        "list_schedules",
    ] {
        let id = template::logical_id(name);
        let streams = format!("functions/${{{id}.Arn}}/response-streaming-invocations");
        assert!(written.contains(&streams), "{name}");
    }
}

#[test]
fn the_path_of_completions_is_the_operators() {
    let written = std::fs::read_to_string(NAME).unwrap();
    assert_eq!(written.matches("MUSTER_COMPLETIONS_PATH: !Ref CompletionsPath\n").count(), 1);
    assert!(resource(&written, "CoagentComplete").contains("MUSTER_COMPLETIONS_PATH: !Ref CompletionsPath\n"));
    // What is posted where the template has no path.
    let other = resource(&written, "Api").split("\n          \"/{proxy+}\":\n").nth(1).unwrap();
    let post = other.split("            post:\n").nth(1).unwrap().split("            put:\n").next().unwrap();
    assert!(
        post.contains("CompletesElsewhere\n") && post.contains("CoagentComplete.Arn") && post.contains("Fallback.Arn")
    );
    assert!(!other.split("            post:\n").next().unwrap().contains("CoagentComplete.Arn"));
}

#[test]
fn only_functions_that_ask_for_models_know_the_providers_keys() {
    let written = std::fs::read_to_string(NAME).unwrap();
    let knows = |name: &str| resource(&written, &template::logical_id(name)).contains("OPENAI_API_KEY: !Ref");
    let with: Vec<&str> = template::all().map(|function| function.name).filter(|name| knows(name)).collect();
    for name in ["create_agent", "create_run", "create_batch", "cotera_chat", "list_models", "worker", "reaper"] {
        assert!(with.contains(&name), "{name}");
    }
    for name in ["get_agent", "list_runs", "create_key", "fallback", "first_key", "coagent_health"] {
        assert!(!with.contains(&name), "{name}");
    }
}

#[test]
fn the_stack_has_room_for_the_surfaces_to_come() {
    let written = std::fs::read_to_string(NAME).unwrap();
    let types = written.lines().filter(|line| line.starts_with("    Type: AWS::")).count();
    // What SAM adds: the API's deployment and stage, the workers' mappings, the schedule and its role, how events are invoked.
    let resources = types + 7;
    assert!(resources + 3 * ROOM_FOR <= RESOURCE_LIMIT, "{resources}");
    assert!(written.len() < 700_000, "a template may have 1 MB when it is deployed");
}

#[test]
fn every_queue_waits_six_times_as_long_as_its_worker_works() {
    let written = std::fs::read_to_string(NAME).unwrap();
    let number = |text: &str, name: &str| -> u64 {
        let rest = text.split(&format!("{name}: ")).nth(1).unwrap();
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
    };
    for (queue, worker) in [("WorkerQueue", "Worker"), ("PostsQueue", "Poster")] {
        let queue = resource(&written, queue);
        assert!(number(queue, "VisibilityTimeout") >= 6 * number(resource(&written, worker), "Timeout"));
        assert!(queue.contains("DeadLetterQueue.Arn"));
    }
    assert!(resource(&written, "Worker").contains("RecursiveLoop: Allow"));
}

/// `sam build` asks cargo-lambda for the profile `release`, and cargo-lambda knows no other: what it changes is said again.
#[test]
fn sam_builds_what_the_profile_deployed_says() {
    let file = |name: &str| std::fs::read_to_string(format!("{}/../{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (workspace, functions) = (file("Cargo.toml"), file("functions/Cargo.toml"));
    let profile = workspace.split("[profile.deployed]\n").nth(1).unwrap().split("\n\n").next().unwrap();
    for line in profile.lines().filter(|line| !line.starts_with("inherits")) {
        let (name, value) = line.split_once(" = ").unwrap();
        let said = format!("\"profile.release.{name}={}\"", value.replace('"', "'"));
        assert!(functions.contains(&said), "{said}");
    }
    assert!(workspace.contains("panic = \"unwind\""), "cargo-lambda makes it abort where nothing is said");
}
