//! The paths of the API. What no route answers, the function `fallback` refuses, so that no body is the gateway's own.

use std::collections::{BTreeMap, BTreeSet};

use functions::{Route, route::Wait};

use crate::{COMPLETE, all, deployed, logical_id};

/// What a REST API knows: written out, because not every importer knows `any`.
const METHODS: [&str; 7] = ["delete", "get", "head", "options", "patch", "post", "put"];

/// The paths, and those above them: also there a wrong method is ours to refuse.
pub(crate) fn paths() -> String {
    let mut paths: BTreeMap<&str, String> = above().into_iter().map(|path| (path, String::new())).collect();
    for route in deployed() {
        paths.entry(route.path).or_default().push_str(&of_route(route));
    }
    let mut text: String = paths.iter().map(|(path, methods)| format!("          {path}:\n{methods}{ANY}")).collect();
    for path in ["/", EVERY_OTHER] {
        text.push_str(&format!("          {path}:\n"));
        for method in METHODS {
            let refusal = if (path, method) == (EVERY_OTHER, "post") { completions() } else { REFUSAL.to_owned() };
            text.push_str(&format!("            {method}:\n{refusal}"));
        }
    }
    text
}

/// What no path names.
const EVERY_OTHER: &str = "\"/{proxy+}\"";

/// Where the operator has named another path of completions, which no path of the template can be, their function answers what is posted to
/// it, and refuses every other.
fn completions() -> String {
    let id = logical_id(COMPLETE);
    REFUSAL.replace(
        "                uri: !Sub",
        &format!(
            "                responseTransferMode: !If [CompletesElsewhere, !If [Streams, STREAM, BUFFERED], BUFFERED]
                timeoutInMillis: !If [CompletesElsewhere, !If [Streams, 900000, 29000], 29000]
                uri: !If
                  - CompletesElsewhere
                  - !If
                    - Streams
                    - !Sub arn:${{AWS::Partition}}:apigateway:${{AWS::Region}}:lambda:path/2021-11-15/functions/${{{id}.Arn}}/response-streaming-invocations
                    - !Sub arn:${{AWS::Partition}}:apigateway:${{AWS::Region}}:lambda:path/2015-03-31/functions/${{{id}.Arn}}/invocations
                  - !Sub"
        ),
    )
}

/// Every path that another goes on from.
fn above() -> BTreeSet<&'static str> {
    let starts = |path: &'static str| path.match_indices('/').filter_map(move |(end, _)| path.get(..end));
    deployed().flat_map(|route| starts(route.path)).filter(|path| !path.is_empty()).collect()
}

/// How a method is refused that a path does not have.
const ANY: &str = "            x-amazon-apigateway-any-method:
              responses: { \"200\": { description: The function's answer } }
              x-amazon-apigateway-integration:
                type: aws_proxy
                httpMethod: POST
                credentials: !GetAtt ApiRole.Arn
                uri: !Sub arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Fallback.Arn}/invocations
";
const REFUSAL: &str = "              responses: { \"200\": { description: The function's answer } }
              x-amazon-apigateway-integration:
                type: aws_proxy
                httpMethod: POST
                credentials: !GetAtt ApiRole.Arn
                uri: !Sub arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Fallback.Arn}/invocations
";

fn of_route(route: &Route) -> String {
    let names = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameters: String = names
        .map(|name| {
            format!("                - {{ name: {name}, in: path, required: true, schema: {{ type: string }} }}\n")
        })
        .collect();
    let parameters =
        if parameters.is_empty() { parameters } else { format!("              parameters:\n{parameters}") };
    format!(
        "            {}:
              operationId: {}
{parameters}              responses: {{ \"200\": {{ description: The function's answer }} }}
              x-amazon-apigateway-integration:
                type: aws_proxy
                httpMethod: POST
                credentials: !GetAtt ApiRole.Arn
{}",
        route.method.as_str().to_lowercase(),
        route.name,
        integration(route),
    )
}

/// A call that may take minutes is streamed, where that is switched on.
fn integration(route: &Route) -> String {
    let id = logical_id(route.name);
    let whole = format!(
        "!Sub arn:${{AWS::Partition}}:apigateway:${{AWS::Region}}:lambda:path/2015-03-31/functions/${{{id}.Arn}}/invocations"
    );
    if route.operation.wait == Wait::Short {
        return format!("                uri: {whole}\n                timeoutInMillis: 29000\n");
    }
    format!(
        "                uri: !If
                  - Streams
                  - !Sub arn:${{AWS::Partition}}:apigateway:${{AWS::Region}}:lambda:path/2021-11-15/functions/${{{id}.Arn}}/response-streaming-invocations
                  - {whole}
                responseTransferMode: !If [Streams, STREAM, BUFFERED]
                timeoutInMillis: !If [Streams, 900000, 29000]
"
    )
}

/// How many functions one policy names: with ARNs of at most 140 characters it stays below the 6,144 of a managed policy.
const NAMED_TOGETHER: usize = 40;

/// What the API may invoke, as policies of its role: one permission for each function would be a resource each, of which a stack has 500.
pub(crate) fn policies() -> String {
    let names: Vec<&str> = all().filter(|function| function.behind_api).map(|function| function.name).collect();
    names.chunks(NAMED_TOGETHER).zip(1_u32..).map(|(names, number)| policy(names, number)).collect()
}

fn policy(names: &[&str], number: u32) -> String {
    let arns: String = names.iter().map(|name| format!("              - !GetAtt {}.Arn\n", logical_id(name))).collect();
    format!(
        "  ApiPolicy{number}:
    Type: AWS::IAM::ManagedPolicy
    Properties:
      Description: What the API may invoke
      Roles: [!Ref ApiRole]
      PolicyDocument:
        Version: \"2012-10-17\"
        Statement:
          - Effect: Allow
            Action: lambda:InvokeFunction
            Resource:
{arns}"
    )
}
