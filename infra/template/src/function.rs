//! A function and what belongs to it: its role with what it may do and nothing else, and its log.

use functions::{
    Route,
    route::{Access, Wait},
};
use shared::store::row::Table;

use crate::{COMPLETE, logical_id, providers, tables};

const READ: [&str; 3] = ["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query"];
const WRITE: [&str; 5] = [
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "dynamodb:DeleteItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:ConditionCheckItem",
];
/// To send, and to open a connection before the first message.
const SEND: [&str; 2] = ["sqs:SendMessage", "sqs:GetQueueAttributes"];
/// What is not there is a 404 only for who may list.
const READ_FILES: [&str; 2] = ["s3:GetObject", "s3:ListBucket"];
const FILES: [&str; 3] = ["s3:GetObject", "s3:ListBucket", "s3:PutObject"];
/// Every object of the bucket.
const OBJECTS: &str = "!Sub \"${FilesBucket.Arn}/*\"";
/// Timers of schedules, each called as the schedule.
const TIMERS: [&str; 3] = ["scheduler:CreateSchedule", "scheduler:UpdateSchedule", "scheduler:DeleteSchedule"];
const EVERY_TIMER: &str =
    "!Sub \"arn:${AWS::Partition}:scheduler:${AWS::Region}:${AWS::AccountId}:schedule/${TimerGroup}/*\"";
const RECEIVE: [&str; 3] = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];

/// A function, as it is deployed.
#[derive(Debug)]
pub struct Function {
    /// Its name, which is what `Handler` says.
    pub name: &'static str,
    about: &'static str,
    access: Vec<Access>,
    timeout_s: u32,
    memory_mb: u32,
    /// Whether the API invokes it.
    pub(crate) behind_api: bool,
    /// Further lines of its properties.
    more: &'static str,
}

impl Function {
    /// The function that answers a route.
    #[must_use]
    pub fn of_route(route: &'static Route) -> Self {
        Self {
            name: route.name,
            about: route.operation.about.first().map(|line| line.trim()).unwrap_or_default(),
            access: route.operation.access.to_vec(),
            timeout_s: if route.operation.wait == Wait::Long { 900 } else { 29 },
            memory_mb: 512,
            behind_api: true,
            more: "",
        }
    }

    /// The functions that answer no route.
    pub fn others() -> impl Iterator<Item = Self> {
        let plain = |name, about, access| Self {
            name,
            about,
            access,
            timeout_s: 29,
            memory_mb: 512,
            behind_api: false,
            more: "",
        };
        let every_table = || Table::ALL.map(Access::Write).to_vec();
        let fallback = plain("fallback", "Refuses what no route answers", Vec::new());
        let worker = [
            Access::Read(Table::Agents),
            Access::ReadFiles,
            Access::Write(Table::Runs),
            Access::Write(Table::Messages),
        ];
        let events = [
            Access::Read(Table::Agents),
            Access::Write(Table::Runs),
            Access::Write(Table::Messages),
            Access::Send,
            Access::Models,
            Access::SourceBuckets,
        ];
        let worker =
            [worker.as_slice(), &[Access::Send, Access::Models, Access::Tools, Access::Timers, Access::Bus]].concat();
        [
            Self { behind_api: true, memory_mb: 256, ..fallback },
            Self {
                timeout_s: 900,
                memory_mb: 1024,
                more: WORKER,
                ..plain("worker", "Works on runs as the queue names them", worker)
            },
            Self {
                timeout_s: 300,
                more: POSTER,
                ..plain("poster", "Sends events to webhooks", vec![Access::Write(Table::Runs)])
            },
            Self {
                timeout_s: 300,
                // A reduction may have megabytes of results.
                memory_mb: 1024,
                more: REAPER,
                ..plain(
                    "reaper",
                    "Looks after runs that nobody works on",
                    [
                        every_table(),
                        vec![Access::Send, Access::Models, Access::ReadFiles, Access::DeleteFiles, Access::Timers],
                    ]
                    .concat(),
                )
            },
            plain(
                "first_key",
                "Makes a key for an organisation, when an operator invokes it",
                vec![Access::Write(Table::ApiKeys)],
            ),
            // An object may have 10,000 rows.
            Self {
                timeout_s: 300,
                memory_mb: 1024,
                more: EVENTS,
                ..plain("receive_event", "Takes events for triggers from rules of Amazon EventBridge", events.to_vec())
            },
        ]
        .into_iter()
    }

