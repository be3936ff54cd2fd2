//! Tools that are Lambda functions, through the real SDK: what the emulator runs, and what a service says that does not run them.

use std::{
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_lambda::{
    Client,
    primitives::Blob,
    types::{FunctionCode, Runtime},
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector as _, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use shared::{
    aws,
    tool::{
        ANSWER_LIMIT_BYTES, Outcome, Policy,
        lambda::{Call, Functions, Invoker, Name},
    },
};
use tests::tap::{self, Tap};

use crate::emulator::Emulator;

const SCOPE: &str = "arn:aws:lambda:eu-west-1:000000000000:function:";
const KEY: &str = "run_1/2";
const CODE: &str = r#"
def handler(event, context):
    if "fail" in event:
        raise ValueError(event["fail"])
    return {"got": event, "more": "x" * event.get("size", 0)}
"#;

/// Hears each call's client context, and says for functions of some names what the service says when it does not run them.
#[derive(Debug, Default)]
pub(crate) struct Service(Mutex<Vec<Value>>);

impl Service {
    /// The client contexts that came, in order.
    pub(crate) fn contexts(&self) -> Vec<Value> {
        self.0.lock().unwrap().clone()
    }
}

impl Tap for Service {
    async fn pass(
        &self,
        connection: SharedHttpConnector,
        request: HttpRequest,
    ) -> Result<HttpResponse, ConnectorError> {
        let context = STANDARD.decode(request.headers().get("x-amz-client-context").unwrap()).unwrap();
        self.0.lock().unwrap().push(serde_json::from_slice(&context).unwrap());
        let name = request.uri().split("/functions/").nth(1).unwrap().split('/').next().unwrap().to_owned();
        let refusal = |status: u16| Ok(tap::answer(status, &json!({"message": "canary", "Type": "Service"})));
        match name.split_once('-') {
            Some(("status", status)) => refusal(status.parse().unwrap()),
            Some(("cut", _)) => Err(ConnectorError::io("the connection broke".into())),
            Some(("slow", _)) => std::future::pending().await,
            _ => connection.call(request).await,
        }
    }
}

/// Functions of these names at the emulator, or at the service that answers for it.
pub(crate) async fn functions(emulator: &Emulator, names: &[&str]) -> (Functions, Arc<Service>) {
    let service = Arc::<Service>::default();
    let client = tap::tapped(Arc::clone(&service), aws::patient_http_client().unwrap());
    let config = emulator.config().await.into_builder().http_client(client).build();
    let list: Vec<String> = names.iter().map(|name| format!("{SCOPE}{name}")).collect();
    let invoker = Invoker::new(&config, SCOPE.to_owned(), Name::list(&list.join(","), SCOPE).unwrap());
    (Functions::Aws(invoker), service)
}

async fn call(functions: &Functions, function: &str, arguments: Value) -> Outcome {
    let arguments = arguments.as_object().unwrap();
    let call = Call { function, arguments, idempotency_key: KEY, timeout: Duration::from_secs(20) };
    functions.call(&call).await
}

/// Makes a function of the emulator, in Python.
pub(crate) async fn make(emulator: &Emulator, name: &str) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("index.py"), CODE).unwrap();
    let mut zip = Command::new("python3");
    zip.args(["-m", "zipfile", "-c", "code.zip", "index.py"]).current_dir(folder.path());
    assert!(zip.status().unwrap().success());
    let code = Blob::new(std::fs::read(folder.path().join("code.zip")).unwrap());
    let made = Client::new(&emulator.config().await).create_function().function_name(name).runtime(Runtime::Python312);
    let made = made.role("arn:aws:iam::000000000000:role/any").handler("index.handler");
    made.code(FunctionCode::builder().zip_file(code).build()).send().await.unwrap();
}

