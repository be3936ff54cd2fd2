//! Signatures of what is sent, as Standard Webhooks 1.0 has them (the `v1` scheme): HMAC-SHA-256 over id, time and body, in base64. Pure.
//!
//! By hand, since the crate of that specification takes its time from the system, and its parts are two calls of what is here anyway.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// How many bytes a new secret has: the specification asks for 24 to 64.
const SECRET_BYTES: usize = 32;

/// A new secret.
pub(super) fn new_secret() -> Result<SecretString> {
    let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
    SystemRandom::new().fill(&mut *bytes).map_err(|_| Error::Internal("no randomness".into()))?;
    let text = Zeroizing::new(STANDARD.encode(*bytes));
    Ok(SecretString::from(format!("{PREFIX}{}", *text)))
}

/// The value of the header `webhook-signature`: one signature for each secret, with a blank between them.
pub(super) fn signatures(secrets: &[SecretString], id: &str, seconds: i64, body: &str) -> Result<String> {
    let signed = format!("{id}.{seconds}.{body}");
    let each = secrets.iter().map(|secret| {
        let encoded = secret.expose_secret().strip_prefix(PREFIX).unwrap_or_default();
        let key = STANDARD.decode(encoded).map(Zeroizing::new);
        let key = key.map_err(|_| Error::Internal("a secret of a webhook is none".into()))?;
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes());
        Ok(format!("v1,{}", STANDARD.encode(tag)))
    });
    Ok(each.collect::<Result<Vec<String>>>()?.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn the_signature_is_that_of_the_public_example() {
        let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signed = signatures(
            &[secret.clone(), secret],
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        let one = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signed.unwrap(), format!("{one} {one}"));
    }

    #[test]
    fn a_new_secret_signs_and_is_no_other() {
        let (one, other) = (new_secret().unwrap(), new_secret().unwrap());
        assert_eq!(one.expose_secret().len(), 6 + 44);
        assert_ne!(one.expose_secret(), other.expose_secret());
        assert!(signatures(&[one], "evt", 0, "").is_ok());
    }
}
