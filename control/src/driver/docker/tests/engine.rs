//! The engine's own API, in so far as it tells names.

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use tokio::net::UnixListener;
use tokio::sync::mpsc;

use super::super::engine::{Engine, EngineError, Names, Question};
use super::*;
use crate::model::Name;
use crate::network::NetworkRequest;

/// An engine that answers every question so, and tells what it was asked.
fn engine(directory: &Path, status: StatusCode, body: &str) -> (Engine, mpsc::UnboundedReceiver<String>) {
    let socket = directory.join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    let body = body.to_owned();
    let router = Router::new().fallback(async move |request: Request| {
        let _ = tell.send(format!("{} {}", request.method(), request.uri()));
        (status, body)
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    (Engine::new(socket), told)
}

fn inspected() -> String {
    json!({
        "Name": "multinet", "Id": NET, "Scope": "local", "Driver": "weft",
        "Containers": {
            "c0ffee": {"Name": "c1", "EndpointID": END, "MacAddress": "02:42:0a:0a:02:02", "IPv4Address": "10.10.2.2/24"},
            "c0ffed": {"Name": "stopped", "EndpointID": "", "MacAddress": ""},
        },
    })
    .to_string()
}

#[tokio::test]
async fn names_are_read_from_what_the_engine_tells_of_a_network() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, mut asked) = engine(directory.path(), StatusCode::OK, &inspected());
    let names = engine.names(NET.parse().unwrap()).await.unwrap();
    let expected = Names { network: "multinet".into(), endpoints: vec![(END.parse().unwrap(), "c1".into())] };
    assert_eq!(names, expected);
    assert_eq!(asked.recv().await.unwrap(), format!("GET /networks/{NET}"));
}

#[tokio::test]
async fn an_engine_that_tells_nothing_says_why() {
    let id = NET.parse().unwrap();
    for (status, body, expected) in [
        (StatusCode::NOT_FOUND, r#"{"message":"network not found"}"#, "does not know"),
        (StatusCode::INTERNAL_SERVER_ERROR, "", "status 500"),
        (StatusCode::OK, "not json", "its answer is none"),
        (StatusCode::OK, r#"{"Name":7}"#, "its answer is none"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (engine, _asked) = engine(directory.path(), status, body);
        let error = engine.names(id).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{body}: {error}");
    }
    let nobody = Engine::new("/nonexistent/docker.sock").names(id).await;
    assert!(matches!(nobody, Err(EngineError::Unreachable(_))));
}

#[tokio::test]
async fn an_engine_that_refuses_is_heard() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, mut asked) = engine(directory.path(), StatusCode::CONFLICT, r#"{"message":"in use"}"#);
    let refused = engine.ask(Question::of(Method::DELETE, "/networks/demo")).await.unwrap_err();
    assert!(
        matches!(&refused, EngineError::Refused { status: 409, message } if message == "in use"),
        "{refused}"
    );
    assert_eq!(asked.recv().await.unwrap(), "DELETE /networks/demo");
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_not_waited_for() {
    tokio::time::pause();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let _silent = UnixListener::bind(&socket).unwrap();
    let outcome = Engine::new(socket).names(NET.parse().unwrap()).await;
    assert!(matches!(outcome, Err(EngineError::Silent(_))));
}

#[tokio::test]
async fn what_the_engine_tells_is_what_networks_and_containers_are_called() {
    let docker = Docker::with_endpoint(json!({})).await;
    let names = || {
        let (network, endpoint) = docker.manager.endpoints().remove(0);
        (network.name.to_string(), endpoint.name.to_string())
    };
    assert_eq!(names(), (format!("docker-{}", &NET[..12]), format!("docker-{}", &END[..12])));
    // Asked for nothing until it has answered every call.
    let (_, mut asked) = engine(docker.directory.path(), StatusCode::OK, &inspected());
    docker.done("NetworkDriver.Join", join()).await;
    let named = async {
        while names() != ("multinet".into(), "c1".into()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), named).await.expect("names are asked for");
    assert_eq!(asked.recv().await.unwrap(), format!("GET /networks/{NET}"));
}

#[tokio::test]
async fn a_name_that_another_has_is_not_taken() {
    let docker = Docker::with_endpoint(json!({})).await;
    let other = NetworkRequest::new(Name::new("multinet").unwrap());
    docker.manager.create(&other).unwrap();
    let (_, _asked) = engine(docker.directory.path(), StatusCode::OK, &inspected());
    docker.done("NetworkDriver.Join", join()).await;
    let named = async {
        while docker.manager.endpoints()[0].1.name.as_str() != "c1" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), named).await.expect("the other name is taken");
    let network = docker.manager.endpoints().remove(0).0;
    assert_eq!(network.name.as_str(), format!("docker-{}", &NET[..12]));
}