#[tokio::test]
async fn a_function_is_invoked_with_the_arguments_and_the_key() {
    let emulator = Emulator::start().await;
    make(&emulator, "act").await;
    let (functions, service) = functions(&emulator, &["act", "gone"]).await;
    for name in ["act", &format!("{SCOPE}act")] {
        let outcome = call(&functions, name, json!({"city": "Oslo"})).await;
        let Outcome::Answered { content, failed: false, passing: false } = outcome else { panic!("{outcome:?}") };
        assert_eq!(serde_json::from_str::<Value>(&content).unwrap()["got"], json!({"city": "Oslo"}));
    }
    let context = json!({"custom": {"idempotencyKey": KEY}});
    assert_eq!(*service.0.lock().unwrap(), [context.clone(), context]);

    let outcome = call(&functions, "act", json!({"fail": "no such city"})).await;
    let Outcome::Answered { content, failed: true, passing: false } = outcome else { panic!("{outcome:?}") };
    assert!(content.starts_with("the function failed\n") && content.contains("no such city"), "{content}");

    let outcome = call(&functions, "act", json!({"size": 2 * ANSWER_LIMIT_BYTES})).await;
    let Outcome::Answered { content, failed: false, .. } = outcome else { panic!("{outcome:?}") };
    assert!(content.len() <= ANSWER_LIMIT_BYTES && content.contains("cut off"));

    let outcome = call(&functions, "gone", json!({})).await;
    let Outcome::NotSent { message, passing: false } = outcome else { panic!("{outcome:?}") };
    assert!(message.contains("no such function"), "{message}");
}

#[tokio::test]
async fn what_the_service_says_tells_whether_the_function_may_have_run() {
    let emulator = Emulator::start().await;
    let statuses = [400, 403, 404, 408, 409, 410, 413, 429, 500, 502, 503];
    let names = statuses.map(|status| format!("status-{status}"));
    let names: Vec<&str> = names.iter().map(String::as_str).chain(["cut-off", "slow-one"]).collect();
    let (functions, service) = functions(&emulator, &names).await;
    for status in statuses {
        let outcome = call(&functions, &format!("status-{status}"), json!({})).await;
        match (status, &outcome) {
            (409 | 429, Outcome::NotSent { passing: true, message })
            | (400 | 403 | 404 | 413, Outcome::NotSent { passing: false, message })
            | (408 | 410 | 500 | 502 | 503, Outcome::Unclear { message }) => assert!(!message.contains("canary")),
            _ => panic!("{status}: {outcome:?}"),
        }
    }
    assert!(matches!(call(&functions, "cut-off", json!({})).await, Outcome::Unclear { .. }));
    let arguments = serde_json::Map::new();
    let timeout = Duration::from_millis(50);
    let slow = Call { function: "slow-one", arguments: &arguments, idempotency_key: KEY, timeout };
    assert!(matches!(functions.call(&slow).await, Outcome::Unclear { .. }));
    assert_eq!(service.0.lock().unwrap().len(), statuses.len() + 2, "nothing is tried twice");

    // Not asked at all: a function that nobody named, one of another account, and a service that is not there.
    for other in ["other", "status-429:live", "arn:aws:lambda:eu-west-1:111111111111:function:cut-off"] {
        assert!(matches!(call(&functions, other, json!({})).await, Outcome::NotSent { passing: false, .. }), "{other}");
        assert_eq!(functions.check(other, Policy::Once).len(), 1, "{other}");
    }
    assert_eq!(functions.check("cut-off", Policy::Once), []);
    assert_eq!(functions.check("cut-off", Policy::Verify)[0].field, "policy");
    assert_eq!(service.0.lock().unwrap().len(), statuses.len() + 2);
    let nowhere = emulator.config().await.into_builder().endpoint_url("http://127.0.0.1:1").build();
    let nowhere = nowhere.into_builder().http_client(aws::patient_http_client().unwrap()).build();
    let list = Name::list(&format!("{SCOPE}act"), SCOPE).unwrap();
    let nowhere = Functions::Aws(Invoker::new(&nowhere, SCOPE.to_owned(), list));
    assert!(matches!(call(&nowhere, "act", json!({})).await, Outcome::NotSent { passing: true, .. }));
}