    /// Its resources.
    pub(crate) fn resources(&self) -> String {
        [self.function(), self.role(), self.log()].concat()
    }

    fn function(&self) -> String {
        let Self { name, about, timeout_s, memory_mb, more, .. } = self;
        let id = logical_id(name);
        format!(
            "  {id}:
    Type: AWS::Serverless::Function
    Metadata: {{ BuildMethod: rust-cargolambda, BuildProperties: {{ Binary: functions }} }}
    Properties:
      Handler: {name}
      Description: \"{about}\"
      Role: !GetAtt {id}Role.Arn
      MemorySize: {memory_mb}
      Timeout: {timeout_s}
      LoggingConfig: {{ LogGroup: !Ref {id}Log }}
{}{more}",
            self.variables(),
        )
    }

    /// What only some functions may know.
    fn variables(&self) -> String {
        // `fallback` makes no application: it has nothing to unseal.
        if self.name == "fallback" {
            return String::new();
        }
        let path = if self.name == COMPLETE { "          MUSTER_COMPLETIONS_PATH: !Ref CompletionsPath\n" } else { "" };
        let models = if self.access.contains(&Access::Models) { providers::variables() } else { String::new() };
        format!(
            "      Environment:
        Variables:
          MUSTER_FILES_BUCKET: !Ref FilesBucket
          MUSTER_FILES_DOMAIN: !GetAtt FilesBucket.RegionalDomainName
          MUSTER_PEPPER: !Sub \"{{{{resolve:secretsmanager:${{Pepper}}}}}}\"
{path}{models}"
        )
    }

