//! Digests and sealing with keys derived from the deployment's pepper (HKDF-SHA-256, RFC 5869).

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf, hmac,
    rand::{SecureRandom, SystemRandom},
};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::{
    error::{Error, Fault},
    id::{OrgId, TriggerId},
};

/// The least length of a pepper, in bytes.
pub const PEPPER_MIN_BYTES: usize = 16;

/// What is sealed cannot be opened, or cannot be sealed.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub enum Failure {
    /// The pepper is shorter than [`PEPPER_MIN_BYTES`].
    #[error("the pepper is shorter than {PEPPER_MIN_BYTES} bytes")]
    Pepper,
    /// The text was sealed with another pepper, for something else, or was changed.
    #[error("sealed text cannot be opened")]
    Open,
    /// The system gave no randomness, or the key could not be used.
    #[error("cannot seal")]
    Seal,
}

/// The keys derived from the pepper. `Debug` shows none of them.
pub struct Sealer {
    digest: hmac::Key,
    answers: Cipher,
    secrets: Cipher,
    provider_keys: Cipher,
    webhook_secrets: Cipher,
    trigger_secrets: Cipher,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// The keys of this pepper.
    ///
    /// # Errors
    /// [`Failure::Pepper`] when it is too short.
    pub fn new(pepper: &SecretString) -> Result<Self, Failure> {
        let pepper = pepper.expose_secret().as_bytes();
        if pepper.len() < PEPPER_MIN_BYTES {
            return Err(Failure::Pepper);
        }
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"muster").extract(pepper);
        let digest = root.expand(&[b"api-key-digest"], hmac::HMAC_SHA256).map_err(|_| Failure::Seal)?;
        let answers = Cipher::derived(&root, b"sealed-answers")?;
        let secrets = Cipher::derived(&root, b"sealed-secrets")?;
        let provider_keys = Cipher::derived(&root, b"sealed-provider-keys")?;
        let webhook_secrets = Cipher::derived(&root, b"sealed-webhook-secrets")?;
        let trigger_secrets = Cipher::derived(&root, b"sealed-trigger-secrets")?;
        let digest = hmac::Key::from(digest);
        Ok(Self { digest, answers, secrets, provider_keys, webhook_secrets, trigger_secrets })
    }

    /// HMAC-SHA-256 of the text, in lower-case hexadecimal.
    #[must_use]
    pub fn digest(&self, text: &str) -> String {
        hex(hmac::sign(&self.digest, text.as_bytes()).as_ref())
    }

    /// Seals the text (AES-256-GCM, random nonce) so that it can only be opened for the same purpose; base64.
    ///
    /// # Errors
    /// [`Failure::Seal`] when the system gives no randomness.
    pub fn seal(&self, purpose: &str, text: &[u8]) -> Result<String, Failure> {
        self.answers.seal(purpose, text)
    }

    /// Opens what [`Sealer::seal`] sealed for the same purpose.
    ///
    /// # Errors
    /// [`Failure::Open`] when it was sealed otherwise or changed.
    pub fn open(&self, purpose: &str, sealed: &str) -> Result<Vec<u8>, Failure> {
        Ok(std::mem::take(&mut *self.answers.open(purpose, sealed)?))
    }

    /// Seals an organisation's secret under a key of its own, so that it opens only for this organisation and name; base64.
    ///
    /// # Errors
    /// [`Failure::Seal`] when the system gives no randomness.
    pub fn seal_secret(&self, org: OrgId, name: &str, value: &SecretString) -> Result<String, Failure> {
        self.secrets.seal(&place(org, name), value.expose_secret().as_bytes())
    }

    /// Opens what [`Sealer::seal_secret`] sealed for the same organisation and name.
    ///
    /// # Errors
    /// [`Failure::Open`] when it was sealed otherwise or changed.
    pub fn open_secret(&self, org: OrgId, name: &str, sealed: &str) -> Result<SecretString, Failure> {
        self.secrets.open_text(&place(org, name), sealed)
    }

    /// Seals the secret of an organisation's webhook, under a key of its own, so that it opens only for this organisation and id; base64.
    ///
    /// # Errors
    /// [`Failure::Seal`] when the system gives no randomness.
    pub fn seal_webhook_secret(&self, org: OrgId, id: &str, secret: &SecretString) -> Result<String, Failure> {
        self.webhook_secrets.seal(&place(org, id), secret.expose_secret().as_bytes())
    }

    /// Opens what [`Sealer::seal_webhook_secret`] sealed for the same organisation and id.
    ///
    /// # Errors
    /// [`Failure::Open`] when it was sealed otherwise or changed.
    pub fn open_webhook_secret(&self, org: OrgId, id: &str, sealed: &str) -> Result<SecretString, Failure> {
        self.webhook_secrets.open_text(&place(org, id), sealed)
    }

    /// Seals the key of an organisation's model provider, under a key of its own, so that it opens only for this organisation and id; base64.
    ///
    /// # Errors
    /// [`Failure::Seal`] when the system gives no randomness.
    pub fn seal_provider_key(&self, org: OrgId, id: &str, key: &SecretString) -> Result<String, Failure> {
        self.provider_keys.seal(&place(org, id), key.expose_secret().as_bytes())
    }

    /// Opens what [`Sealer::seal_provider_key`] sealed for the same organisation and id.
    ///
    /// # Errors
    /// [`Failure::Open`] when it was sealed otherwise or changed.
    pub fn open_provider_key(&self, org: OrgId, id: &str, sealed: &str) -> Result<SecretString, Failure> {
        self.provider_keys.open_text(&place(org, id), sealed)
    }

    /// Seals the secret of an organisation's trigger, under a key of its own, so that it opens only for this organisation and trigger; base64.
    ///
    /// # Errors
    /// [`Failure::Seal`] when the system gives no randomness.
    pub fn seal_trigger_secret(&self, org: OrgId, id: TriggerId, secret: &SecretString) -> Result<String, Failure> {
        self.trigger_secrets.seal(&place(org, &id.to_string()), secret.expose_secret().as_bytes())
    }

    /// Opens what [`Sealer::seal_trigger_secret`] sealed for the same organisation and trigger.
    ///
    /// # Errors
    /// [`Failure::Open`] when it was sealed otherwise or changed.
    pub fn open_trigger_secret(&self, org: OrgId, id: TriggerId, sealed: &str) -> Result<SecretString, Failure> {
        self.trigger_secrets.open_text(&place(org, &id.to_string()), sealed)
    }
}

