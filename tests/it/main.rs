
mod dynamo;
