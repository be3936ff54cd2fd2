//! Embeddings: texts as vectors, by every vendor that has them.

use model_server::Format;
use serde_json::json;
use shared::{
    model::{Embedded, FaultKind, catalogue::Models, settings::Vendor},
    provider,
};

use super::{models, server};
use crate::harness::{Muster, on_every_backend};

on_every_backend!(an_organisations_own_provider_embeds_too);

fn texts() -> Vec<String> {
    ["rain in Oslo", "Oslo in rain", "a cheap flight"].map(str::to_owned).to_vec()
}

async fn embedded(models: &Models, name: &str) -> Result<Embedded, shared::model::ModelFault> {
    models.embed(&models.resolve(name).unwrap(), &texts(), 5_000).await
}

#[tokio::test]
async fn each_text_has_its_vector() {
    let server = server().await;
    let models = models(&server);
    for vendor in ["openai", "mistral", "openrouter"] {
        let Embedded { vectors, tokens } = embedded(&models, &format!("{vendor}/fake")).await.unwrap();
        assert!(vectors.len() == 3 && vectors[0] == vectors[1] && vectors[0] != vectors[2], "{vectors:?}");
        assert_eq!((vectors[0].len(), tokens.unwrap().input), (64, 10));
        let sent = server.last(Format::OpenAi).unwrap();
        assert_eq!((sent.path.as_str(), sent.body), ("/v1/embeddings", json!({"model": "fake", "input": texts()})));
        assert_eq!(sent.headers["authorization"], "Bearer canary-key", "{vendor}");
    }
    assert_eq!(
        models.embed(&models.resolve("openai/fake").unwrap(), &[], 5_000).await.unwrap().vectors,
        Vec::<Vec<f32>>::new()
    );
    assert_eq!(server.stats().calls, 3, "for no text nothing is asked");
}

#[tokio::test]
async fn the_scripted_model_embeds_by_words() {
    let models = models(&server().await);
    let Embedded { vectors, tokens } = embedded(&models, "demo/scripted").await.unwrap();
    assert!(vectors[0] == vectors[1] && vectors[0] != vectors[2] && tokens.is_some());
}

#[tokio::test]
async fn a_failure_means_what_it_does_elsewhere() {
    let server = server().await;
    let models = models(&server);
    for (name, kind) in [
        ("openai/fake-e1", FaultKind::Busy),
        ("openai/fake-e1-x429-a2", FaultKind::RateLimited),
        ("openai/fake-q", FaultKind::Quota),
        ("openai/fake-e1-x401", FaultKind::Refused),
        ("openai/fake-r1", FaultKind::Lost),
        ("openai/fake-g1", FaultKind::Incomprehensible),
    ] {
        let fault = embedded(&models, name).await.unwrap_err();
        assert_eq!(fault.kind, kind, "{name}: {fault}");
        assert!(!fault.message.contains("canary"), "{fault}");
    }
    let slow = models.resolve("openai/fake-l2000").unwrap();
    assert_eq!(models.embed(&slow, &texts(), 50).await.unwrap_err().kind, FaultKind::Lost);
    for vendor in [Vendor::Anthropic, Vendor::Bedrock] {
        let fault = embedded(&models, &format!("{}/fake", vendor.prefix())).await.unwrap_err();
        assert_eq!((fault.kind, fault.message.as_str()), (FaultKind::Refused, "this provider has no embeddings"));
    }
}

async fn an_organisations_own_provider_embeds_too(muster: Muster) {
    let url = format!("http://{}", muster.models.addr());
    let body = json!({"id": "ours", "name": "n", "type": "openai", "custom_url": url, "available_models": ["fake"]});
    muster.us.post("/api/v1/providers", body.clone()).await.status(201);
    let (us, them) = (muster.caller(&muster.us).await, muster.caller(&muster.them).await);
    let name = provider::resolve(&muster.app, us.tenant(), "model", "ours/fake").await.unwrap();
    let embedded = provider::embed(&muster.app, us.tenant(), &name, &texts()).await.unwrap();
    assert_eq!(embedded.vectors[0], embedded.vectors[1]);
    // Without a key none is sent.
    assert!(muster.models.last(Format::OpenAi).unwrap().headers.get("authorization").is_none());
    let mut keyed = body;
    keyed["api_key"] = json!("k");
    muster.us.put("/api/v1/providers/ours", keyed).await.ok();
    provider::embed(&muster.app, us.tenant(), &name, &texts()).await.unwrap();
    assert_eq!(muster.models.last(Format::OpenAi).unwrap().headers["authorization"], "Bearer k");
    let fault = provider::embed(&muster.app, them.tenant(), &name, &texts()).await.unwrap_err();
    assert_eq!(fault.message, "the provider 'ours' is not there any more");
    let scripted = provider::resolve(&muster.app, them.tenant(), "model", "demo/scripted").await.unwrap();
    assert_eq!(provider::embed(&muster.app, them.tenant(), &scripted, &texts()).await.unwrap().vectors.len(), 3);
}
