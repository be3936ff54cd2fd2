//! Rows in DynamoDB.