/// An organisation's id has always the same length, so no two places are written alike.
fn place(org: OrgId, name: &str) -> String {
    format!("{org}/{name}")
}

/// AES-256-GCM under one derived key.
struct Cipher(LessSafeKey);

impl Cipher {
    fn derived(root: &hkdf::Prk, label: &[u8]) -> Result<Self, Failure> {
        let label = [label];
        let key = root.expand(&label, &AES_256_GCM).map_err(|_| Failure::Seal)?;
        Ok(Self(LessSafeKey::new(UnboundKey::from(key))))
    }

    /// The text is sealed where it was copied to, so that no copy of it is left.
    fn seal(&self, purpose: &str, text: &[u8]) -> Result<String, Failure> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| Failure::Seal)?;
        let mut sealed = text.to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(purpose.as_bytes()), &mut sealed)
            .map_err(|_| Failure::Seal)?;
        let mut whole = nonce.to_vec();
        whole.append(&mut sealed);
        Ok(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, whole))
    }

    fn open(&self, purpose: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let whole =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, sealed).map_err(|_| Failure::Open)?;
        let (nonce, text) = whole.split_at_checked(NONCE_LEN).ok_or(Failure::Open)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Failure::Open)?;
        let mut text = Zeroizing::new(text.to_vec());
        let length =
            self.0.open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut text).map_err(|_| Failure::Open)?.len();
        text.truncate(length);
        Ok(text)
    }

    fn open_text(&self, purpose: &str, sealed: &str) -> Result<SecretString, Failure> {
        let opened = self.open(purpose, sealed)?;
        std::str::from_utf8(&opened).map(SecretString::from).map_err(|_| Failure::Open)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Internal(Fault::from(failure))
    }
}

/// SHA-256 of the parts, each preceded by its length, in lower-case hexadecimal.
#[must_use]
pub fn fingerprint(parts: &[&[u8]]) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    hex(context.finish().as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(pepper: &str) -> Sealer {
        Sealer::new(&SecretString::from(pepper.to_owned())).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_only_with_the_same_pepper_and_purpose() {
        let ours = sealer("0123456789abcdef");
        let sealed = ours.seal("org/1", b"answer").unwrap();
        assert_ne!(sealed, ours.seal("org/1", b"answer").unwrap());
        assert_eq!(ours.open("org/1", &sealed).unwrap(), b"answer");
        assert!(ours.open("org/2", &sealed).is_err());
        assert!(sealer("0123456789abcdeX").open("org/1", &sealed).is_err());
        assert!(ours.open("org/1", "AAAA").is_err());
    }

    #[test]
    fn a_secret_opens_only_for_its_own_organisation_and_name() {
        let ours = sealer("0123456789abcdef");
        let now = crate::clock::Timestamp::from_millis(1_780_000_000_000);
        let (org, other) = (OrgId::new(now), OrgId::new(now));
        let value = SecretString::from("s3cr\u{e9}t");
        let sealed = ours.seal_secret(org, "KEY", &value).unwrap();
        assert_eq!(ours.open_secret(org, "KEY", &sealed).unwrap().expose_secret(), value.expose_secret());
        assert!(ours.open_secret(other, "KEY", &sealed).is_err());
        assert!(ours.open_secret(org, "KEY2", &sealed).is_err());
        assert!(ours.open(&place(org, "KEY"), &sealed).is_err(), "answers are sealed with another key");
        assert!(ours.open_provider_key(org, "KEY", &sealed).is_err(), "and providers' keys too");
        let key = ours.seal_provider_key(org, "KEY", &value).unwrap();
        assert_eq!(ours.open_provider_key(org, "KEY", &key).unwrap().expose_secret(), value.expose_secret());
        assert!(ours.open_provider_key(other, "KEY", &key).is_err() && ours.open_secret(org, "KEY", &key).is_err());
        let (trigger, another) = (TriggerId::new(now), TriggerId::new(now));
        let of_trigger = ours.seal_trigger_secret(org, trigger, &value).unwrap();
        let opened = ours.open_trigger_secret(org, trigger, &of_trigger).unwrap();
        assert_eq!(opened.expose_secret(), value.expose_secret());
        assert!(ours.open_trigger_secret(org, another, &of_trigger).is_err());
        assert!(ours.open_trigger_secret(other, trigger, &of_trigger).is_err());
        assert!(ours.open_secret(org, &trigger.to_string(), &of_trigger).is_err(), "triggers have a key of their own");
        assert!(sealer("0123456789abcdeX").open_secret(org, "KEY", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(ours.open_secret(org, "KEY", std::str::from_utf8(&changed).unwrap()).is_err(), "{at}");
        }
    }

    #[test]
    fn a_short_pepper_is_refused() {
        assert!(Sealer::new(&SecretString::from("short".to_owned())).is_err());
    }

    #[test]
    fn parts_cannot_be_moved_from_one_to_the_next() {
        assert_ne!(fingerprint(&[b"ab", b"c"]), fingerprint(&[b"a", b"bc"]));
    }
}
