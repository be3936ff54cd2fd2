//! Secrets.

use crate::native::{
    secrets::{self, PutSecret, SecretView},
    views::{ListQuery, PageView},
};

crate::route::routes! { Native;
    /// Keep a secret for tools to send, or give it another value: nobody can read it again
    put_secret = PUT "/v1/secrets/{name}" => secrets::put_secret {
        body: PutSecret,
        answer: 200 SecretView,
        access: [write api_keys, write agents, write runs],
    }
    /// List the names of secrets, in order
    list_secrets = GET "/v1/secrets" => secrets::list_secrets {
        query: ListQuery,
        answer: 200 PageView<SecretView>,
        access: [write api_keys, read agents, write runs],
    }
    /// Delete a secret: tools that name it are not called any more
    delete_secret = DELETE "/v1/secrets/{name}" => secrets::delete_secret {
        answer: 204,
        access: [write api_keys, write agents, write runs],
    }
}
