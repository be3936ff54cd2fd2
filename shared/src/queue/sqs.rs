//! Messages through SQS.
