//! The tables as they are made.

use aws_sdk_dynamodb::types::{BillingMode, KeyType, ProjectionType, TimeToLiveStatus};
use shared::store::{dynamo::tables, row::Table};

use super::Database;

#[tokio::test]
async fn the_tables_are_made_as_they_are_described() {
    let database = Database::new().await;
    for table in Table::ALL {
        let name = format!("{}{}", database.prefix, table.name());
        let answer = database.client.describe_table().table_name(&name).send().await.unwrap();
        let made = answer.table().unwrap();
        assert_eq!(made.billing_mode_summary().unwrap().billing_mode(), Some(&BillingMode::PayPerRequest));
        assert_eq!(keys(made.key_schema()), [("pk", &KeyType::Hash), ("sk", &KeyType::Range)]);
        let mut indexes: Vec<_> = made
            .global_secondary_indexes()
            .iter()
            .map(|index| {
                assert_eq!(index.projection().unwrap().projection_type(), Some(&ProjectionType::KeysOnly));
                (index.index_name().unwrap(), keys(index.key_schema()))
            })
            .collect();
        indexes.sort_by_key(|(name, _)| *name);
        assert_eq!(
            indexes,
            [
                ("due", vec![("dpk", &KeyType::Hash), ("dsk", &KeyType::Range)]),
                ("listed", vec![("lpk", &KeyType::Hash), ("lsk", &KeyType::Range)]),
            ]
        );
        let ttl = database.client.describe_time_to_live().table_name(&name).send().await.unwrap();
        let ttl = ttl.time_to_live_description().unwrap();
        assert_eq!(ttl.attribute_name(), Some("ttl"));
        assert!(matches!(ttl.time_to_live_status(), Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)));
    }
    assert_eq!(tables("x-").unwrap().len(), Table::ALL.len());
}

fn keys(schema: &[aws_sdk_dynamodb::types::KeySchemaElement]) -> Vec<(&str, &KeyType)> {
    schema.iter().map(|key| (key.attribute_name(), key.key_type())).collect()
}
