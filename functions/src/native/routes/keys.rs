//! Keys.

use crate::native::{
    keys::{self, CreateKey, KeyView, NewKeyView, RotateKey},
    views::{ListQuery, PageView},
};

crate::route::routes! { Native;
    /// Make a key: its secret is shown once
    create_key = POST "/v1/keys" => keys::create_key {
        body: CreateKey,
        answer: 201 NewKeyView,
        access: [write api_keys, write runs],
    }
    /// List keys, newest first
    list_keys = GET "/v1/keys" => keys::list_keys {
        query: ListQuery,
        answer: 200 PageView<KeyView>,
        access: [write api_keys, write runs],
    }
    /// Revoke a key: it is dead at once
    revoke_key = DELETE "/v1/keys/{key_id}" => keys::revoke_key {
        answer: 200 KeyView,
        access: [write api_keys, write runs],
    }
    /// Make a key that takes another's place, which goes on for a while if you like
    rotate_key = POST "/v1/keys/{key_id}/rotate" => keys::rotate_key {
        body: RotateKey,
        answer: 201 NewKeyView,
        access: [write api_keys, write runs],
    }
}
