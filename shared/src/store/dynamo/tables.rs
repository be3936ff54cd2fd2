//! The tables as DynamoDB is asked to make them. The deployed ones are made by the SAM template, which states the same.

use aws_sdk_dynamodb::operation::create_table::CreateTableInput;
use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
        ScalarAttributeType, TableStatus, TimeToLiveSpecification,
    },
};

use super::{
    broken, failed,
    item::{TTL, keys_of, unbuilt},
};
use crate::{
    aws::backoff::Backoff,
    store::row::{Index, Result, Table},
};

/// The requests that make the four tables: on demand, with the two sparse indexes that hold nothing but keys.
///
/// # Errors
/// [`crate::store::Error::Broken`] when the SDK refuses a request.
pub fn tables(prefix: &str) -> Result<Vec<CreateTableInput>> {
    Table::ALL.into_iter().map(|table| request(&format!("{prefix}{}", table.name()))).collect()
}

/// How rows expire in each table.
///
/// # Errors
/// [`crate::store::Error::Broken`] when the SDK refuses it.
pub fn time_to_live() -> Result<TimeToLiveSpecification> {
    TimeToLiveSpecification::builder().enabled(true).attribute_name(TTL).build().map_err(unbuilt)
}

/// Makes the four tables and waits until they can be used.
///
/// # Errors
/// [`crate::store::Error::Unavailable`], [`crate::store::Error::Broken`] (also when a table is there already).
pub async fn create_tables(client: &Client, prefix: &str) -> Result<()> {
    for input in tables(prefix)? {
        let name = input.table_name().unwrap_or_default().to_owned();
        client
            .create_table()
            .set_table_name(input.table_name)
            .set_attribute_definitions(input.attribute_definitions)
            .set_key_schema(input.key_schema)
            .set_global_secondary_indexes(input.global_secondary_indexes)
            .set_billing_mode(input.billing_mode)
            .send()
            .await
            .map_err(|error| failed("CreateTable", &error))?;
        wait(client, &name).await?;
        client
            .update_time_to_live()
            .table_name(&name)
            .time_to_live_specification(time_to_live()?)
            .send()
            .await
            .map_err(|error| failed("UpdateTimeToLive", &error))?;
    }
    Ok(())
}

/// Deletes the four tables with everything in them: for tests.
///
/// # Errors
/// [`crate::store::Error::Unavailable`], [`crate::store::Error::Broken`].
pub async fn delete_tables(client: &Client, prefix: &str) -> Result<()> {
    for table in Table::ALL {
        let name = format!("{prefix}{}", table.name());
        client.delete_table().table_name(name).send().await.map_err(|error| failed("DeleteTable", &error))?;
    }
    Ok(())
}

/// A new table is there after about ten seconds.
async fn wait(client: &Client, name: &str) -> Result<()> {
    for _ in 0..10 {
        let mut backoff = Backoff::new();
        loop {
            let answer = client.describe_table().table_name(name).send().await;
            let answer = answer.map_err(|error| failed("DescribeTable", &error))?;
            if answer.table().and_then(|table| table.table_status()) == Some(&TableStatus::Active) {
                return Ok(());
            }
            if !backoff.wait().await {
                break;
            }
        }
    }
    Err(broken("DescribeTable", "a new table does not become active"))
}

fn request(name: &str) -> Result<CreateTableInput> {
    let mut input = CreateTableInput::builder()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(Some(key_schema(Index::Primary)?));
    for index in [Index::Primary, Index::Listed, Index::Due] {
        let (index_name, partition, sort) = keys_of(index);
        for attribute in [partition, sort] {
            let definition = AttributeDefinition::builder()
                .attribute_name(attribute)
                .attribute_type(ScalarAttributeType::S)
                .build()
                .map_err(unbuilt)?;
            input = input.attribute_definitions(definition);
        }
        if let Some(index_name) = index_name {
            let keys = Projection::builder().projection_type(ProjectionType::KeysOnly).build();
            let index = GlobalSecondaryIndex::builder()
                .index_name(index_name)
                .set_key_schema(Some(key_schema(index)?))
                .projection(keys)
                .build()
                .map_err(unbuilt)?;
            input = input.global_secondary_indexes(index);
        }
    }
    input.build().map_err(unbuilt)
}

fn key_schema(index: Index) -> Result<Vec<KeySchemaElement>> {
    let (_, partition, sort) = keys_of(index);
    [(partition, KeyType::Hash), (sort, KeyType::Range)]
        .into_iter()
        .map(|(name, kind)| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().map_err(unbuilt))
        .collect()
}
