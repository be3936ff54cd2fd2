//! The tables, as the store asks DynamoDB to make them.

use aws_sdk_dynamodb::{
    operation::create_table::CreateTableInput,
    types::{KeySchemaElement, ProjectionType},
};
use shared::{
    error::Fault,
    store::{
        dynamo::{tables, time_to_live},
        row::Table,
    },
};

use crate::logical_id;

/// What a table's resource is called.
pub(crate) fn resource(table: Table) -> String {
    format!("{}Table", logical_id(table.name()))
}

/// The resources.
pub(crate) fn resources() -> Result<String, Fault> {
    let ttl = time_to_live()?.attribute_name().to_owned();
    let tables = Table::ALL.into_iter().zip(tables("")?);
    Ok(tables.map(|(table, input)| one(table, &input, &ttl)).collect())
}

/// A table needs the pepper, so that a stack that is deleted loses its tables before the pepper of their keys.
fn one(table: Table, input: &CreateTableInput, ttl: &str) -> String {
    let (resource, name) = (resource(table), table.name());
    let mode = input.billing_mode().map(|mode| mode.as_str()).unwrap_or_default();
    let keys = keys(input.key_schema());
    let attributes: String = input
        .attribute_definitions()
        .iter()
        .map(|attribute| {
            let (name, kind) = (attribute.attribute_name(), attribute.attribute_type().as_str());
            format!("        - {{ AttributeName: {name}, AttributeType: {kind} }}\n")
        })
        .collect();
    format!(
        "  {resource}:
    Type: AWS::DynamoDB::Table
    DependsOn: Pepper
    DeletionPolicy: Delete
    UpdateReplacePolicy: Retain
    Properties:
      TableName: !Sub ${{AWS::StackName}}-{name}
      BillingMode: {mode}
      DeletionProtectionEnabled: !Ref DeletionProtection
      PointInTimeRecoverySpecification: {{ PointInTimeRecoveryEnabled: true }}
      SSESpecification: {{ SSEEnabled: true }}
      TimeToLiveSpecification: {{ AttributeName: {ttl}, Enabled: true }}
      AttributeDefinitions:
{attributes}      KeySchema: {keys}
      GlobalSecondaryIndexes:
{}",
        indexes(input)
    )
}

fn indexes(input: &CreateTableInput) -> String {
    input
        .global_secondary_indexes()
        .iter()
        .map(|index| {
            let projection = index.projection().and_then(|projection| projection.projection_type());
            format!(
                "        - IndexName: {}\n          KeySchema: {}\n          Projection: {{ ProjectionType: {} }}\n",
                index.index_name(),
                keys(index.key_schema()),
                projection.map(ProjectionType::as_str).unwrap_or_default(),
            )
        })
        .collect()
}

fn keys(schema: &[KeySchemaElement]) -> String {
    let key = |key: &KeySchemaElement| {
        format!("{{ AttributeName: {}, KeyType: {} }}", key.attribute_name(), key.key_type().as_str())
    };
    format!("[{}]", schema.iter().map(key).collect::<Vec<_>>().join(", "))
}
