//! Muster's tests, all in one binary.
#![cfg(test)]

mod host;
mod http;
mod openapi;
