//! The binary of every Lambda function: `Handler` names the route that it answers.

fn main() -> Result<(), functions::Failure> {
    functions::run(functions::handler(&functions::config::handler_name())?)
}