    fn role(&self) -> String {
        let id = logical_id(self.name);
        let mut statements: String =
            self.statements().into_iter().map(|(actions, on)| statement(&actions, &on)).collect();
        if self.access.contains(&Access::Tools) {
            statements.push_str(INVOKE);
        }
        if self.access.contains(&Access::SourceBuckets) {
            statements.push_str(READ_SOURCES);
        }
        if self.access.contains(&Access::Bus) {
            statements.push_str(PUT_EVENTS);
        }
        format!(
            "  {id}Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {TRUST}
      ManagedPolicyArns: !If [Traced, [!Sub \"arn:${{AWS::Partition}}:iam::aws:policy/AWSXRayDaemonWriteAccess\"], !Ref AWS::NoValue]
      Policies:
        - PolicyName: {}
          PolicyDocument:
            Version: \"2012-10-17\"
            Statement:
{statements}",
            self.name,
        )
    }

    /// Actions, and on what.
    fn statements(&self) -> Vec<(Vec<&'static str>, Vec<String>)> {
        let log = format!("!GetAtt {}Log.Arn", logical_id(self.name));
        let mut all = vec![(vec!["logs:CreateLogStream", "logs:PutLogEvents"], vec![log])];
        let tables = |wanted: fn(&Access) -> Option<Table>| {
            self.access.iter().filter_map(wanted).flat_map(table_arns).collect::<Vec<_>>()
        };
        let read = tables(|access| if let Access::Read(table) = access { Some(*table) } else { None });
        let written = tables(|access| if let Access::Write(table) = access { Some(*table) } else { None });
        all.push((READ.to_vec(), read));
        all.push(([READ.as_slice(), &WRITE].concat(), written));
        let (queue, posts) = ("!GetAtt WorkerQueue.Arn", "!GetAtt PostsQueue.Arn");
        if self.access.contains(&Access::Send) {
            all.push((SEND.to_vec(), vec![queue.to_owned(), posts.to_owned()]));
        }
        if self.access.contains(&Access::WriteFiles) {
            all.push((FILES.to_vec(), files()));
        } else if self.access.contains(&Access::ReadFiles) {
            all.push((READ_FILES.to_vec(), files()));
        }
        if self.access.contains(&Access::DeleteFiles) {
            all.push((vec!["s3:DeleteObject"], vec![OBJECTS.to_owned()]));
        }
        if self.access.contains(&Access::Timers) {
            all.push((TIMERS.to_vec(), vec![EVERY_TIMER.to_owned()]));
            // What a timer sends with.
            all.push((vec!["iam:PassRole"], vec!["!GetAtt TimerRole.Arn".to_owned()]));
        }
        match self.name {
            "worker" => all.push((RECEIVE.to_vec(), vec![queue.to_owned()])),
            "poster" => all.push((RECEIVE.to_vec(), vec![posts.to_owned()])),
            "receive_event" => all.push((vec!["sqs:SendMessage"], vec!["!GetAtt DeadLetterQueue.Arn".to_owned()])),
            _ => {}
        }
        all.retain(|(_, resources)| !resources.is_empty());
        all
    }

    fn log(&self) -> String {
        format!(
            "  {}Log:
    Type: AWS::Logs::LogGroup
    Properties: {{ LogGroupName: !Sub \"/aws/lambda/${{AWS::StackName}}/{}\", RetentionInDays: !Ref LogRetentionDays }}
",
            logical_id(self.name),
            self.name,
        )
    }
}

fn files() -> Vec<String> {
    vec!["!GetAtt FilesBucket.Arn".to_owned(), OBJECTS.to_owned()]
}

fn table_arns(table: Table) -> [String; 2] {
    let resource = tables::resource(table);
    [format!("!GetAtt {resource}.Arn"), format!("!Sub \"${{{resource}.Arn}}/index/*\"")]
}

fn statement(actions: &[&str], resources: &[String]) -> String {
    let resources: String = resources.iter().map(|resource| format!("                  - {resource}\n")).collect();
    format!(
        "              - Effect: Allow
                Action: [{}]
                Resource:
{resources}",
        actions.join(", ")
    )
}

const TRUST: &str = "{ Version: \"2012-10-17\", Statement: [{ Effect: Allow, Principal: { Service: lambda.amazonaws.com }, Action: sts:AssumeRole }] }";

/// A tool may be no function but those that the operator names.
const INVOKE: &str = "              - !If
                - CallsFunctions
                - { Effect: Allow, Action: [lambda:InvokeFunction], Resource: !Ref ToolFunctions }
                - !Ref AWS::NoValue
";

/// Objects of the buckets that the operator names, and of no others. A delimiter can only be a string, so the partition is `aws`.
const READ_SOURCES: &str = "              - !If
                - ReadsBuckets
                - Effect: Allow
                  Action: [s3:GetObject, s3:GetObjectVersion]
                  Resource: !Split [\",\", !Join [\"\", [\"arn:aws:s3:::\", !Join [\"/*,arn:aws:s3:::\", !Ref SourceBuckets], \"/*\"]]]
                - !Ref AWS::NoValue
";

/// Where there is an event bus, events are put on that and no other.
const PUT_EVENTS: &str = "              - !If
                - PutsEvents
                - Effect: Allow
                  Action: [events:PutEvents]
                  Resource: !Sub \"arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/${EventBus}\"
                - !Ref AWS::NoValue
";

/// One message is one chunk of up to 50 runs. A run that goes on sends itself a message: that is not a mistake.
const WORKER: &str = "      RecursiveLoop: Allow
      ReservedConcurrentExecutions: !If [Reserves, !Ref MaximumConcurrency, !Ref AWS::NoValue]
      Events:
        Chunk:
          Type: SQS
          Properties:
            Queue: !GetAtt WorkerQueue.Arn
            BatchSize: 1
            FunctionResponseTypes: [ReportBatchItemFailures]
            ScalingConfig: { MaximumConcurrency: !Ref MaximumConcurrency }
";

/// An endpoint may take its time: those of all organisations together have so many functions, and runs are no slower for it.
const POSTER: &str = "      Events:
        Chunk:
          Type: SQS
          Properties:
            Queue: !GetAtt PostsQueue.Arn
            BatchSize: 1
            FunctionResponseTypes: [ReportBatchItemFailures]
            ScalingConfig: { MaximumConcurrency: 20 }
";

/// What could not be taken after Lambda's two further tries is kept for a person to look at.
const EVENTS: &str = "      EventInvokeConfig:
        MaximumRetryAttempts: 2
        DestinationConfig: { OnFailure: { Type: SQS, Destination: !GetAtt DeadLetterQueue.Arn } }
";

const REAPER: &str = "      Events:
        EveryMinute:
          Type: ScheduleV2
          Properties: { ScheduleExpression: rate(1 minute), RetryPolicy: { MaximumRetryAttempts: 0 } }
";
